# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers and the scheduler: which services they become, and when a command is started."""

from __future__ import annotations

import datetime
import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from _paths import ROOT
from ansible.errors import AnsibleFilterError
from ansible_collections.berth.django.plugins.filter.worker_services import worker_services
from ansible_collections.berth.django.plugins.module_utils import _companions, _docker_argv, _release
from ansible_collections.berth.django.plugins.module_utils._plan import Companion
from ansible_collections.berth.django.plugins.module_utils._spec_parse import parse
from test_spec import spec

SCHEDULER = ROOT / "roles/django_uwsgi/files/berth-schedule"
WEB: dict[str, Any] = spec(
    name="django_uwsgi",
    image="registry/shop:0123456789abcdef",
    env={"A": "1"},
    secrets={"secret_key": "s"},
    config=dict(files={"uwsgi.ini": "[uwsgi]", "berth-entrypoint": "#!"}),
    replace="beside",
    switch=[dict(link="/srv/static/current", target="0123456789abcdef")],
    release=dict(id="0123456789abcdef", directory="/srv/static", keep=3, bake=5, batch=1, pause=2),
    before_stop=dict(drained=dict(command=["berth-drained"])),
)
OPTIONS = dict(
    directory="/srv/berth/shop/workers",
    workdir="/app",
    manage=["python3", "/app/manage.py"],
    settings="shop.settings",
    program="",
    python=["python3", "-IS"],
    entrypoint=["python3", "-IS", "berth-entrypoint"],
    schedule_env={"DATABASE_PORT": "5432"},
    schedule_secrets={"database_url": "past-the-pool"},
    schedule_memory="256m",
    alone=False,
    schedule_stop_grace=300,
    memory="512m",
    cpus="",
    stop_grace=60,
)
MAIL = {"command": ["celery", "worker"], "count": 2, "memory": "64m", "env": {"QUEUE": "mail"}, "health": ["celery", "ping"]}


def test_a_worker_is_a_service_of_its_own_in_the_same_release() -> None:
    one, two, jobs = (parse(each) for each in worker_services(WEB, {"mail": MAIL, "jobs": {"manage": ["run_jobs"]}}, {}, OPTIONS))
    assert [one.name, two.name, jobs.name] == ["worker-mail", "worker-mail-2", "worker-jobs"], "one more changes none that is there"
    assert one.image == WEB["image"] and one.env == {"A": "1", "QUEUE": "mail"} and one.memory == "64m"
    assert one.release and (one.release.id, one.release.keep, one.release.directory) == ("0123456789abcdef", 3, "")
    assert (
        jobs.command == ("python3", "/app/manage.py", "run_jobs", "--settings=shop.settings")
        and jobs.workdir == "/app"
        and jobs.memory == "512m"
    )
    assert not jobs.before_stop.drained and jobs.stop_grace == 60
    assert jobs.config and set(jobs.config.files) == {"berth-entrypoint"}
    assert one.health.command == ("python3", "-IS", "berth-entrypoint", "celery", "ping"), "with the project's environment"
    assert len({each.directory for each in (one, two, jobs)}) == 3, "each is on record by itself"


@pytest.mark.parametrize(
    ("worker", "words"),
    [
        ({}, "command"),
        ({"command": ["a"], "manage": ["b"]}, "command"),
        ({"command": ["a"], "cuont": 2}, "cuont"),
        ({"command": ["a"], "state": "absent"}, "state"),
        ({"manage": "print_jobs"}, "list of words"),
    ],
)
def test_a_worker_that_cannot_be_is_refused_by_name(worker: dict[str, Any], words: str) -> None:
    with pytest.raises(AnsibleFilterError, match="django_uwsgi_workers.mail.*" + words):
        worker_services(WEB, {"mail": worker}, {}, OPTIONS)


TIDY = {"cron": "17 3 * * *", "command": "clearsessions", "args": ["--days", 30]}


