# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every action plugin of the collection does with its module's answer."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.berth.django.plugins.action import deploy_lock
from ansible_collections.berth.django.plugins.plugin_utils import _on_host

UNKNOWN = "there is no Docker Engine yet"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(_on_host, "Display", lambda: MagicMock(display=lines.append))
    return lines


@pytest.mark.parametrize(("check", "expected"), [(True, [f"web1: cannot be known before it runs: {UNKNOWN}"]), (False, [])])
def test_what_check_mode_cannot_know_is_told(shown: list[str], check: bool, expected: list[str]) -> None:
    action = MagicMock(_task=MagicMock(check_mode=check, delegate_to=None))
    action._execute_module.return_value = dict(changed=True, unknown=[UNKNOWN])
    assert _on_host.run_module(action, {"inventory_hostname": "web1"}, "berth.django.host", {})["changed"]
    assert shown == expected


def test_modules_write_nothing_to_syslog(shown: list[str]) -> None:
    action = MagicMock()
    _on_host.run_module(action, {"inventory_hostname": "web1"}, "berth.django.host", {})
    assert action._execute_module.call_args.kwargs["task_vars"]["ansible_no_target_syslog"] is True


def test_host_that_does_not_exist_yet_is_skipped_in_check_mode_only(shown: list[str]) -> None:
    action = MagicMock(_task=MagicMock(check_mode=True, delegate_to=None))
    action._execute_module.side_effect = AnsibleConnectionFailure("no route")
    result = _on_host.run_module(action, {"inventory_hostname": "web3"}, "berth.django.host", {})
    assert result["skipped"] and result["msg"].startswith("web3 does not exist yet or does not answer")
    action._task.check_mode = False
    with pytest.raises(AnsibleConnectionFailure):
        _on_host.run_module(action, {"inventory_hostname": "web3"}, "berth.django.host", {})


def test_host_that_a_task_was_delegated_to_fails_the_task_when_it_is_lost() -> None:
    """An unreachable host would be taken for the one that asked, which then gets into no rescue."""
    action = MagicMock(_task=MagicMock(check_mode=False, delegate_to="front1"))
    action._execute_module.side_effect = AnsibleConnectionFailure("no route")
    result = _on_host.run_module(action, {"inventory_hostname": "app1"}, "berth.django.static_release", {})
    assert result["failed"] and result["msg"] == "front1 does not answer: no route"


def test_a_lock_on_a_host_that_is_lost_can_be_kept_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = dict(failed=True, lost_host="web1", msg="web1 does not answer: no route.")
    monkeypatch.setattr(deploy_lock, "run_module", lambda *_words: lost)
    plugin = deploy_lock.ActionModule(*[MagicMock(args={}, async_val=0, check_mode=False)] * 6)
    assert plugin.run(task_vars={})["msg"].endswith("another host can keep the lock: django_uwsgi_lock_host.")
