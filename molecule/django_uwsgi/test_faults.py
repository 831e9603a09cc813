# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases that must not happen, one that must not be noticed, and what heals."""

from __future__ import annotations

from typing import Any

import pytest
from app import HOSTS, ask, converge, under_load
from fleet import container, containers, inspect, on, processes, until

WEB = HOSTS[0] if HOSTS else ""

REFUSED: list[tuple[str, dict[str, Any], list[str]]] = [
    ("value that --strict accepts", {"django_uwsgi_options": {"processes": "many"}}, ["processes"]),
    ("unknown option", {"django_uwsgi_options": {"no-such-option": True}}, ["no-such-option"]),
    ("missing WSGI module", {"django_uwsgi_wsgi_module": "no_such_module.wsgi"}, ["no_such_module"]),
    ("missing settings", {"django_uwsgi_settings_module": "no_such_settings"}, ["no_such_settings"]),
    ("never healthy", {"django_uwsgi_health_path": "/no/such/page/", "django_uwsgi_start_wait": 10}, ["404"]),
    ("missing image", {"django_uwsgi_image": "127.0.0.1:1/no/such:image"}, ["127.0.0.1:1/no/such:image"]),
    ("requirements that do not resolve", {"django_uwsgi_uwsgi": "no-such-package-of-anyone==1.0"}, ["no-such-package-of-anyone"]),
    ("failing check --deploy", {"django_uwsgi_env": {"DATABASE_HOST": "192.0.2.1", "DATABASE_URL": "nonsense://"}}, ["manage.py"]),
]


# With every `make test`; the rest of the table is for `make test-faults`.
SHORT = ("value that --strict accepts", "missing WSGI module", "requirements that do not resolve")


@pytest.mark.parametrize(
    ("variables", "words"),
    [pytest.param(*case[1:], id=case[0], marks=[] if case[0] in SHORT else [pytest.mark.long]) for case in REFUSED],
)
def test_refused_and_the_old_one_serves(variables: dict[str, Any], words: list[str]) -> None:
    before = processes()
    run = converge(variables=variables)
    assert run.rc != 0, run.told
    assert all(word in run.errors for word in words), run.errors
    after = processes()
    assert {name: line for name, line in after.items() if name in before} == before, "something that ran was restarted"
    for host in HOSTS:
        assert ask(host, "/api/music/").status == 200
        assert container(host, "django_uwsgi"), "the candidate was left behind"


def test_change_of_settings_loses_no_request() -> None:
    """A new instance starts beside the old one; requests in flight and in the queue are answered by the one that took them."""
    old = container(WEB, "django_uwsgi")
    with under_load(WEB, "/api/slow/?seconds=0.5", 60) as seen:
        run = converge(variables={"django_uwsgi_processes": 3})
        assert run.rc == 0 and run.changed[WEB], run.told
    assert container(WEB, "django_uwsgi") != old
    assert seen["sent"] > 100 and not seen["lost"], seen["lost"][:5]
    assert len(seen["served"]) == 2, f"the switch was not under load: {seen['served']}"
    again = converge(variables={"django_uwsgi_processes": 3})
    assert not any(again.changed.values()), again.told
    assert converge().rc == 0


def test_killed_worker_and_master_come_back() -> None:
    name = container(WEB, "django_uwsgi")
    before = inspect(WEB, name)["State"]["Pid"]
    on(WEB, f"kill -KILL {before}")
    until(lambda: inspect(WEB, name)["State"]["Pid"] not in (0, before), 30, "the restart policy brings it back")
    until(lambda: ask(WEB, "/api/music/").status == 200, 60, "it answers")


def test_removed_container_is_healed() -> None:
    on(WEB, f"docker rm --force {container(WEB, 'django_uwsgi')}")
    run = converge()
    assert run.rc == 0, run.told
    assert ask(WEB, "/api/music/").status == 200
    assert not any(converge().changed.values())
    assert len(containers(WEB, everything=True)) == 1
