# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services for the processes that a project has beside its web server: workers, and the scheduler of its commands."""

from __future__ import annotations

DOCUMENTATION = r"""
name: worker_services
author: berth.django contributors
version_added: 0.2.0
short_description: Services for the workers of a project
description:
  - Makes a service of each process of each worker, from the service of the project itself. It has the same image, user, environment,
    secrets, files, mounts and networks, and its own command, limits, health check and directory.
  - With a schedule, one more service runs its commands. There is one on every host, and one at a time leads (see C(berth-schedule)).
positional: _input, workers, schedule, options
options:
  _input:
    description: The service of the project, as M(berth.django.container_service) takes it.
    type: dict
    required: true
  workers:
    description: C(django_uwsgi_workers) of the role.
    type: dict
    required: true
  schedule:
    description: C(django_uwsgi_schedule) of the role.
    type: dict
    required: true
  options:
    description: >-
      C(directory), below which each service gets one of its own; C(workdir); C(manage) (the command line of manage.py) and C(settings) (its
      settings module); C(python) and C(entrypoint), which run our own programs and commands of the project; C(program) (the text of
      C(berth-schedule)); C(memory), C(cpus) and C(stop_grace) of workers that name none, C(schedule_memory) and C(schedule_stop_grace).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: See what the workers become
  ansible.builtin.debug:
    msg: "{{ __django_uwsgi_service | berth.django.worker_services({'mail': {'manage': ['send']}}, {}, __django_uwsgi_worker_options) }}"
"""

RETURN = r"""
_value:
  description: Services, as O(berth.django.container_service#module:companions) takes them.
  type: list
  elements: dict
"""

import datetime
import importlib
import json
import typing as t
import zlib
from pathlib import Path

from ansible.errors import AnsibleFilterError

Service = dict[str, t.Any]
Options = dict[str, t.Any]
# What the web server alone has: its socket's backlog, its drain, and its place among the hosts.
NOT_OF_A_WORKER = ("before_stop", "sysctls", "switch", "directories")
# Of a release: files of its own, and waiting. The project's service waits for all of them.
NOT_OF_ITS_RELEASE = ("directory", "bake", "pause")
KEYS = {"command", "manage", "count", "memory", "cpus", "env", "health", "stop_signal", "stop_grace"}
JOB_KEYS = {"cron", "command", "args"}
FILES = "/etc/berth/current"
# Its own first process is there as long as a container is.
ALIVE = ["-c", "import os; os.kill(1, 0)"]
# The scheduler looks at its clock every second, and may wait for an answer of the database.
BEATS = ["-c", "import os, time; raise SystemExit(time.time() - os.stat('/tmp/berth-schedule').st_mtime > 90)"]


def worker_services(service: Service, workers: dict[str, t.Any], schedule: dict[str, t.Any], options: Options) -> list[Service]:
    found = [
        worker_service(service, name if number == 1 else f"{name}-{number}", each, options)
        for name, worker in workers.items()
        for each in [checked_worker(name, worker)]
        for number in range(1, each.get("count", 1) + 1)
    ]
    return [*found, *([scheduler_service(service, schedule, options)] if schedule else [])]


def checked_worker(name: str, worker: dict[str, t.Any]) -> dict[str, t.Any]:
    where = f"django_uwsgi_workers.{name}"
    unknown = sorted(set(worker) - KEYS)
    if unknown:
        raise AnsibleFilterError(f"{where} has {unknown[0]}, which no worker has: {', '.join(sorted(KEYS))}.")
    if bool(worker.get("command")) == bool(worker.get("manage")):
        raise AnsibleFilterError(f"{where} needs either command (a program and its arguments) or manage (words for manage.py).")
    for key in ("command", "manage", "health"):
        words = worker.get(key, [])
        if isinstance(words, str) or not all(isinstance(word, (str, int, float)) for word in words):
            raise AnsibleFilterError(f"{where}.{key} is {words!r}: give a list of words.")
    if name == SCHEDULER:
        raise AnsibleFilterError(f"{where} has the name of the service that runs django_uwsgi_schedule: give it another.")
    return worker


