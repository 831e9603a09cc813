# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""What is there on the host, and questions to products that run. Nothing here changes anything, but for a probe that is a signal."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import socket
import typing as t
from pathlib import Path

from ansible_collections.berth.django.plugins.module_utils import _docker_argv as argv_of
from ansible_collections.berth.django.plugins.module_utils import _files, _release_files
from ansible_collections.berth.django.plugins.module_utils._plan import Actual, Companion, Container
from ansible_collections.berth.django.plugins.module_utils._shell import EngineError, Outcome, docker_present, must, run, wait_for_engine
from ansible_collections.berth.django.plugins.module_utils._spec import Probe, Service


def inspect_all(timeout: float | None = None) -> list[dict[str, t.Any]]:
    ids = must(["docker", "ps", "--all", "--quiet", "--no-trunc"], "listing containers", timeout).split()
    if not ids:
        return []
    outcome = run(["docker", "inspect", "--type", "container", *ids], timeout=timeout)
    # A container that vanished in between makes the command fail and still print the others.
    if outcome.rc != 0 and "no such" not in outcome.err.lower():
        raise EngineError(f"inspecting containers failed: {outcome.err.strip()}")
    return json.loads(outcome.out or "[]")


def inspect_one(name: str) -> dict[str, t.Any] | None:
    outcome = run(["docker", "inspect", "--type", "container", name])
    if outcome.rc != 0 and "no such" not in outcome.err.lower():
        raise EngineError(f"inspecting the container {name} failed: {outcome.text}")
    return json.loads(outcome.out)[0] if outcome.rc == 0 else None


def image_id(image: str) -> str:
    """What the reference stands for on this host; empty when it has no such image."""
    outcome = run(["docker", "image", "inspect", "--format", "{{.Id}}", image])
    return outcome.out.strip() if outcome.rc == 0 else ""


def image_present(image: str) -> bool:
    return bool(image_id(image))


def labels_of(container: dict[str, t.Any]) -> dict[str, str]:
    return container["Config"].get("Labels") or {}


def name_of(container: dict[str, t.Any]) -> str:
    return container["Name"].lstrip("/")


def is_ours(container: dict[str, t.Any], service: Service) -> bool:
    labels = labels_of(container)
    return labels.get(argv_of.LABEL_PROJECT) == service.project and labels.get(argv_of.LABEL_SERVICE) == service.name


def as_container(found: dict[str, t.Any]) -> Container:
    labels = labels_of(found)
    state = found["State"]
    bindings = (found.get("HostConfig") or {}).get("PortBindings") or {}
    return Container(
        name=name_of(found),
        instance=labels.get(argv_of.LABEL_INSTANCE, ""),
        # One that crashes again and again is "running" to the engine in between; it serves nobody, and no reload can reach it.
        running=bool(state.get("Running")) and not state.get("Paused") and not state.get("Restarting"),
        healthy=(state.get("Health") or {}).get("Status") == "healthy",
        spec=labels.get(argv_of.LABEL_SPEC, "{}"),
        ports=tuple(
            (item.get("HostIp", ""), int(item["HostPort"]))
            for items in bindings.values()
            for item in items or ()
            if state.get("Running") and item.get("HostPort", "").isdigit()
        ),
    )


def _refuse_strangers(service: Service, found: t.Iterable[dict[str, t.Any]]) -> None:
    for container in found:
        labels = labels_of(container)
        if labels.get(argv_of.LABEL_PROJECT) == service.project and labels.get(argv_of.LABEL_FLEET) != service.fleet:
            raise EngineError(
                f"project {service.project} on this host belongs to the fleet {labels.get(argv_of.LABEL_FLEET)!r} "
                f"(container {name_of(container)}), this inventory is the fleet {service.fleet!r}: "
                "give one of the two another berth_project."
            )
        neighbour = service.host_network and container["State"].get("Running") and labels.get(argv_of.LABEL_SERVICE) == service.name
        if neighbour and labels.get(argv_of.LABEL_PROJECT) != service.project:
            raise EngineError(
                f"{name_of(container)} uses this host's network already, and would share its ports with {service.name} of "
                f"{service.project} without an error: give the two projects hosts of their own."
            )
        if name_of(container) == service.container and not is_ours(container, service):
            raise EngineError(f"a container named {service.container} exists on this host and is not ours: rename or remove it.")


def _neighbours(service: Service, found: t.Iterable[dict[str, t.Any]]) -> tuple[str, ...]:
    """The project's other services on this host."""
    of_project = (item for item in map(labels_of, found) if item.get(argv_of.LABEL_PROJECT) == service.project)
    return tuple(sorted({item.get(argv_of.LABEL_SERVICE, "") for item in of_project} - {service.name}))


def _companions(service: Service, found: t.Iterable[dict[str, t.Any]]) -> tuple[Companion, ...]:
    """Those that have a container here, wanted or not."""
    return tuple(
        Companion(labels[argv_of.LABEL_SERVICE], labels[argv_of.LABEL_DIRECTORY], json.loads(labels[argv_of.LABEL_SPEC])["stop_grace"])
        for labels in map(labels_of, found)
        if (labels.get(argv_of.LABEL_PROJECT), labels.get(argv_of.LABEL_COMPANION_OF)) == (service.project, service.name)
    )


@dataclasses.dataclass(frozen=True)
class Engine:
    """What an engine has: asked once, it will do for all services of the host."""

    containers: list[dict[str, t.Any]]
    networks: frozenset[str]


