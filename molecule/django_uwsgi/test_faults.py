# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases that must not happen, one that must not be noticed, and what heals."""

from __future__ import annotations

import contextlib
import shutil
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from app import HOSTS, ask, converge, under_load
from fleet import ROOT, container, containers, inspect, on, processes, until
from scratch import ADD_YEAR, migration, sql

WEB = HOSTS[0] if HOSTS else ""
MIGRATED = "SELECT app, name FROM django_migrations ORDER BY id"

REFUSED: list[tuple[str, dict[str, Any], list[str]]] = [
    ("value that --strict accepts", {"django_uwsgi_options": {"processes": "many"}}, ["processes"]),
    ("unknown option", {"django_uwsgi_options": {"no-such-option": True}}, ["no-such-option"]),
    ("missing WSGI module", {"django_uwsgi_wsgi_module": "no_such_module.wsgi"}, ["no_such_module"]),
    ("missing settings", {"django_uwsgi_settings_module": "no_such_settings"}, ["no_such_settings"]),
    ("never healthy", {"django_uwsgi_health_path": "/no/such/page/", "django_uwsgi_start_wait": 10}, ["404"]),
    ("missing image", {"django_uwsgi_image": "127.0.0.1:1/no/such:image"}, ["127.0.0.1:1/no/such:image"]),
    ("setting that settings.py refuses", {"django_uwsgi_env": {"DATABASE_URL": "nonsense://"}}, ["DATABASE_URL starts with 'nonsense'"]),
]


# With every `make test`; the rest of the table is for `make test-faults`.
SHORT = ("missing WSGI module",)


@pytest.mark.parametrize(
    ("variables", "words"),
    [pytest.param(*case[1:], id=case[0], marks=[] if case[0] in SHORT else [pytest.mark.long]) for case in REFUSED],
)
def test_refused_and_the_old_one_serves(variables: dict[str, Any], words: list[str]) -> None:
    with the_old_one_serves():
        run = converge(variables=variables)
    assert run.rc != 0, run.told
    assert all(word in run.errors for word in words), run.errors