def test_a_schedule_is_one_service_with_the_library_that_reads_it() -> None:
    (service,) = map(parse, worker_services(WEB, {}, {"tidy": TIDY}, OPTIONS))
    assert (service.env["A"], service.env["DATABASE_PORT"]) == ("1", "5432")
    assert service.secrets == {"secret_key": "s", "database_url": "past-the-pool"}
    assert service.name == "worker-scheduler" and service.config and (service.memory, service.stop_grace) == ("256m", 300)
    (job,) = json.loads(service.config.files["schedule.json"])["jobs"]
    assert job["argv"] == ["python3", "/app/manage.py", "clearsessions", "--settings=shop.settings", "--days", "30"]
    assert "class CronSim" in service.config.files["cronsim.py"]


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ({"cron": "61 * * * *", "command": "x"}, "cron is '61 . . . .', not five fields"),
        ({"cron": "@hourly", "command": "x"}, "not five fields"),
        ({"command": "x"}, "needs cron"),
        ({"cron": "* * * * *"}, "needs command"),
        ({"cron": "* * * * *", "command": "x", "arguments": []}, "arguments"),
        ({"cron": "* * * * *", "command": "x", "args": "y"}, "list of words"),
    ],
)
def test_a_scheduled_command_that_cannot_be_is_refused_by_name(job: dict[str, Any], words: str) -> None:
    with pytest.raises(AnsibleFilterError, match="django_uwsgi_schedule.tidy.*" + words):
        worker_services(WEB, {}, {"tidy": job}, OPTIONS)


# --- which companions go ----------------------------------------------------------------------------------------------------------


def test_a_companion_that_is_not_wanted_any_more_is_left_over() -> None:
    web = parse(spec(name="web"))
    wanted = _companions.companions(web, [spec(name="worker-mail")])
    there = [Companion("worker-mail", "/srv/worker-mail", 10), Companion("worker-old", "/srv/worker-old", 300)]
    (gone,) = _companions.left_over(web, wanted, there)
    assert (gone.name, gone.directory, gone.secrets, gone.config, gone.stop_grace) == ("worker-old", "/srv/worker-old", {}, None, 300)
    assert wanted[0].labels[_docker_argv.LABEL_COMPANION_OF] == "web"


def test_companions_that_came_with_a_later_release_are_no_part_of_an_older_one(tmp_path: Path) -> None:
    wanted = [{**each, "directory": str(tmp_path / each["name"])} for each in worker_services(WEB, {"a": {"command": ["a"]}}, {}, OPTIONS)]
    web = parse({**WEB, "directory": str(tmp_path / "web")})
    (worker,) = _companions.companions(web, wanted)
    assert not _companions.came_later(web, worker), "the host joined after that release, and gets all of it"
    for service in ("web", "worker-a"):
        (tmp_path / service).mkdir()
    for release, later in (("another", False), ("0123456789abcdef", True)):
        _serves(tmp_path / "web", release)
        assert _companions.came_later(web, worker) is later
    for release, later in (("another", True), ("0123456789abcdef", False)):
        _serves(tmp_path / "worker-a", release)
        assert _companions.came_later(web, worker) is later


def _serves(directory: Path, release: str) -> None:
    line = _release.to_line(_release.Record("now", release, "image", "instance", "me"))
    (directory / "releases.jsonl").write_text(line)


def test_companions_are_of_the_same_project_and_have_names_of_their_own() -> None:
    web = parse(spec(name="web"))
    with pytest.raises(ValueError, match="named web"):
        _companions.companions(web, [spec(name="web")])
    with pytest.raises(ValueError, match="another"):
        _companions.companions(web, [spec(name="worker", project="another")])


# --- when a command is started ----------------------------------------------------------------------------------------------------

BERLIN = ZoneInfo("Europe/Berlin")
SPRING = datetime.datetime(2026, 3, 28, 0, 0, 30, tzinfo=BERLIN)
AUTUMN = datetime.datetime(2026, 10, 25, 0, 30, 30, tzinfo=BERLIN)


@pytest.fixture
def schedule() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("berth_schedule", str(SCHEDULER))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("berth_schedule", loader))  # type: ignore[arg-type]
    keep, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = keep
    assert not list(SCHEDULER.parent.glob("__pycache__"))
    return module


class Clock:
    """Stands still between two pauses, each of which is a minute."""

    def __init__(self, minutes: int, begins: datetime.datetime = SPRING) -> None:
        self.now, self.left = begins, minutes

    def __call__(self) -> datetime.datetime:
        return self.now

    def pause(self) -> None:
        utc = self.now.astimezone(datetime.timezone.utc) + datetime.timedelta(minutes=1)
        self.now, self.left = utc.astimezone(BERLIN), self.left - 1

    def stopped(self) -> bool:
        return self.left <= 0


class Process:
    """Ends after as many looks as it is told."""

    def __init__(self, looks: int) -> None:
        self.looks, self.returncode = looks, 0

    def poll(self) -> int | None:
        self.looks -= 1
        return None if self.looks >= 0 else 0


class Lock:
    """`taken` and `kept` answer what they are told, the last one for ever."""

    def __init__(self, taken: list[Any], kept: list[Any]) -> None:
        self.answers = {"taken": taken, "kept": kept}
        self.gave_up = 0

    def _next(self, name: str) -> bool:
        answers = self.answers[name]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    def taken(self) -> bool:
        return self._next("taken")

    def kept(self) -> bool:
        return self._next("kept")

    def given_up(self) -> None:
        self.gave_up += 1