def ask_engine(check_mode: bool = False) -> Engine | None:
    """Nothing where there is none. In check mode, one that does not answer is not there yet."""
    if not docker_present():
        return None
    with contextlib.suppress(EngineError):  # most do: whether it does is asked only of one that did not
        return _ask_engine(timeout=20)
    try:
        wait_for_engine(0 if check_mode else 30)
    except EngineError:
        if not check_mode:
            raise
        return None
    return _ask_engine()


def _ask_engine(timeout: float | None = None) -> Engine:
    networks = must(["docker", "network", "ls", "--format", "{{.Name}}"], "listing networks", timeout).split()
    return Engine(inspect_all(timeout), frozenset(networks))


def observe(service: Service, check_mode: bool = False) -> Actual:
    """What is on this host for `service`. Reads only."""
    return observe_on(ask_engine(check_mode), service)


def observe_on(engine: Engine | None, service: Service) -> Actual:
    """The same, by what the engine has said before."""
    missing = tuple(item.path for item in service.directories if not os.path.isdir(item.path))
    files = Actual(
        unmounted=_unmounted(service),
        missing_directories=missing,
        config_files=_files.read_files(f"{service.config_root}/current") if service.reload else {},
        config_current=_files.link_target(f"{service.config_root}/current") if service.reload else "",
        config_staged=_files.version_matches(service.config_directory, service.config_texts, service) if service.config else False,
        has_versions=Path(service.config_root).is_dir() or Path(f"{service.directory}/secrets").is_dir(),
        secrets_staged=_files.version_matches(service.secrets_directory, service.secrets, service) if service.secrets else False,
        links={item.link: _files.link_target(item.link) for item in service.switch},
        previous=tuple(item.previous for item in service.switch if item.previous and os.path.islink(item.previous)),
        withdrawn=bool(service.before_stop.withdraw) and not os.path.exists(service.before_stop.withdraw),
        **(_release_files.read(service, service.release) if service.release else {}),
    )
    if engine is None:
        return files
    found = engine.containers
    _refuse_strangers(service, found)
    containers = tuple(as_container(item) for item in found if is_ours(item, service))
    keeper = next((item for item in containers if item.running and item.instance == service.instance), None)
    if not service.reload:
        files = dataclasses.replace(files, config_files=_pinned_files(service, keeper or next(iter(containers), None)))
    return dataclasses.replace(
        files,
        engine=True,
        containers=containers,
        neighbours=_neighbours(service, found),
        companions=_companions(service, found),
        image_present=image_present(service.image),
        networks=engine.networks,
        release_images=_release_files.images(service) if service.release and service.release.directory else (),
        loaded=bool(keeper and service.proof and proven(service.proof, keeper.name, service.generation)),
        restart_pending=bool(keeper and service.restart_when and ask(service.restart_when, keeper.name).out.strip()),
    )


def _unmounted(service: Service) -> tuple[str, ...]:
    """What the hosts share, and is on the file system where this host keeps what is its own."""
    if not service.shared:
        return ()
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    own = ("/", mount_point(os.path.realpath(service.directory), points))
    # Links are followed only where a path seems to be on the host's own disk: a network file system that is away would not answer.
    local = (path for path in service.shared if mount_point(os.path.normpath(path), points) in own)
    return tuple(path for path in local if mount_point(os.path.realpath(path), points) in own)


def mount_point(path: str, points: t.Sequence[str]) -> str:
    """The one of these mount points that a path is below. mountinfo writes a space as \\040."""
    found = (point for point in (each.replace(r"\040", " ") for each in points) if f"{path}/".startswith(f"{point.rstrip('/')}/"))
    return max(found, key=len)


def _pinned_files(service: Service, container: Container | None) -> dict[str, str]:
    """The config of a container that is replaced for every change: the version that its own spec names."""
    generation = json.loads(container.spec).get("generation", "") if container else ""
    return _files.read_files(f"{service.config_root}/{generation}") if generation else {}


def ask(probe: Probe, container: str) -> Outcome:
    """Puts one question to the running product; never raises when it does not answer."""
    if probe.signal:
        return _signal(container, probe.signal)
    if probe.command:
        return run(argv_of.exec_in(container, probe.command), timeout=60)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(30)
            connection.connect(probe.socket)
            connection.sendall(probe.send.encode())
            answer = b""
            while part := connection.recv(65536):
                answer += part
    except OSError as error:
        return Outcome((probe.socket,), 1, "", f"{probe.socket}: {error}")
    return Outcome((probe.socket,), 0, answer.decode(errors="replace"), "")


def _signal(container: str, name: str) -> Outcome:
    """Signals the first process of a container from the host.

    `docker kill --signal` would do it, too, and would make the engine believe that somebody stopped the container by hand: it is not
    restarted any more when it crashes later (moby#41302).
    """
    found = inspect_one(container)
    pid = found["State"]["Pid"] if found else 0
    if not pid:
        return Outcome(("kill", name), 1, "", f"the container {container} does not run")
    os.kill(pid, signal.Signals[f"SIG{name.removeprefix('SIG')}"])
    return Outcome(("kill", f"-{name}", str(pid)), 0, "", "")


def answers(probe: Probe, container: str) -> Outcome:
    """Like :func:`ask`, with the probe's own expectations applied to the return code."""
    outcome = ask(probe, container)
    refused = probe.reject and re.search(probe.reject, outcome.out)
    missed = probe.expect and not re.search(probe.expect, outcome.out)
    return dataclasses.replace(outcome, rc=1) if refused or missed else outcome


def proven(probe: Probe, container: str, generation: str) -> bool:
    outcome = answers(probe, container)
    return outcome.rc == 0 and generation in outcome.out
