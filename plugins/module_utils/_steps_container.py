# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Steps that make, start, prove, drain and remove containers."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path

from ansible_collections.berth.django.plugins.module_utils import _docker_argv as argv_of
from ansible_collections.berth.django.plugins.module_utils import _files
from ansible_collections.berth.django.plugins.module_utils._execution import Execution, Step, end_of_log, instance_of, remove_directories
from ansible_collections.berth.django.plugins.module_utils._observe import answers, as_container, ask, inspect_one, proven
from ansible_collections.berth.django.plugins.module_utils._plan import aside_name
from ansible_collections.berth.django.plugins.module_utils._shell import EngineError, must, run
from ansible_collections.berth.django.plugins.module_utils._spec import Probe, Service

PROOF_TIMEOUT = 15
EXPLAIN_TIMEOUT = 30


def _create(execution: Execution, name: str) -> None:
    service = execution.service
    must(argv_of.create(service), f"creating the container {name}")
    execution.undo.append(lambda: remove_container(name))
    for network in service.networks[1:]:
        must(argv_of.connect(network.name, network.aliases, name), f"connecting {name} to {network.name}")


def remove_container(name: str) -> None:
    must(["docker", "rm", "--force", name], f"removing the container {name}")


def _rename(execution: Execution, name: str) -> None:
    aside = aside_name(name)
    run(["docker", "rm", aside])  # a stopped leftover of a killed run; a running one keeps the name and is an error below
    must(["docker", "rename", name, aside], f"renaming the container {name}")
    execution.undo.append(lambda: _rename_back(aside, name))


def _rename_back(aside: str, name: str) -> None:
    must(["docker", "rename", aside, name], f"renaming the container {aside} back")


def _rename_to_final(execution: Execution, name: str) -> None:
    must(["docker", "rename", name, execution.service.container], f"renaming the container {name}")


def _withdraw(execution: Execution, _target: str) -> None:
    """Takes the service out of rotation: whoever checks its health stops sending new requests."""
    before_stop = execution.service.before_stop
    if before_stop.withdraw and os.path.exists(before_stop.withdraw):
        os.unlink(before_stop.withdraw)
        execution.undo.append(lambda: _put_back(execution, ""))
        time.sleep(before_stop.settle)


def _put_back(execution: Execution, _target: str) -> None:
    flag = Path(execution.service.before_stop.withdraw)
    flag.parent.mkdir(parents=True, exist_ok=True)
    flag.touch()


def _drain(execution: Execution, name: str) -> None:
    before_stop = execution.service.before_stop
    if not before_stop.drained:
        return
    old = next((item for item in execution.actual.containers if name in (item.name, aside_name(item.name))), None)
    probe = _for_instance(before_stop.drained, execution.service.instance, old.instance if old else "")
    deadline = time.monotonic() + before_stop.timeout
    while (outcome := answers(probe, name)).rc != 0:
        state = (inspect_one(name) or {}).get("State") or {}
        if not state.get("Running") or state.get("Restarting"):
            return  # nothing is in flight in a container that does not run
        if time.monotonic() > deadline:
            execution.notes.append(f"{name} was still busy after {before_stop.timeout} s and is stopped anyway: {outcome.text[-300:]}")
            return
        time.sleep(0.2)


def _for_instance(probe: Probe, new: str, old: str) -> Probe:
    """The question for the new instance, put to the old one."""
    if not old:
        return probe
    return dataclasses.replace(
        probe, command=tuple(word.replace(new, old) for word in probe.command), socket=probe.socket.replace(new, old)
    )


def _stop(execution: Execution, name: str) -> None:
    execution.undo.append(lambda: _start_again(execution.service, name))
    must(argv_of.stop(name, execution.service.stop_grace), f"stopping the container {name}")


def _start_again(service: Service, name: str) -> None:
    must(["docker", "start", name], f"starting the container {name} again")
    found = inspect_one(name)
    spec = json.loads(as_container(found).spec) if found else {}
    command = (spec.get("health") or {}).get("command") or service.health.command  # its own: the new one may be what is wrong
    deadline = time.monotonic() + service.health.wait
    while run(argv_of.exec_in(name, command), timeout=service.health.timeout + 1).rc != 0:
        if time.monotonic() > deadline:
            raise EngineError(f"{name} was started again and is not healthy yet.\n{end_of_log(name)}")
        time.sleep(0.3)