def worker_service(service: Service, name: str, worker: dict[str, t.Any], options: Options) -> Service:
    directory = f"{options['directory']}/{name}"
    health = [*options["entrypoint"], *worker["health"]] if worker.get("health") else [*options["python"], *ALIVE]
    return {
        **{key: value for key, value in service.items() if key not in NOT_OF_A_WORKER},
        "name": f"worker-{name}",
        "command": [*map(str, worker["command"])] if worker.get("command") else manage(options, worker["manage"]),
        "workdir": options["workdir"],
        "env": {**service["env"], **worker.get("env", {})},
        "config": {"files": without_uwsgi(service)},
        "directory": directory,
        "directories": [],
        "health": {**service["health"], "command": [*map(str, health)], "explain": []},
        "memory": worker.get("memory", options["memory"]),
        "cpus": worker.get("cpus", options["cpus"]),
        "stop_signal": worker.get("stop_signal", "SIGTERM"),
        "stop_grace": worker.get("stop_grace", options["stop_grace"]),
        "init": True,  # what a worker starts and leaves behind is nobody's otherwise
        "switch": [{"link": f"{directory}/current", "target": "{instance}"}],
        "release": {key: value for key, value in service["release"].items() if key not in NOT_OF_ITS_RELEASE},
    }


def manage(options: Options, words: t.Sequence[t.Any]) -> list[str]:
    """As every command of manage.py is run, whatever settings it sets by itself."""
    name, *rest = map(str, words)
    return [*options["manage"], name, f"--settings={options['settings']}", *rest]


# What only those need that answer visitors.
_UWSGI_FILES = ("uwsgi.ini", "berth-explain", "berth-preload.py", "berth-schema")


def without_uwsgi(service: Service) -> dict[str, str]:
    return {name: text for name, text in service["config"]["files"].items() if name not in _UWSGI_FILES}


# --- the scheduler ----------------------------------------------------------------------------------------------------------------

SCHEDULER = "scheduler"
# Any moment will do to try an expression.
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


def scheduler_service(service: Service, schedule: dict[str, t.Any], options: Options) -> Service:
    """Runs inside of the project's own Django, whose connection to the database decides who leads."""
    library = cronsim()
    jobs = [checked_job(name, job, library, options) for name, job in schedule.items()]
    lock = zlib.crc32(service["project"].encode()) % 2**31
    text = json.dumps({"lock": lock, "alone": options["alone"], "jobs": jobs}, indent=1) + "\n"
    start = f"import runpy; runpy.run_path('{FILES}/berth-schedule', run_name='__main__')"
    worker = {"manage": ["shell", "--verbosity=0", "--command", start], "env": options["schedule_env"]}
    found = worker_service(service, SCHEDULER, worker, options)
    files = {**found["config"]["files"], "schedule.json": text, "berth-schedule": options["program"], "cronsim.py": source_of(library)}
    return {
        **found,
        "secrets": {**found["secrets"], **options["schedule_secrets"]},
        "config": {"files": files},
        "health": {**found["health"], "command": [*options["python"], *BEATS]},
        "memory": options["schedule_memory"],
        "stop_grace": options["schedule_stop_grace"],
    }


def checked_job(name: str, job: dict[str, t.Any], library: t.Any, options: Options) -> dict[str, t.Any]:
    where = f"django_uwsgi_schedule.{name}"
    unknown = sorted(set(job) - JOB_KEYS)
    missing = sorted({"cron", "command"} - set(job))
    if unknown:
        raise AnsibleFilterError(f"{where} has {unknown[0]}, which no scheduled command has: {', '.join(sorted(JOB_KEYS))}.")
    if missing:
        raise AnsibleFilterError(f"{where} needs {missing[0]}: cron (five fields) and command (of manage.py).")
    if isinstance(job.get("args", []), str):
        raise AnsibleFilterError(f"{where}.args is {job['args']!r}: give a list of words.")
    try:
        library.CronSim(str(job["cron"]), NOW)
    except library.CronSimError as error:
        fields = "five fields: minute, hour, day, month, day of the week"
        raise AnsibleFilterError(f"{where}.cron is {job['cron']!r}, not {fields}: {error}.") from None
    return {"name": name, "cron": str(job["cron"]), "argv": manage(options, [job["command"], *job.get("args", [])])}


def cronsim() -> t.Any:
    """The library that reads cron expressions: one file, which goes into any image beside our own programs."""
    try:
        return importlib.import_module("cronsim.cronsim")
    except ImportError:
        raise AnsibleFilterError("django_uwsgi_schedule needs the Python package cronsim on the controller: pip install cronsim") from None


def source_of(library: t.Any) -> str:
    return Path(library.__file__).read_text(encoding="utf-8")


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"worker_services": worker_services}
