# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every role has one shape, and what its defaults say is what its argument spec says.

Ansible uses `default:` of a spec for nothing but documentation, and every collection that relied on care alone drifted. Here a spec
either leaves the default to defaults/main.yml or states the same value.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from _paths import ROLES, ROOT
from _render import load_vars

FILES = ["README.md", "defaults/main.yml", "meta/argument_specs.yml", "meta/main.yml", "tasks/main.yml"]
TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "path": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
    "raw": (object,),
}

every_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


@every_role
def test_same_files(role: Path) -> None:
    assert [name for name in FILES if not (role / name).is_file()] == []


@every_role
def test_defaults_are_documented(role: Path) -> None:
    missing = sorted(set(defaults(role)) - set(options(role)))
    assert not missing, f"in defaults/main.yml but not in meta/argument_specs.yml: {missing}"


@every_role
def test_options_have_an_entry_in_defaults(role: Path) -> None:
    """An option is required, has a default, or stands in defaults/main.yml as a comment (`# name: example`): optional on purpose."""
    text = (role / "defaults" / "main.yml").read_text()
    for name, option in options(role).items():
        if option.get("required"):
            assert name not in defaults(role), f"{name} is required, so its default can never be used"
        elif name not in defaults(role):
            assert re.search(rf"^# ?{name}:", text, re.MULTILINE), f"{name} has no default: require it, or show it commented out"


@every_role
def test_values_and_types_agree(role: Path) -> None:
    for name, value in defaults(role).items():
        option = options(role).get(name, {})
        if "default" in option:
            assert option["default"] == value, f"{name}: the spec says {option['default']!r}, defaults/main.yml says {value!r}"
        if is_template(value):
            continue
        kind = option.get("type", "str")
        assert isinstance(value, TYPES[kind]), f"{name}: {value!r} is not of type {kind}"
        assert kind != "int" or not isinstance(value, bool), f"{name}: {value!r} is not of type int"
        if "choices" in option:
            chosen = value if isinstance(value, list) else [value]
            assert set(chosen) <= set(option["choices"]), f"{name}: {value!r} is not one of {option['choices']}"


@every_role
def test_every_option_says_type_and_meaning(role: Path) -> None:
    for point, spec in specs(role).items():
        assert spec.get("short_description"), f"{point} has no short_description"
    for name, option in walk(options(role)):
        assert "type" in option, f"{name} has no type"
        assert option.get("description"), f"{name} has no description"
        if option["type"] == "list":
            assert "elements" in option, f"{name}: a list says what its elements are"


@every_role
def test_names_carry_the_role(role: Path) -> None:
    assert [name for name in options(role) if not name.startswith(f"{role.name}_")] == []
    assert [name for name in load_vars(role) if not name.startswith(f"__{role.name}_")] == []


@every_role
def test_every_default_has_a_comment(role: Path) -> None:
    """The comment stands right above: an operator reads defaults/main.yml, not the spec."""
    lines = (role / "defaults" / "main.yml").read_text().splitlines()
    bare = [line for before, line in zip(["", *lines], lines) if re.match(rf"{role.name}_\w+:", line) and not before.startswith("#")]
    assert not bare


@every_role
def test_defaults_name_no_variable_of_another_role(role: Path) -> None:
    """What two roles have to agree about is said where both are known: in the inventory."""
    others = "|".join(other.name for other in ROLES if other != role)
    templates = " ".join(re.findall(r"{{.*?}}", (role / "defaults" / "main.yml").read_text(), re.DOTALL))
    assert re.findall(rf"(?<!\w)(?:{others})_\w+", templates) == []


@pytest.mark.parametrize(
    "path",
    [path for folder in ("roles", "playbooks", "molecule") for path in sorted((ROOT / folder).rglob("*.yml"))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_tasks_from_has_no_suffix(path: Path) -> None:
    """`tasks_from: x.yml` skips argument validation without a word; `tasks_from: x` validates."""
    assert not re.search(r"tasks_from:\s*['\"]?[\w/-]+\.ya?ml", path.read_text())


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text()) or {} if path.is_file() else {}


def defaults(role: Path) -> dict[str, Any]:
    return load(role / "defaults" / "main.yml")


def specs(role: Path) -> dict[str, Any]:
    return load(role / "meta" / "argument_specs.yml").get("argument_specs", {})


def options(role: Path) -> dict[str, dict[str, Any]]:
    """The options of all entry points."""
    return {name: option for spec in specs(role).values() for name, option in (spec.get("options") or {}).items()}


def walk(named: dict[str, dict[str, Any]], prefix: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Options and their sub-options, with dotted names."""
    found: list[tuple[str, dict[str, Any]]] = []
    for name, option in named.items():
        found.append((prefix + name, option))
        found += walk(option.get("options") or {}, f"{prefix}{name}.")
    return found


def is_template(value: Any) -> bool:
    return isinstance(value, str) and "{{" in value
