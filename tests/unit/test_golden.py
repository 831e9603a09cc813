# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every template of every role, and every role's service dict, against what it is known to produce (see golden/README.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from _paths import GOLDEN, ROLES
from _render import RoleValues, load_yaml

CASES = sorted(path.parent for path in GOLDEN.glob("*/*/vars.yml"))
TEMPLATES = {role.name: sorted(path for path in (role / "templates").rglob("*.j2")) for role in ROLES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}-{case.name}")
def test_case(case: Path, refresh_golden: bool) -> None:
    role = next((role for role in ROLES if role.name == case.parent.name), None)
    assert role is not None, f"golden case {case} is for a role that does not exist"
    produced = render(role, load_yaml(case / "vars.yml"))
    if refresh_golden:
        write(case, produced)
    expected = {str(path.relative_to(case)): path.read_text() for path in case.rglob("*") if path.is_file() and path.name != "vars.yml"}
    assert sorted(produced) == sorted(expected), "run pytest with --refresh-golden, then read git diff"
    for name, text in produced.items():
        assert text == expected[name], f"{role.name}/{name} changed (pytest --refresh-golden writes what it is now)"


@pytest.mark.parametrize("role", [role for role in ROLES if TEMPLATES[role.name]], ids=lambda role: role.name)
def test_every_template_has_a_case(role: Path) -> None:
    covered = {path.name for case in CASES if case.parent.name == role.name for path in case.iterdir()}
    missing = [path.name for path in TEMPLATES[role.name] if path.name.removesuffix(".j2") not in covered]
    assert not missing, f"no golden case of role {role.name} renders {missing}"


def render(role: Path, case_variables: dict[str, Any]) -> dict[str, str]:
    """File name -> text: the templates of the role, and its service dict."""
    variables = {**load_yaml(GOLDEN / "common.yml"), **case_variables}
    wanted: dict[str, dict[str, Any]] = variables.pop("golden_templates", None) or {
        str(path.relative_to(role / "templates")): {} for path in TEMPLATES[role.name]
    }
    service = variables.pop("golden_service", f"__{role.name}_service")
    values = RoleValues(role, variables, variables.pop("golden_task_vars", None))
    produced = {name.removesuffix(".j2"): values.template(name, template_vars) for name, template_vars in wanted.items()}
    if service in values.variables:
        produced["service.yml"] = service_text(values.value(service))
    return produced


def service_text(service: dict[str, Any]) -> str:
    """The service dict for reading: a config file's text has a golden file of its own, so only its size stands here."""
    files = service.get("config", {}).get("files", {})
    shown = {name: f"<{len(text.splitlines())} lines>" for name, text in files.items()}
    plain = {**service, "config": {**service["config"], "files": shown}} if files else service
    return "---\n" + yaml.safe_dump(_plain(plain), sort_keys=False, width=140)


def _plain(value: Any) -> Any:
    """Ansible's tagged values as the types that they stand for."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def write(case: Path, produced: dict[str, str]) -> None:
    for path in case.rglob("*"):
        if path.is_file() and path.name != "vars.yml":
            path.unlink()
    for name, text in produced.items():
        path = case / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
