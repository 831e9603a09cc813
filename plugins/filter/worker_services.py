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
      C(directory), below which each service gets one of its own, C(workdir), C(manage) (the command line of manage.py), C(program) (the
      text of C(berth-schedule)), C(memory), C(cpus) and C(stop_grace) of those that name none, and C(python), which runs our own programs.
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

import importlib.util
import json
import typing as t
from pathlib import Path

from ansible.errors import AnsibleFilterError

Service = dict[str, t.Any]
# What the web server alone has: its socket's backlog, its drain, and its place among the hosts.
NOT_OF_A_WORKER = ("before_stop", "sysctls", "switch", "directories")
SCHEDULER = "scheduler"
INTERNAL = {"files"}
KEYS = {"command", "manage", "count", "memory", "cpus", "env", "health", "stop_signal", "stop_grace", *INTERNAL}
# Its own first process is there as long as a container is.
ALIVE = "import os; os.kill(1, 0)"
# The scheduler looks at its clock every second, and may wait for an answer of the database.
BEATS = "import os, time; raise SystemExit(time.time() - os.stat('/tmp/berth-schedule').st_mtime > 90)"


def worker_services(service: Service, workers: dict[str, t.Any], schedule: dict[str, t.Any], options: dict[str, t.Any]) -> list[Service]:
    found = [
        worker_service(service, f"{name}-{number}" if worker.get("count", 1) > 1 else name, worker, options)
        for name, worker in workers.items()
        for number in range(1, worker.get("count", 1) + 1)
    ]
    return [*found, *([scheduler_service(service, schedule, options)] if schedule else [])]


def worker_service(service: Service, name: str, worker: dict[str, t.Any], options: dict[str, t.Any]) -> Service:
    unknown = sorted(set(worker) - KEYS)
    if unknown:
        raise AnsibleFilterError(
            f"django_uwsgi_workers.{name} has {unknown[0]}, which no worker has: {', '.join(sorted(KEYS - INTERNAL))}."
        )
    if bool(worker.get("command")) == bool(worker.get("manage")):
        raise AnsibleFilterError(f"django_uwsgi_workers.{name} needs either command (any program) or manage (words for manage.py).")
    release = {key: value for key, value in service["release"].items() if key not in ("directory", "bake", "pause")}
    directory = f"{options['directory']}/worker-{name}"
    return {
        **{key: value for key, value in service.items() if key not in NOT_OF_A_WORKER},
        "name": f"worker-{name}",
        "command": worker.get("command") or [*options["manage"], *worker["manage"]],
        "workdir": options["workdir"],
        "env": {**service["env"], **worker.get("env", {})},
        "config": {"files": {**without_uwsgi(service), **worker.get("files", {})}},
        "directory": directory,
        "directories": [],
        "health": {**service["health"], "command": worker.get("health") or [*options["python"], "-c", ALIVE]},
        "memory": worker.get("memory") or options["memory"],
        "cpus": worker.get("cpus") or options["cpus"],
        "stop_signal": worker.get("stop_signal") or "SIGTERM",
        "stop_grace": worker.get("stop_grace") or options["stop_grace"],
        "init": True,  # what a worker starts and leaves behind is nobody's otherwise
        "switch": [{"link": f"{directory}/current", "target": "{instance}"}],
        "release": release,
    }


def without_uwsgi(service: Service) -> dict[str, str]:
    return {name: text for name, text in service["config"]["files"].items() if name != "uwsgi.ini"}


def scheduler_service(service: Service, schedule: dict[str, t.Any], options: dict[str, t.Any]) -> Service:
    """Runs inside of the project's own Django, whose connection to the database decides who leads."""
    jobs = [
        {"name": name, "cron": job["cron"], "argv": [*options["manage"], job["command"], *job.get("args", [])]}
        for name, job in schedule.items()
    ]
    start = "import runpy; runpy.run_path('/etc/berth/current/berth-schedule', run_name='__main__')"
    worker = {
        "health": [*options["python"], "-c", BEATS],
        "command": [*options["manage"], "shell", "--verbosity=0", "--command", start],
        "files": {"schedule.json": json.dumps(jobs, indent=1) + "\n", "berth-schedule": options["program"], "cronsim.py": cronsim()},
    }
    return worker_service(service, SCHEDULER, worker, options)


def cronsim() -> str:
    """The source of the library that reads cron expressions: one file, which goes into any image beside our own programs."""
    spec = importlib.util.find_spec("cronsim")
    if spec is None or not spec.origin:
        raise AnsibleFilterError("django_uwsgi_schedule needs the Python package cronsim on the controller: pip install cronsim")
    return Path(spec.origin).with_name("cronsim.py").read_text(encoding="utf-8")


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"worker_services": worker_services}
