# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers and the scheduler: which services they become, and when a command is started."""

from __future__ import annotations

import datetime
import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from _paths import ROOT
from ansible.errors import AnsibleFilterError
from ansible_collections.berth.django.plugins.filter.worker_services import worker_services
from ansible_collections.berth.django.plugins.module_utils import _companions, _docker_argv, _observe
from ansible_collections.berth.django.plugins.module_utils._spec_parse import parse
from test_spec import spec

WEB: dict[str, Any] = spec(
    name="django_uwsgi",
    image="registry/shop:0123456789abcdef",
    env={"A": "1"},
    config=dict(files={"uwsgi.ini": "[uwsgi]", "berth-entrypoint": "#!"}),
    replace="beside",
    switch=[dict(link="/srv/static/current", target="0123456789abcdef")],
    release=dict(id="0123456789abcdef", directory="/srv/static", keep=3, bake=5, batch=1, pause=2),
    before_stop=dict(drained=dict(command=["berth-drained"])),
)
OPTIONS = dict(
    directory="/srv/berth/shop",
    workdir="/app",
    manage=["python3", "/app/manage.py"],
    program="",
    python=["python3", "-IS"],
    memory="512m",
    cpus="",
    stop_grace=60,
)
MAIL = {"command": ["celery", "worker"], "count": 2, "memory": "64m", "env": {"QUEUE": "mail"}, "health": ["celery", "ping"]}


def test_a_worker_is_a_service_of_its_own_in_the_same_release() -> None:
    one, two, jobs = (parse(each) for each in worker_services(WEB, {"mail": MAIL, "jobs": {"manage": ["run_jobs"]}}, {}, OPTIONS))
    assert [one.name, two.name, jobs.name] == ["worker-mail-1", "worker-mail-2", "worker-jobs"]
    assert one.image == WEB["image"] and one.env == {"A": "1", "QUEUE": "mail"} and one.memory == "64m"
    assert one.release and (one.release.id, one.release.keep, one.release.directory) == ("0123456789abcdef", 3, "")
    assert jobs.command == ("python3", "/app/manage.py", "run_jobs") and jobs.workdir == "/app" and jobs.memory == "512m"
    assert not jobs.before_stop.drained and jobs.stop_grace == 60
    assert jobs.config and set(jobs.config.files) == {"berth-entrypoint"}
    assert len({each.directory for each in (one, two, jobs)}) == 3, "each is on record by itself"


@pytest.mark.parametrize(
    ("worker", "words"),
    [
        ({}, "command"),
        ({"command": ["a"], "manage": ["b"]}, "command"),
        ({"command": ["a"], "cuont": 2}, "cuont"),
        ({"command": ["a"], "files": {}, "state": "absent"}, "state"),
    ],
)
def test_a_worker_that_cannot_be_is_refused_by_name(worker: dict[str, Any], words: str) -> None:
    with pytest.raises(AnsibleFilterError, match="django_uwsgi_workers.mail.*" + words):
        worker_services(WEB, {"mail": worker}, {}, OPTIONS)


def test_a_schedule_is_one_service_with_the_library_that_reads_it() -> None:
    (service,) = map(parse, worker_services(WEB, {}, {"tidy": {"cron": "17 3 * * *", "command": "clearsessions"}}, OPTIONS))
    assert service.name == "worker-scheduler" and service.config
    assert '"clearsessions"' in service.config.files["schedule.json"]
    assert "class CronSim" in service.config.files["cronsim.py"]


# --- which companions go ----------------------------------------------------------------------------------------------------------


def container(name: str, of: str, project: str = "music") -> dict[str, Any]:
    labels = {
        _docker_argv.LABEL_PROJECT: project,
        _docker_argv.LABEL_SERVICE: name,
        _companions.LABEL_OF: of,
        _companions.LABEL_DIRECTORY: f"/srv/{name}",
    }
    return {"Name": f"/{name}", "Config": {"Labels": labels}}


def test_a_companion_that_is_not_wanted_any_more_is_left_over(monkeypatch: pytest.MonkeyPatch) -> None:
    web = parse(spec(name="web"))
    wanted = _companions.companions(web, [spec(name="worker-mail")])
    there = [
        container("worker-mail", "web"),
        container("worker-old", "web"),
        container("x", "other"),
        container("y", "web", project="another"),
    ]
    monkeypatch.setattr(_observe, "inspect_all", lambda: there)
    monkeypatch.setattr(_companions, "docker_present", lambda: True)
    (gone,) = _companions.left_over(web, wanted)
    assert (gone.name, gone.directory, gone.secrets, gone.config) == ("worker-old", "/srv/worker-old", {}, None)
    assert wanted[0].labels[_companions.LABEL_OF] == "web"


def test_companions_are_of_the_same_project_and_have_names_of_their_own() -> None:
    web = parse(spec(name="web"))
    with pytest.raises(ValueError, match="named web"):
        _companions.companions(web, [spec(name="web")])
    with pytest.raises(ValueError, match="another"):
        _companions.companions(web, [spec(name="worker", project="another")])


# --- when a command is started ----------------------------------------------------------------------------------------------------

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def schedule() -> ModuleType:
    path = ROOT / "roles/django_uwsgi/files/berth-schedule"
    loader = importlib.machinery.SourceFileLoader("berth_schedule", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("berth_schedule", loader))  # type: ignore[arg-type]
    keep, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = keep
    assert not list(Path(path).parent.glob("__pycache__"))
    return module


class Clock:
    """Stands still between two pauses, each of which is a minute."""

    def __init__(self, minutes: int) -> None:
        self.now, self.left = datetime.datetime(2026, 3, 28, 0, 0, 30, tzinfo=BERLIN), minutes

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


def test_a_database_that_does_not_answer_ends_it_until_it_does(schedule: ModuleType) -> None:
    lock = Lock([True], [True] * 12 + [OSError("gone"), True])
    assert starts(schedule, Clock(35), lock) == ["28 00:10", "28 00:20", "28 00:30"]
    assert lock.gave_up == 1


def test_a_command_that_still_runs_is_not_started_beside_itself(schedule: ModuleType) -> None:
    assert starts(schedule, Clock(35), Lock([True], [True]), looks=15) == ["28 00:10", "28 00:30"]


def test_a_time_that_a_clock_change_leaves_out_runs_when_the_clock_goes_on(schedule: ModuleType) -> None:
    assert starts(schedule, Clock(60 * 27), Lock([True], [True]), cron="30 2 * * *") == ["28 02:30", "29 03:00"]