def starts(schedule: ModuleType, clock: Clock, lock: Lock, cron: str = "*/10 * * * *", looks: int = 1) -> list[str]:
    found: list[str] = []

    def start(argv: list[str]) -> Process:
        found.append(f"{clock():%d %H:%M}")
        return Process(looks)

    job = schedule.Job("tidy", cron, ["manage.py"], clock(), start)
    schedule.serve(lock, [job], clock, clock.stopped, clock.pause)
    return found


def test_the_leader_starts_each_command_once_when_it_is_due(schedule: ModuleType) -> None:
    assert starts(schedule, Clock(35), Lock([True], [True])) == ["28 00:10", "28 00:20", "28 00:30"]


def test_who_does_not_lead_starts_nothing(schedule: ModuleType) -> None:
    assert starts(schedule, Clock(35), Lock([False], [True])) == []


def test_what_was_due_before_it_led_is_left_out(schedule: ModuleType) -> None:
    assert starts(schedule, Clock(35), Lock([False] * 25 + [True], [True])) == ["28 00:30"]


def test_who_has_lost_the_lock_starts_nothing_more(schedule: ModuleType) -> None:
    lock = Lock([True, False], [True] * 9 + [False])
    assert starts(schedule, Clock(35), lock) == []
    assert lock.gave_up == 1


def test_a_term_ends_where_nothing_runs_and_nothing_is_due(schedule: ModuleType) -> None:
    """A leader whose commands could not reach the database any more must not lead for ever; nothing that is due is left out for it."""
    lock = Lock([True], [True])
    assert starts(schedule, Clock(55), lock) == ["28 00:10", "28 00:20", "28 00:30", "28 00:40", "28 00:50"]
    assert lock.gave_up > 10, "terms"


def test_a_command_that_cannot_be_started_is_named(schedule: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    def start(argv: list[str]) -> Process:
        raise OSError("no such program")

    clock = Clock(15)
    schedule.serve(Lock([True], [True]), [schedule.Job("tidy", "*/10 * * * *", ["x"], clock(), start)], clock, clock.stopped, clock.pause)
    assert "tidy: cannot be started: no such program" in capsys.readouterr().out


def test_a_database_that_does_not_answer_ends_it_until_it_does(schedule: ModuleType) -> None:
    lock = Lock([True], [True] * 12 + [OSError("gone"), True])
    assert starts(schedule, Clock(35), lock) == ["28 00:10", "28 00:20", "28 00:30"]
    assert lock.gave_up


def test_a_command_that_still_runs_is_not_started_beside_itself(schedule: ModuleType) -> None:
    assert starts(schedule, Clock(35), Lock([True], [True]), looks=15) == ["28 00:10", "28 00:30"]


def test_a_time_that_a_clock_change_leaves_out_runs_when_the_clock_goes_on(schedule: ModuleType) -> None:
    assert starts(schedule, Clock(60 * 27), Lock([True], [True]), cron="30 2 * * *") == ["28 02:30", "29 03:00"]


def test_an_hour_that_comes_twice_runs_what_each_hour_runs_and_nothing_else_twice(schedule: ModuleType) -> None:
    assert starts(schedule, Clock(60 * 5, AUTUMN), Lock([True], [True]), cron="0 * * * *") == [
        "25 01:00",
        "25 02:00",
        "25 02:00",
        "25 03:00",
        "25 04:00",
    ]
    assert starts(schedule, Clock(60 * 5, AUTUMN), Lock([True], [True]), cron="30 2 * * *") == ["25 02:30"]


@pytest.mark.parametrize(("alone", "told"), [(False, "django_uwsgi_schedule needs PostgreSQL"), (True, "0 commands")])
def test_without_postgresql_one_host_may_have_a_scheduler(alone: bool, told: str, tmp_path: Path) -> None:
    (tmp_path / "schedule.json").write_text(json.dumps({"lock": 1, "alone": alone, "jobs": []}))
    (tmp_path / "project.py").write_text('DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}\n')
    environment = {
        **os.environ,
        "BERTH_FILES": str(tmp_path),
        "BERTH_HEARTBEAT": str(tmp_path / "alive"),
        "DJANGO_SETTINGS_MODULE": "project",
        "PYTHONPATH": str(tmp_path),
    }
    running = subprocess.Popen(
        [sys.executable, str(SCHEDULER)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert running.stdout and told in running.stdout.readline()
    finally:
        running.terminate()
        running.wait(timeout=20)
