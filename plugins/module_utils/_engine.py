# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Takes the steps of a plan. With `_observe`, `_shell` and `_files`, the only code that touches the host.

Every step that can hurt leaves behind how to undo it; when a later one fails, they are undone in reverse, and the error says both
what failed and what runs now.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import shutil
import socket
import time
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.berth.django.plugins.module_utils import _docker_argv as argv_of
from ansible_collections.berth.django.plugins.module_utils import _files, _release_files
from ansible_collections.berth.django.plugins.module_utils._observe import (
    answers,
    as_container,
    ask,
    image_present,
    inspect_all,
    inspect_one,
    is_ours,
    name_of,
    observe,
    proven,
)
from ansible_collections.berth.django.plugins.module_utils._plan import Actual, Plan, aside_name
from ansible_collections.berth.django.plugins.module_utils._plan import plan as make_plan
from ansible_collections.berth.django.plugins.module_utils._shell import EngineError, must, run, wait_for_engine
from ansible_collections.berth.django.plugins.module_utils._spec import Probe, Service

LOG_LINES = 30
VALIDATION_TIMEOUT = 120
PULL_TIMEOUT = 900
PROOF_TIMEOUT = 15


@dataclass
class Execution:
    """One plan being carried out: what was observed, how to undo what was done so far, what to tell."""

    service: Service
    actual: Actual
    by: str = ""
    undo: list[t.Callable[[], None]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    committed: bool = False


def stage(service: Service) -> None:
    """Brings image, networks, directories, config and secrets of `service` to the host, and touches nothing that runs.

    For one-off containers (the django_* modules), which may come before the service itself.
    """
    actual = observe(service)
    quiet = ("pull", "network", "directory", "secrets", "config")
    execute(service, actual, Plan(steps=tuple(step for step in make_plan(service, actual).steps if step.do in quiet)))


def execute(service: Service, actual: Actual, plan: Plan, by: str = "") -> list[str]:
    """Takes the steps of `plan` in order, on behalf of `by`, and returns notes.

    Raises :class:`EngineError` after undoing what had been done.
    """
    execution = Execution(service, actual, by)
    try:
        for step in plan.steps:
            _STEPS[step.do](execution, step.target)
    except Exception as error:  # whatever it is, what was begun is taken back
        raise EngineError("\n".join([str(error), *_undo(execution)])) from error
    if plan.steps:
        _prune(service)
    return execution.notes


def _undo(execution: Execution) -> list[str]:
    """Takes everything back, the last first; one failure does not keep the rest from being undone."""
    if execution.committed:
        return ["The new container serves; the next run removes what is left of the old one."]
    told = []
    if execution.undo:
        with contextlib.suppress(EngineError):  # what cannot be undone says so below
            wait_for_engine()
    for action in reversed(execution.undo):
        try:
            action()
        except (EngineError, OSError) as error:
            told.append(f"Undoing it failed too: {error}")
    if told:
        return [*told, "Look at the host, and run this again: it continues from what it finds."]
    running = [item.name for item in execution.actual.containers if item.running]
    told.append(f"What ran before runs on: {', '.join(running)}." if running else "Nothing of this service ran before.")
    return told


def _prune(service: Service) -> None:
    in_use = {service.generation, service.secrets_version, _files.link_target(f"{service.config_root}/current")}
    for found in inspect_all():
        if is_ours(found, service):
            in_use |= {Path(item["Source"]).name for item in found.get("Mounts") or ()}
    _files.prune_versions(service.config_root, in_use)
    _files.prune_versions(f"{service.directory}/secrets", in_use)


def _log(container: str) -> str:
    return run(argv_of.logs(container, LOG_LINES)).text or "(it wrote nothing)"


def _pull(execution: Execution, image: str) -> None:
    outcome = run(argv_of.pull(image, os.path.isdir(argv_of.DOCKER_CONFIG)), timeout=PULL_TIMEOUT)
    if outcome.rc != 0 and not image_present(image):
        raise EngineError(f"the image {image} is not on this host and cannot be pulled: {outcome.text}")


def _network(execution: Execution, name: str) -> None:
    outcome = run(argv_of.create_network(name, execution.service.project))
    if outcome.rc != 0 and "already exists" not in outcome.err:
        raise EngineError(f"creating the network {name} failed: {outcome.text}")


def _directory(execution: Execution, path: str) -> None:
    _files.make_directory(execution.service, path)
    if execution.service.instance in path:  # of this instance alone: it goes when the instance fails
        execution.undo.append(lambda: shutil.rmtree(path, ignore_errors=True))


def _secrets(execution: Execution, _target: str) -> None:
    service = execution.service
    os.makedirs(f"{service.directory}/secrets", mode=0o700, exist_ok=True)
    os.chmod(f"{service.directory}/secrets", 0o700)
    _files.write_version(service.secrets_directory, service.secrets, service)


def _commit(execution: Execution, _target: str) -> None:
    """The new container serves: what fails from here on is no reason to go back."""
    execution.undo.clear()
    execution.committed = True


def _config(execution: Execution, _target: str) -> None:
    _files.write_version(execution.service.config_directory, execution.service.config_texts, execution.service)
    os.chmod(execution.service.config_root, 0o755)  # noqa: S103 - the umask of a hardened host would keep the service out of its own mount


def _validate(execution: Execution, _target: str) -> None:
    service = execution.service
    name = f"{service.project}-{service.name}-validate"
    for validation in service.validate:
        run(["docker", "rm", "--force", name])
        outcome = run(argv_of.validate(service, validation, name), timeout=VALIDATION_TIMEOUT)
        if outcome.rc == 124:
            run(["docker", "rm", "--force", name])
        if outcome.rc != 0:
            raise EngineError(
                f"{service.name} refuses its new configuration (`{validation.command[0]}` in {service.image} said so):\n{outcome.text}"
            )


def _check_ports(execution: Execution, _target: str) -> None:
    """Docker notices a taken port only when the new container starts, and the old one would have been stopped by then."""
    service = execution.service
    held = {port for item in execution.actual.containers for port in item.ports}
    everywhere = ("", "0.0.0.0", "::")  # noqa: S104 (compared with, not bound)
    for port in service.ports:
        if any(number == port.port and (address == port.address or {address, port.address} & {*everywhere}) for address, number in held):
            continue  # our own: it is given up before the new container starts
        family = socket.AF_INET6 if ":" in port.address else socket.AF_INET
        kind = socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((port.address, port.port))
            except OSError as error:
                if error.errno == errno.EADDRNOTAVAIL:
                    raise EngineError(f"{port.address} is not an address of this host: check berth_address.") from None
                raise EngineError(
                    f"port {port.port} on {port.address} is taken by {_port_holder(port.port)}: "
                    f"free it, or choose another port for {service.name}."
                ) from None


def _port_holder(port: int) -> str:
    for found in inspect_all():
        if found["State"].get("Running") and port in [number for _address, number in as_container(found).ports]:
            return f"the container {name_of(found)}"
    return "another process of this host"


def _create(execution: Execution, name: str) -> None:
    service = execution.service
    must(argv_of.create(service), f"creating the container {name}")
    execution.undo.append(lambda: _remove_container(name))
    for network in service.networks[1:]:
        must(argv_of.connect(network.name, network.aliases, name), f"connecting {name} to {network.name}")


def _remove_container(name: str) -> None:
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
            raise EngineError(f"{name} was started again and is not healthy yet. The end of its log:\n{_log(name)}")
        time.sleep(0.3)


def _point_config(execution: Execution, _target: str) -> None:
    service = execution.service
    link, before = f"{service.config_root}/current", execution.actual.config_current
    if before != service.generation:
        _files.point(link, service.generation)
        execution.undo.append(lambda: _files.point(link, before))


def _start(execution: Execution, name: str) -> None:
    execution.undo.append(lambda: _stop_failed(name))
    must(["docker", "start", name], f"starting the container {name}")


def _stop_failed(name: str) -> None:
    """It may hold the ports that the old one needs back."""
    must(argv_of.stop(name, 5), f"stopping the container {name}")


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
            raise EngineError(f"the container {name} {why}. Its health check said: {said}\nThe end of its own log:\n{_log(name)}")
        time.sleep(0.3)


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
        f"It answered:\n{outcome.text}\nThe end of its own log:\n{_log(name)}"
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


def _switch(execution: Execution, _target: str) -> None:
    for item in execution.service.switch:
        before = execution.actual.links.get(item.link, "")
        if before == item.target:
            continue
        _files.point(item.link, item.target)
        execution.undo.append(lambda link=item.link, target=before: _files.point(link, target))  # type: ignore[misc]


def _switch_back(execution: Execution, _target: str) -> None:
    """Where the links pointed when the release began."""
    under_way = execution.actual.under_way
    for link, target in (under_way.links if under_way else {}).items():
        _files.point(link, target)


def _bake(execution: Execution, name: str) -> None:
    _stay_healthy(execution, name, execution.service.release.bake if execution.service.release else 0)


def _watch(execution: Execution, name: str) -> None:
    _stay_healthy(execution, name, execution.service.release.pause if execution.service.release else 0)


def _stay_healthy(execution: Execution, name: str, seconds: int) -> None:
    """Healthy once is not healthy: some crash when the first requests arrive, or when their first task is due."""
    health = execution.service.health
    deadline = time.monotonic() + seconds
    started = ""
    while True:
        state = (inspect_one(name) or {}).get("State") or {}
        started = started or state.get("StartedAt", "")
        if not state.get("Running") or state.get("StartedAt") != started:
            why = f"ended with code {state.get('ExitCode')}"
        else:
            outcome = run(argv_of.exec_in(name, health.command), timeout=health.timeout + 1)
            why = "" if outcome.rc == 0 else f"is no longer healthy: {outcome.text or f'exit code {outcome.rc}'}"
        if why:
            raise EngineError(f"the container {name} was healthy and then {why}\nThe end of its own log:\n{_log(name)}")
        if time.monotonic() > deadline:
            return
        time.sleep(0.5)


def _remove(execution: Execution, name: str) -> None:
    service = execution.service
    _remove_container(name)
    old = _instance_of(execution, name)
    if old and old != service.instance:
        _remove_directories(service, old)


def _discard(execution: Execution, name: str) -> None:
    """A new instance that is taken back: what it was given goes with it."""
    _remove_container(name)
    _remove_directories(execution.service, _instance_of(execution, name))


def _instance_of(execution: Execution, name: str) -> str:
    return next((item.instance for item in execution.actual.containers if name in (item.name, aside_name(item.name))), "")


def _remove_directories(service: Service, instance: str) -> None:
    for item in service.directories:  # directories of one instance go with it
        if instance and service.instance in item.path:
            shutil.rmtree(item.path.replace(service.instance, instance), ignore_errors=True)


def _begin(execution: Execution, _target: str) -> None:
    _release_files.begin(execution.service, {item.link: execution.actual.links.get(item.link, "") for item in execution.service.switch})
    execution.undo.append(lambda: _release_files.conclude(execution.service))


def _conclude(execution: Execution, _target: str) -> None:
    _release_files.conclude(execution.service)


def _record(execution: Execution, outcome: str) -> None:
    if execution.service.release:
        _release_files.record(execution.service, execution.service.release, execution.by, outcome)


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


_STEPS: dict[str, t.Callable[[Execution, str], None]] = {
    "pull": _pull,
    "network": _network,
    "directory": _directory,
    "secrets": _secrets,
    "config": _config,
    "validate": _validate,
    "check_ports": _check_ports,
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
    "switch": _switch,
    "switch_back": _switch_back,
    "bake": _bake,
    "watch": _watch,
    "discard": _discard,
    "begin": _begin,
    "conclude": _conclude,
    "record": _record,
    "prune_directory": _prune_directory,
    "prune_image": _prune_image,
    "remove": _remove,
    "forget": _forget,
    "unlink": _unlink,
}
