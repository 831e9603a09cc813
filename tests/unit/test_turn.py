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
