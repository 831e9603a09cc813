# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role django_uwsgi makes of its inputs, beside the service itself (golden files)."""

from __future__ import annotations

from typing import Any

import pytest
from _paths import GOLDEN, ROOT
from _render import RoleValues, load_yaml

SEED, TELL, UNDO = {"command": "loaddata"}, {"command": "tell"}, {"command": "undo"}
COMMANDS = {
    "django_uwsgi_after_switch": [TELL],
    "django_uwsgi_after_first_deploy": [SEED],
    "django_uwsgi_after_rollback": [UNDO],
}


def values(**variables: Any) -> RoleValues:
    minimal = load_yaml(GOLDEN / "django_uwsgi" / "minimal" / "vars.yml")
    return RoleValues(ROOT / "roles" / "django_uwsgi", {**load_yaml(GOLDEN / "common.yml"), **minimal, **variables})


@pytest.mark.parametrize(
    ("here", "elsewhere", "rollback", "expected"),
    [
        ([False, False], None, False, [TELL, SEED]),
        ([True, False], None, False, [TELL]),  # a host that joined, or was made anew
        ([False, None], None, False, [TELL, SEED]),  # one of them was not asked
        ([False], [{"kept": [{"release": "one"}]}], False, [TELL]),  # --limit left out where it serves
        ([False], [{"kept": []}, {"skipped": True}], False, [TELL, SEED]),
        ([False], None, True, [UNDO]),
    ],
)
def test_commands_after_the_first_deploy(
    here: list[bool | None], elsewhere: list[dict[str, Any]] | None, rollback: bool, expected: list[dict[str, str]]
) -> None:
    """It is the first where no host has it on record that one was ever finished."""
    shipped = [{} if deployed is None else {"__django_uwsgi_shipped": {"deployed": deployed}} for deployed in here]
    hosts = {f"web{number}": said for number, said in enumerate(shipped)}
    others = {} if elsewhere is None else {"__django_uwsgi_others": {"results": elsewhere}}
    groups = {"django_uwsgi": [*hosts]}
    role = values(
        **COMMANDS,
        **others,
        groups=groups,
        inventory_hostname="web0",
        hostvars=hosts,
        ansible_play_hosts_all=[*hosts],
        django_uwsgi_rollback=rollback,
    )
    assert role.value("__django_uwsgi_after_switch") == expected


@pytest.mark.parametrize(
    ("folder", "working", "expected"),
    [
        (".", None, ("/app", "/app")),
        ("backend/", None, ("/app/backend", "/app/backend")),
        ("backend", ".", ("/app/backend", "/app")),
        ("/opt/shop/src", None, ("/opt/shop/src", "/opt/shop/src")),
        ("/opt/shop/src", "/opt/shop", ("/opt/shop/src", "/opt/shop")),
    ],
)
def test_folders(folder: str, working: str | None, expected: tuple[str, str]) -> None:
    given = {} if working is None else {"django_uwsgi_working_directory": working}
    role = values(django_uwsgi_manage_folder=folder, **given)
    assert (role.value("__django_uwsgi_chdir"), role.value("__django_uwsgi_working_directory")) == expected


def test_values_of_the_environment_are_left_as_they_are() -> None:
    awkward = """ 50% off? a=b & "c" 'd' #e $HOME ${PATH} `f` \\n\t\n\n second line\n"""
    role = values(django_uwsgi_env={"NOTICE": awkward}, django_uwsgi_secrets={"notice": awkward})
    service = role.value("__django_uwsgi_service")
    assert service["env"]["NOTICE"] == awkward == service["secrets"]["notice"]


def test_programs_come_as_they_are() -> None:
    files = values().value("__django_uwsgi_service")["config"]["files"]
    for name in ("berth-entrypoint", "berth-probe", "berth-drained"):
        assert files[name] == (ROOT / "roles" / "django_uwsgi" / "files" / name).read_text()
