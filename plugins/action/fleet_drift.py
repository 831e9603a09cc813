# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller's side of fleet_drift: what every role of a host would ask there, put into one question."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.berth.django.plugins.action.inventory_check import GROUPS
from ansible_collections.berth.django.plugins.plugin_utils import _builds
from ansible_collections.berth.django.plugins.plugin_utils._on_host import run_module

MODULE = "berth.django.fleet_drift"
# Parts of a role that other hosts than its own have: group -> the role, and what it declares for them.
PARTS = {"postgres_gateway": ("haproxy", "__haproxy_database_drift")}


class ActionModule(ActionBase):
    """One module execution on a host, or none where it shows already that something differs."""

    _requires_connection = True

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        self.validate_argument_spec({})
        try:
            question, reasons = self._question(task_vars)
        except (ValueError, AnsibleError) as error:
            question, reasons = {}, [str(error)]
        known: dict[str, t.Any] = dict(changed=False, drifted=True, reasons=reasons)
        result = known if reasons else run_module(self, task_vars, MODULE, question)
        # Without -v nobody sees what a result holds.
        for reason in result.get("reasons", []) if not self._task.no_log else []:
            Display().display(f"{task_vars['inventory_hostname']} differs: {reason}")
        return result

    def _question(self, task_vars: dict[str, t.Any]) -> tuple[dict[str, t.Any], list[str]]:
        """What its roles declare for this host, in one; or what differs for sure."""
        asked = {**{group: (role, f"__{role}_drift") for group, role in GROUPS.items()}, **PARTS}
        parts = [("host", "__host_drift"), *(part for group, part in asked.items() if group in task_vars["group_names"])]
        declared = [self._declared(role, name, task_vars) for role, name in parts]
        known = [reason for each in declared if (reason := each.pop("differs", ""))]
        question: dict[str, t.Any] = {"services": [service for each in declared for service in each.pop("services", [])]}
        for each in declared:
            question.update({key: value for key, value in each.items() if value})
        for where, names in question.get("images", {}).items():
            question["images"][where] = sorted(_builds.wanted(names, task_vars, self._loader, self._templar))
        return question, known

    def _declared(self, role: str, name: str, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """What the role declares under that name, evaluated as the role would on this host: its own names mean what its files say, and
        not what an earlier play has made of them.
        """
        known = {**_builds.variables_of(role, task_vars, self._loader), **_builds.own_variables(role, self._loader)}
        known.update(known.get(f"{name}_vars", {}))
        known["ansible_search_path"] = [known["role_path"], *task_vars.get("ansible_search_path", [])]
        scope = self._templar.copy_with_new_env(available_variables=known)
        image = _builds.image_variable(role)
        if image in known:  # looked up once, and not again wherever its name is used
            known[image] = scope.template(known[image])
        return dict(scope.template(known[name]))