@contextlib.contextmanager
def the_old_one_serves() -> t.Iterator[None]:
    """The same processes before, while and after; nothing beside them; and the schema as it was."""
    before, recorded = processes(), sql(MIGRATED)
    with under_load(WEB, "/api/music/", clients=1) as seen:
        yield
    assert seen["sent"] and not seen["lost"], seen["lost"][:5]
    assert processes() == before, "something that ran was restarted, or the candidate was left behind"
    assert sql(MIGRATED) == recorded, "the database was migrated"
    for host in HOSTS:
        assert ask(host, "/api/music/").status == 200


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the project for a release that must not happen, with one more migration in it."""
    copy = Path(shutil.copytree(ROOT / "examples" / "music", tmp_path / "music"))
    (copy / "songs" / "migrations" / "0002_year.py").write_text(migration("0001_initial", ADD_YEAR))
    return copy


def test_requirements_that_do_not_resolve(source: Path) -> None:
    (source / "requirements.txt").write_text("no-such-package-of-anyone==1.0\n")
    refused(
        source,
        ["no-such-package-of-anyone was not found", "asked: ", "Look at django_uwsgi_requirements and django_uwsgi_extra_requirements."],
    )


@pytest.mark.long
def test_requirements_that_contradict_each_other(source: Path) -> None:
    (source / "requirements.txt").write_text("Django==5.2.*\nDjango<5\n")
    refused(source, ["django==5.2.* and django<5"])


@pytest.mark.long
def test_finding_of_check_deploy(source: Path) -> None:
    """Asked of the image that is to go live, before its migrations."""
    with (source / "site_settings" / "settings.py").open("a") as file:
        file.write("\nSECURE_REFERRER_POLICY = 'whatever'\n")
    refused(source, ["manage.py check --deploy --fail-level WARNING finds", "security.E023"])


@pytest.mark.long
def test_failing_migration(source: Path) -> None:
    (source / "songs" / "migrations" / "0002_year.py").write_text(migration("0001_initial", "migrations.RunPython(fail)"))
    refused(source, ["the migration songs.0002_year failed: ValueError: no year"])


@pytest.mark.long
def test_static_file_that_is_missing(source: Path) -> None:
    """collectstatic fails after the migrations: what they did stays, and the old version serves on with it."""
    (source / "songs" / "migrations" / "0002_year.py").unlink()
    (source / "songs" / "static" / "songs" / "site.css").write_text("body { background: url('no-such-picture.png') }\n")
    refused(source, ["manage.py collectstatic failed:", "no-such-picture.png"])


@pytest.mark.long
def test_wsgi_module_that_breaks_when_it_is_imported(source: Path) -> None:
    (source / "songs" / "migrations" / "0002_year.py").unlink()
    (source / "site_settings" / "wsgi.py").write_text("raise RuntimeError('no licence')\n")
    refused(source, ["RuntimeError: no licence"])


def refused(source: Path, words: list[str]) -> None:
    with the_old_one_serves():
        run = converge(variables={"django_uwsgi_source": str(source)})
    assert run.rc != 0, run.told
    assert all(word in run.errors for word in words), run.errors
    told = [(text.partition("]")[0], "was not brought" in text.partition("[ERROR]")[0]) for text in run.errors.split("fatal: [")[1:]]
    assert len(told) == len(set(told)), f"more than one error, or more than one closing sentence, of a host:\n{run.errors}"


@pytest.mark.long
def test_change_of_settings_loses_no_request() -> None:
    """A new instance starts beside the old one; requests in flight and in the queue are answered by the one that took them."""
    old = container(WEB, "django_uwsgi")
    with under_load(WEB, "/api/slow/?seconds=0.5") as seen:
        run = converge(variables={"django_uwsgi_processes": 3})
        assert run.rc == 0 and run.changed[WEB], run.told
    assert container(WEB, "django_uwsgi") != old
    assert seen["sent"] > 100 and not seen["lost"], seen["lost"][:5]
    assert len(seen["served"]) == 2, f"the switch was not under load: {seen['served']}"
    again = converge(variables={"django_uwsgi_processes": 3})
    assert again.unchanged, again.told
    assert converge().rc == 0


def test_killed_worker_and_master_come_back() -> None:
    name = container(WEB, "django_uwsgi")
    before = inspect(WEB, name)["State"]["Pid"]
    on(WEB, f"kill -KILL {before}")
    until(lambda: inspect(WEB, name)["State"]["Pid"] not in (0, before), 30, "the restart policy brings it back")
    until(lambda: ask(WEB, "/api/music/").status == 200, 60, "it answers")


@pytest.mark.long
def test_a_request_that_never_ends_is_given_up_and_harms_no_other() -> None:
    assert converge(variables={"django_uwsgi_harakiri": 2}).rc == 0
    with under_load(WEB, "/api/music/") as seen:
        began = time.monotonic()
        with pytest.raises(AssertionError, match="closed without an answer"):
            ask(WEB, "/api/slow/?seconds=10")
        assert time.monotonic() - began < 8
    assert seen["sent"] > 100 and not seen["lost"], seen["lost"][:5]


def uploads(number: int) -> list[str]:
    """What became of uploads that take three seconds, while somebody asks now and then."""
    lost = []
    with ThreadPoolExecutor(number) as clients:
        asked = [clients.submit(ask, WEB, "/api/music/", method="POST", trickle=15) for _ in range(number)]
        while not all(one.done() for one in asked):
            try:
                assert ask(WEB, "/api/music/").status == 200
            except AssertionError as error:
                lost.append(str(error))
            time.sleep(0.3)
    return lost + [str(error) for error in (one.exception() for one in asked) if error]


@pytest.mark.long
def test_threads_do_not_end_each_others_uploads() -> None:
    """The naive way is harakiri with threads, as uWSGI's documentation has it."""
    threads = {"django_uwsgi_processes": 1, "django_uwsgi_threads": 4}
    assert converge(variables=threads).rc == 0
    assert uploads(3) == []
    assert converge(variables={**threads, "django_uwsgi_options": {"harakiri": 60}}).rc == 0
    assert uploads(3), "harakiri and threads go together now: set it"
    assert converge().rc == 0


@pytest.mark.long
def test_a_release_that_has_fallen_ill_fails_the_run() -> None:
    """Nothing is to be done, but a run that ends well says that the project serves."""
    name = container(WEB, "django_uwsgi")
    workers = f"$(docker top {name} -o pid | tail -n +2)"
    try:
        on(WEB, f"kill -STOP {workers}")
        until(lambda: inspect(WEB, name)["State"]["Health"]["Status"] == "unhealthy", 180, "its engine has seen it")
        run = converge()
        assert run.rc != 0 and f"{name} did not become healthy" in " ".join(run.errors.split()), run.told
    finally:
        on(WEB, f"kill -CONT {workers}")
    until(lambda: ask(WEB, "/api/music/").status == 200, 60, "it answers")
    again = converge()
    assert again.unchanged and container(WEB, "django_uwsgi") == name, again.told


def test_removed_container_is_healed() -> None:
    on(WEB, f"docker rm --force {container(WEB, 'django_uwsgi')}")
    run = converge()
    assert run.rc == 0, run.told
    assert ask(WEB, "/api/music/").status == 200
    assert converge().unchanged
    assert len(containers(WEB, everything=True)) == 1
