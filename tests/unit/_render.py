# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluate a role's variables and templates as a play would, without a host and without a play.

The variables are those that a host would have: role defaults, then the case's own (an inventory), then role vars, then a task's.
The template lookup itself renders, so what a test sees is what a container gets.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from _paths import ROOT
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar


def load_yaml(path: Path) -> dict[str, Any]:
    """A YAML file whose strings may be templates; an empty dict where there is none."""
    if not path.exists():
        return {}
    return DataLoader().load_from_file(str(path), cache="none", trusted_as_template=True) or {}


def load_vars(role: Path) -> dict[str, Any]:
    """vars/main.yml, or the files of vars/main."""
    files = [role / "vars" / "main.yml", *sorted((role / "vars" / "main").glob("*.yml"))]
    return {name: value for file in files for name, value in load_yaml(file).items()}


class RoleValues:
    """The variables of one role on one imagined host."""

    def __init__(self, role: Path, variables: dict[str, Any], task_vars: dict[str, Any] | None = None) -> None:
        loader = DataLoader()
        loader.set_basedir(str(role))
        self.variables = {
            "inventory_hostname": "host1",
            "inventory_dir": tempfile.gettempdir(),
            "playbook_dir": str(ROOT / "playbooks"),
            "role_name": role.name,
            "role_path": str(role),
            "ansible_role_name": f"berth.django.{role.name}",
            "ansible_collection_name": "berth.django",
            "ansible_check_mode": False,
            "ansible_diff_mode": False,
            "omit": "__omit_place_holder__",
            **load_yaml(role / "defaults" / "main.yml"),
            **variables,
            **load_vars(role),
            **(task_vars or {}),
            "ansible_search_path": [str(role)],
        }
        self.templar = Templar(loader=loader, variables=self.variables)

    def value(self, expression: str, **local: Any) -> Any:
        """What a Jinja expression gives."""
        return self.templar.evaluate_expression(_trust(expression), local_variables=local)

    def template(self, name: str, template_vars: dict[str, Any] | None = None) -> str:
        """What `lookup('ansible.builtin.template', name)` gives."""
        return self.value(
            "lookup('ansible.builtin.template', golden_name, template_vars=golden_vars)",
            golden_name=name,
            golden_vars=template_vars or {},
        )


def _trust(text: str) -> str:
    from ansible.template import trust_as_template

    return trust_as_template(text)
