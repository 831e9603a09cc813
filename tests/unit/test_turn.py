# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts of one run take turns with what interrupts a service, and a failure in one turn ends those of the others."""

from __future__ import annotations

import multiprocessing
import threading
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible import constants
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.berth.django.plugins.action import container_service
from ansible_collections.berth.django.plugins.action import host as action_of_host
from ansible_collections.berth.django.plugins.plugin_utils import _turn

NOT_NOW = dict(changed=True, deferred=True)


@pytest.fixture(autouse=True)
def of_one_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))


class Hosts:
    """Stands in for the module: what each host answers in its turn, and what was asked of whom."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.turns: list[str] = []
        self.in_turn = threading.Event()  # the first host is in its turn
        self.go_on = threading.Event()  # it may end it

    def run_module(self, _action: Any, task_vars: dict[str, Any], _name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        host = task_vars["inventory_hostname"]
        if arguments.get("defer_disruption"):
            return NOT_NOW if host in self.answers else dict(changed=False)
        self.turns.append(host)
        self.in_turn.set()
        assert self.go_on.wait(10)
        if isinstance(self.answers[host], Exception):
            raise self.answers[host]
        return dict(self.answers[host])


def converge(host: str) -> dict[str, Any]:
    task = MagicMock(args={"service": {"project": "music", "name": "nginx"}}, async_val=0, check_mode=False)
    action = container_service.ActionModule(task, MagicMock(), MagicMock(), MagicMock(), MagicMock(), MagicMock())
    return action.run(task_vars={"inventory_hostname": host})


def both(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """web2 comes while web1 is in its turn."""
    monkeypatch.setattr(container_service, "run_module", hosts.run_module)
    results: dict[str, Any] = {}

    def work(host: str) -> None:
        try:
            results[host] = converge(host)
        except AnsibleConnectionFailure as error:
            results[host] = error

    first, second = (threading.Thread(target=work, args=(host,)) for host in ("web1", "web2"))
    first.start()
    assert hosts.in_turn.wait(10)
    second.start()
    second.join(0.3)
    assert second.is_alive() and hosts.turns == ["web1"], "two hosts at once"
    hosts.go_on.set()
    first.join(10)
    second.join(10)
    return results


def test_next_host_has_its_turn_after_a_success(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = Hosts(web1=dict(changed=True), web2=dict(changed=True))
    assert both(hosts, monkeypatch) == {"web1": dict(changed=True), "web2": dict(changed=True)}
    assert hosts.turns == ["web1", "web2"]


@pytest.mark.parametrize(
    "failure", [dict(failed=True, msg="not healthy"), AnsibleConnectionFailure("lost")], ids=["it fails", "it is lost"]
)
def test_failure_in_one_turn_ends_those_of_the_others(monkeypatch: pytest.MonkeyPatch, failure: Any) -> None:
    hosts = Hosts(web1=failure, web2=dict(changed=True))
    results = both(hosts, monkeypatch)
    assert results["web1"] == failure
    assert results["web2"] == dict(failed=True, msg="web1 failed in its turn, so nginx was left as it was on this host and runs on.")
    assert hosts.turns == ["web1"], "the service of web2 was interrupted"


def test_host_that_interrupts_nothing_needs_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = Hosts()
    monkeypatch.setattr(container_service, "run_module", hosts.run_module)
    with _turn.Turn("music-nginx"):
        assert converge("web3") == dict(changed=False)
    assert hosts.turns == []


@pytest.mark.parametrize(
    ("more", "check_mode", "asked"),
    [
        ({"until": "switch"}, False, [False]),
        ({"until": "switch", "defer_disruption": True}, False, [True]),
        ({"until": "switch"}, True, [True]),
        ({"until": "start"}, False, [True]),
    ],
    ids=["a switch", "a look after it", "a preview", "what comes before"],
)
def test_a_switch_is_executed_once_and_in_its_turn(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], check_mode: bool, asked: list[bool]
) -> None:
    """Others ask first whether there is anything to interrupt."""
    told: list[bool] = []
    taken: list[int] = []

    def run_module(_action: Any, _vars: dict[str, Any], _name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        told.append(arguments.get("defer_disruption", False))
        return dict(changed=True)

    def in_turn(_name: str, _host: str, _left: str, work: Any, at_once: int) -> dict[str, Any]:
        taken.append(at_once)
        return dict(work())

    monkeypatch.setattr(container_service, "run_module", run_module)
    monkeypatch.setattr(container_service, "in_turn", in_turn)
    service = {"project": "music", "name": "django_uwsgi", "release": {"batch": 2}}
    task = MagicMock(args={"service": service, **more}, async_val=0, check_mode=check_mode)
    action = container_service.ActionModule(task, MagicMock(), MagicMock(), MagicMock(), MagicMock(), MagicMock())
    assert action.run(task_vars={"inventory_hostname": "web1"}) == dict(changed=True)
    assert told == asked and taken == ([2] if asked == [False] else [])


def test_another_service_has_turns_of_its_own() -> None:
    with _turn.Turn("music-nginx") as turn:
        turn.fail("web1")
        with _turn.Turn("blog-nginx") as other:
            assert other.failed_host == ""
    with _turn.Turn("music-nginx") as later:
        assert later.failed_host == "web1"


def test_turn_of_a_killed_worker_is_free() -> None:
    """As ansible-playbook's workers are: processes of their own, which may be killed."""
    context = multiprocessing.get_context("fork")
    taken = context.Event()

    def hold() -> None:
        with _turn.Turn("music-nginx"):
            taken.set()
            threading.Event().wait(60)

    worker = context.Process(target=hold)
    worker.start()
    assert taken.wait(10)
    worker.kill()
    worker.join(10)
    with _turn.Turn("music-nginx") as turn:
        assert turn.failed_host == ""


def make_ready(host: str, answers: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Runs the action of the module `host`, whose executions on the host answer with `answers`, all of them."""
    asked: list[bool] = []

    def run_module(_action: Any, _vars: dict[str, Any], _name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        asked.append(arguments.get("defer_disruption", False))
        return answers[len(asked) - 1]

    monkeypatch.setattr(action_of_host, "run_module", run_module)
    task = MagicMock(args={"daemon": {"debug": True}}, async_val=0, check_mode=False)
    action = action_of_host.ActionModule(task, MagicMock(), MagicMock(), MagicMock(), MagicMock(), MagicMock())
    result = action.run(task_vars={"inventory_hostname": host})
    assert asked == [True, False][: len(answers)]
    return result


def test_unchanged_host_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_ready("web1", [dict(changed=False)], monkeypatch) == dict(changed=False)


def test_engines_are_restarted_host_by_host_until_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = dict(changed=True, deferred=True, actions=["made the directory /srv/berth"], diff=[1])
    done = make_ready("web1", [waits, dict(changed=True, actions=["restarted Docker Engine"], diff=[2])], monkeypatch)
    assert done == dict(changed=True, actions=["made the directory /srv/berth", "restarted Docker Engine"], diff=[1, 2])
    failed = make_ready("web2", [waits, dict(failed=True, msg="does not start")], monkeypatch)
    assert failed["failed"] and failed["msg"] == "does not start"
    left = make_ready("web3", [waits], monkeypatch)
    assert left["failed"] and left["msg"] == "web2 failed in its turn, so Docker Engine was left as it was on this host and runs on."
