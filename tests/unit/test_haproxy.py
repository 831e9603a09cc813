# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which servers are drained before HAProxy loses them."""

from __future__ import annotations

import pytest
from ansible_collections.berth.django.plugins.module_utils import _haproxy

CONFIG = """
global
    log stdout format raw local0
frontend site
    bind :80
backend django
    option httpchk
    server web1 10.0.0.1:8000
    server web2 10.0.0.2:8000 check
listen mail
    server mx 10.0.0.3:25
backend grown
    server-template worker 1-3 10.0.0.4:80
"""
TITLES = "# pxname,svname,qcur,scur,status,\n"


def stat(*rows: str) -> list[_haproxy.Server]:
    """Of rows like `backend/server status requests`."""
    lines = [row.replace("/", " ").split(" ") for row in rows]
    return _haproxy.servers(TITLES + "".join(f"{backend},{name},0,{count},{status},\n" for backend, name, status, count in lines) + "\n")


def test_configuration_is_read() -> None:
    assert _haproxy.configured(CONFIG) == {"django": {"web1", "web2"}, "mail": {"mx"}}


def test_statistics_are_read() -> None:
    found = _haproxy.servers(TITLES + "site,FRONTEND,,3,OPEN,\ndjango,web1,0,2,UP 1/3,\ndjango,BACKEND,0,2,UP,\n\n")
    assert found == [_haproxy.Server("django", "web1", "UP 1/3", 2)] and found[0].up


@pytest.mark.parametrize(
    ("running", "commands"),
    [
        pytest.param(["django/web1 UP 0", "django/web2 UP 0"], [], id="as configured"),
        pytest.param(["django/web1 UP 0", "django/web3 UP 4"], ["django/web3 state drain"], id="one goes"),
        pytest.param(["django/web1 UP 0", "django/web3 DOWN 0"], ["django/web3 state drain"], id="one goes that is down now"),
        pytest.param(["django/web1 UP 0", "django/web3 DRAIN 0"], [], id="drained already"),
        pytest.param(["django/web3 UP 0", "django/web4 UP 0"], [], id="all go: nobody else could answer"),
        pytest.param(["django/web1 DOWN 0", "django/web3 UP 0"], [], id="only the one that goes is up"),
        pytest.param(["django/web1 UP 0", "django/web2 DRAIN 0"], ["django/web2 state ready"], id="it came back"),
        pytest.param(["django/web1 UP 0", "django/web2 MAINT 0"], [], id="taken out by hand"),
        pytest.param(["old/web1 UP 0", "old/web3 UP 0"], [], id="its backend goes, too"),
        pytest.param(["grown/worker1 UP 0", "grown/worker2 UP 0"], [], id="names that the file does not have"),
    ],
)
def test_changes(running: list[str], commands: list[str]) -> None:
    assert [change.command for change in _haproxy.changes(CONFIG, stat(*running))] == [f"set server {command}\n" for command in commands]


def test_only_drained_servers_are_waited_for() -> None:
    drained = _haproxy.changes(CONFIG, stat("django/web1 UP 5", "django/web3 UP 5"))
    assert [server.name for server in _haproxy.busy(stat("django/web1 UP 5", "django/web3 DRAIN 1"), drained)] == ["web3"]
    assert not _haproxy.busy(stat("django/web1 UP 5", "django/web3 DRAIN 0"), drained)
