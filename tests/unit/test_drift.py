# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""site.yml does nothing where fleet_drift finds nothing: whatever a role keeps has to be asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from _paths import ROOT
from _render import load_vars, load_yaml
from ansible_collections.berth.django.plugins.action.inventory_check import GROUPS
from ansible_collections.berth.django.plugins.module_utils import _deploy_lock, _django_drift, _patroni, _patroni_converge
from ansible_collections.berth.django.plugins.module_utils._shell import EngineError
from ansible_collections.berth.django.plugins.module_utils._spec_parse import parse
from ansible_collections.berth.django.plugins.modules import fleet_drift
from test_manage import project
from test_spec import spec

ASKED = {"host", *GROUPS.values()}
# What keeps something on a host -> the question that asks for it.
QUESTION = {
    "host": "host",
    "container_service": "services",
    "image": "images",
    "postgres_database": "database",
    "haproxy_drain": "haproxy",
    "postgres_cluster": "cluster",
    "django_migrate": "project",
    "django_superuser": "project",
    "django_collectstatic": "project",
}
# Does its work on the controller, keeps nothing, or is a part of a deploy alone.
NOT_KEPT = {
    "fleet_certificate",
    "deploy_lock",
    "django_command",
    "django_drift",
    "django_schema_check",
    "haproxy_maintenance",
    "lab",
    "postgres_backups",
    "postgres_proof",
    "postgres_restore_point",
    "releases",
    "static_release",  # for web servers that are apart, which makes the role say that something may differ
}


def test_every_role_of_the_fleet_says_what_to_ask() -> None:
    assert {role for role in ASKED if f"__{role}_drift" in load_vars(ROOT / "roles" / role)} == ASKED


def test_everything_that_a_role_keeps_is_asked_for() -> None:
    used = {module for file in (ROOT / "roles").glob("*/tasks/*.yml") for module in modules(load_yaml(file))}
    assert used == set(QUESTION) | NOT_KEPT
    # What is only warned of is nothing that a role could mend.
    assert set(QUESTION.values()) == set(fleet_drift.QUESTIONS) - {"archive"}


def modules(tasks: Any) -> set[str]:
    found = set()
    for task in tasks or ():
        found |= {key.removeprefix("berth.django.") for key in task if key.startswith("berth.django.")}
        for part in ("block", "rescue", "always"):
            found |= modules(task.get(part))
    return found


@pytest.mark.parametrize(("state", "warned"), [("streaming", []), ("start failed", ["db2 (replica) is start failed"])])
def test_a_member_that_does_not_follow_is_warned_of(monkeypatch: pytest.MonkeyPatch, state: str, warned: list[str]) -> None:
    """A run does not mend it."""
    members = [_patroni.Member("db1", "leader", "running"), _patroni.Member("db2", "replica", state)]
    monkeypatch.setattr(_patroni_converge, "converge", lambda *_, **__: dict(actions=[], unknown=[], members=members))
    found, warnings = fleet_drift.cluster({"project": "music", "members": ["db1", "db2"]})
    assert found == [] and len(warnings) == len(warned)
    assert all(words in warning for words, warning in zip(warned, warnings))


def test_what_cannot_be_asked_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Any) -> Any:
        raise EngineError("the container music-postgres is not running")

    monkeypatch.setitem(fleet_drift.QUESTIONS, "database", refuse)
    monkeypatch.setattr(fleet_drift, "docker_present", lambda: True)
    nothing = dict.fromkeys(fleet_drift.QUESTIONS)
    assert fleet_drift.differences(nothing) == ([], [])
    found, _warnings = fleet_drift.differences({**nothing, "database": {"x": 1}})
    assert found == ["database: the container music-postgres is not running"]


def test_without_an_engine_nothing_else_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_drift, "docker_present", lambda: False)
    monkeypatch.setitem(fleet_drift.QUESTIONS, "host", lambda _: (["host: there is no Docker Engine yet"], []))
    monkeypatch.setitem(fleet_drift.QUESTIONS, "services", lambda _: pytest.fail("services were asked for"))
    found, _warnings = fleet_drift.differences({name: {"x": 1} for name in fleet_drift.QUESTIONS})
    assert found == ["host: there is no Docker Engine yet"]


def test_a_deploy_that_has_not_ended_is_a_difference(tmp_path: Path) -> None:
    """A run that was killed at its very end has left nothing but its lock."""
    served = project(service=parse(spec(directory=str(tmp_path))))
    asked = {"migrations": False, "superuser": None, "static": None}
    assert _django_drift.reasons(served, asked) == ([], [])
    _deploy_lock.take(_deploy_lock.path_in(str(tmp_path)), "run-1", "alice")
    assert _django_drift.reasons(served, asked) == (["a deploy runs, or was killed and has left its lock"], [])