def _point_config(execution: Execution, _target: str) -> None:
    service = execution.service
    link, before = f"{service.config_root}/current", execution.actual.config_current
    if before != service.generation:
        _files.point(link, service.generation)
        execution.undo.append(lambda: _files.point(link, before))


def _start(execution: Execution, name: str) -> None:
    execution.undo.append(lambda: _stop_failed(execution.service, name))
    must(["docker", "start", name], f"starting the container {name}")


def _stop_failed(service: Service, name: str) -> None:
    """It may hold the ports that the old one needs back. A worker may have begun with its work."""
    works = service.release and not service.before_stop.drained
    must(argv_of.stop(name, service.stop_grace if works else 5), f"stopping the container {name}")


def _wait_healthy(execution: Execution, name: str) -> None:
    """Asks the health command itself, several times a second: no dependence on the engine's own interval."""
    health = execution.service.health
    deadline = time.monotonic() + health.wait
    before = (inspect_one(name) or {}).get("RestartCount", 0)
    while True:
        outcome = run(argv_of.exec_in(name, health.command), timeout=health.timeout + 1)
        if outcome.rc == 0:
            return
        found = inspect_one(name)
        if found is None:
            raise EngineError(f"the container {name} vanished while it was starting.")
        state = found["State"]
        ended = state["Status"] in ("exited", "dead") or found.get("RestartCount", 0) >= before + 3
        if ended or time.monotonic() > deadline:
            why = f"ended with code {state.get('ExitCode')}" if ended else f"did not become healthy within {health.wait} s"
            said = outcome.text or f"exit code {outcome.rc}"
            more = "" if ended else _explained(name, health.explain)
            raise EngineError(f"the container {name} {why}. Its health check said: {said}\n{end_of_log(name, more)}")
        time.sleep(0.3)


def _explained(name: str, command: tuple[str, ...]) -> str:
    """Many a product answers 500 and logs nothing."""
    outcome = run(argv_of.exec_in(name, command), timeout=EXPLAIN_TIMEOUT) if command else None
    return outcome.text if outcome else ""


def _reload(execution: Execution, name: str) -> None:
    """Reloads, and believes it only when the product says that it runs the new generation."""
    service, before = execution.service, execution.actual.config_current
    if service.reload is None or service.proof is None:
        raise EngineError(f"{service.name} cannot be reloaded: its spec has no reload and proof.")
    execution.undo.append(lambda: _reload_back(service, name, before))
    outcome = answers(service.reload, name)
    deadline = time.monotonic() + PROOF_TIMEOUT
    while outcome.rc == 0:
        if proven(service.proof, name, service.generation):
            return
        if time.monotonic() > deadline:
            outcome = ask(service.proof, name)
            break
        time.sleep(0.1)
    raise EngineError(
        f"{service.name} did not take its new configuration {service.generation}, the one before is in force again. "
        f"It answered:\n{outcome.text}\n{end_of_log(name)}"
    )


def _reload_back(service: Service, name: str, generation: str) -> None:
    """Points `current` back; a product that kept its old configuration is left alone, and so are its processes."""
    _files.point(f"{service.config_root}/current", generation)
    if generation and service.proof and service.reload and not proven(service.proof, name, generation):
        answers(service.reload, name)


def _restart_if_pending(execution: Execution, name: str) -> None:
    service = execution.service
    waiting = ask(service.restart_when, name).out.strip() if service.restart_when else ""
    if waiting:
        execution.notes.append(f"{name} was restarted, since these settings ask for it: {', '.join(waiting.split())}")
        _withdraw(execution, "")
        _drain(execution, name)
        _restart(execution, name)


def _restart(execution: Execution, name: str) -> None:
    must(["docker", "restart", "-t", str(execution.service.stop_grace), name], f"restarting the container {name}")


def _remove(execution: Execution, name: str) -> None:
    service = execution.service
    remove_container(name)
    old = instance_of(execution, name)
    if old and old != service.instance:
        remove_directories(service, old)


def _commit(execution: Execution, _target: str) -> None:
    """The new container serves: what fails from here on is no reason to go back."""
    execution.undo.clear()
    execution.committed = True


STEPS: dict[str, Step] = {
    "commit": _commit,
    "create": _create,
    "rename": _rename,
    "rename_to_final": _rename_to_final,
    "withdraw": _withdraw,
    "put_back": _put_back,
    "drain": _drain,
    "stop": _stop,
    "point_config": _point_config,
    "start": _start,
    "wait_healthy": _wait_healthy,
    "reload": _reload,
    "restart": _restart,
    "restart_if_pending": _restart_if_pending,
    "remove": _remove,
}
