# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Steps of a release: switching, watching, taking back, and what is put on record."""

from __future__ import annotations

import dataclasses
import shutil
import time

from ansible_collections.berth.django.plugins.module_utils import _docker_argv as argv_of
from ansible_collections.berth.django.plugins.module_utils import _files, _release, _release_files
from ansible_collections.berth.django.plugins.module_utils._execution import Execution, Step, end_of_log, remove_directories
from ansible_collections.berth.django.plugins.module_utils._observe import inspect_one
from ansible_collections.berth.django.plugins.module_utils._release import UnderWay
from ansible_collections.berth.django.plugins.module_utils._shell import EngineError, run
from ansible_collections.berth.django.plugins.module_utils._spec import Service
from ansible_collections.berth.django.plugins.module_utils._steps_container import remove_container


def _switch(execution: Execution, _target: str) -> None:
    if begun := _release_files.under_way(execution.service.directory) if execution.service.release else None:
        _release_files.keep_under_way(execution.service, dataclasses.replace(begun, switched=True))
    for item in execution.service.switch:
        before = execution.actual.links.get(item.link, "")
        if before == item.target:
            continue
        # What a rollback would go to: also where a killed run had switched to something else in between.
        serves = (begun.links.get(item.link) if begun else "") or before
        if item.previous and serves:
            older = _files.link_target(item.previous)
            execution.undo.append(lambda link=item.previous, target=older: _files.point(link, target))  # type: ignore[misc]
            _files.point(item.previous, serves)
        _files.point(item.link, item.target)
        execution.undo.append(lambda link=item.link, target=before: _files.point(link, target))  # type: ignore[misc]


def _switch_back(execution: Execution, _target: str) -> None:
    """Where the links pointed when the release began."""
    under_way = execution.actual.under_way
    for link, target in (under_way.links if under_way else {}).items():
        _files.point(link, target)


def _bake(execution: Execution, name: str) -> None:
    _stay_healthy(execution.service, name, execution.service.release.bake if execution.service.release else 0)


def _watch(execution: Execution, name: str) -> None:
    _stay_healthy(execution.service, name, execution.service.release.pause if execution.service.release else 0)


def _look(execution: Execution, _name: str) -> None:
    look(execution.service)


def look(service: Service) -> None:
    """Once more, when visitors have asked it for a while: nginx hides from them, and from the load balancer, that it keeps crashing."""
    name = service.container
    crashed = (inspect_one(name) or {}).get("RestartCount", 0)
    if crashed:
        raise EngineError(f"the container {name} was healthy and then ended {crashed} times\n{end_of_log(name)}")
    _stay_healthy(service, name, 0)


def _stay_healthy(service: Service, name: str, seconds: int) -> None:
    """Healthy once is not healthy: some crash when the first requests arrive, or when their first task is due.

    Nor is one late answer of a busy host an end: as for the engine, so many failures in a row are.
    """
    health = service.health
    deadline = time.monotonic() + seconds
    started = ""
    failures = 0
    while True:
        state = (inspect_one(name) or {}).get("State") or {}
        started = started or state.get("StartedAt", "")
        if not state.get("Running") or state.get("StartedAt") != started:
            why = f"ended with code {state.get('ExitCode')}"
        else:
            outcome = run(argv_of.exec_in(name, health.command), timeout=health.timeout + 1)
            failures = failures + 1 if outcome.rc else 0
            why = f"is no longer healthy: {outcome.text or f'exit code {outcome.rc}'}" if failures >= health.retries else ""
        if why:
            raise EngineError(f"the container {name} was healthy and then {why}\n{end_of_log(name)}")
        if time.monotonic() > deadline and not failures:
            return
        time.sleep(0.5)


def _discard(_execution: Execution, name: str) -> None:
    remove_container(name)


def _remove_directories(execution: Execution, instance: str) -> None:
    """What an instance that is taken back was given, also where it never got as far as a container."""
    remove_directories(execution.service, instance)


def _begin(execution: Execution, _target: str) -> None:
    """From now on it is known where the links pointed before: before what a killed run began, when that one left the instance running."""
    service, actual = execution.service, execution.actual
    if service.release is None:
        return
    links, switched = {item.link: actual.links.get(item.link, "") for item in service.switch}, False
    older = actual.under_way
    if older and any(item.running and older.serves_before(item.instance) for item in actual.containers):
        links, switched = {link: older.links.get(link, "") for link in links}, older.switched
    begun = UnderWay(service.instance, links, execution.run, service.release.id, service.image, switched, service.release.back)
    _release_files.keep_under_way(service, begun)
    _release_files.record(service, service.release, execution.by, _release.BEGAN)
    execution.undo.append(lambda: _not_begun(execution, begun))


def _not_begun(execution: Execution, begun: UnderWay) -> None:
    """What could not be started is taken back at once, and the audit says so."""
    service, older = execution.service, execution.actual.under_way
    if older:
        _release_files.keep_under_way(service, older)
    else:
        _release_files.conclude(service)
    if service.release:  # last, since a disk may be full
        _release_files.record(service, service.release, execution.by, _release.ROLLED_BACK, begun)


def _conclude(execution: Execution, _target: str) -> None:
    _release_files.conclude(execution.service)


def _record(execution: Execution, outcome: str) -> None:
    if execution.service.release:
        taken_back = execution.actual.under_way if outcome == _release.ROLLED_BACK else None
        _release_files.record(execution.service, execution.service.release, execution.by, outcome, taken_back)


def _prune_directory(execution: Execution, name: str) -> None:
    if execution.service.release:
        _release_files.prune_directory(execution.service.release, name)


def _prune_image(execution: Execution, name: str) -> None:
    execution.notes += filter(None, [_release_files.prune_image(name)])


def _forget(execution: Execution, _target: str) -> None:
    for path in (execution.service.config_root, f"{execution.service.directory}/secrets"):
        shutil.rmtree(path, ignore_errors=True)


def _unlink(execution: Execution, link: str) -> None:
    _files.point(link, "")


STEPS: dict[str, Step] = {
    "switch": _switch,
    "switch_back": _switch_back,
    "bake": _bake,
    "watch": _watch,
    "look": _look,
    "discard": _discard,
    "remove_directories": _remove_directories,
    "begin": _begin,
    "conclude": _conclude,
    "record": _record,
    "prune_directory": _prune_directory,
    "prune_image": _prune_image,
    "forget": _forget,
    "unlink": _unlink,
}
