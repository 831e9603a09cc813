# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Docker command lines as lists of strings. Pure: every function returns one command, none runs it.

``--mount`` throughout, never ``-v``: with ``-v`` a vanished source becomes an empty directory of root's, and the container starts
without its secrets.
"""

from __future__ import annotations

import json
import shlex
import typing as t

from ansible_collections.berth.django.plugins.module_utils._spec import Mount, Service, Validation, create_spec

# Registry credentials of the fleet, written by the `host` role, apart from whatever root has in ~/.docker.
DOCKER_CONFIG = "/etc/berth/docker"

# Seconds between asking a command to end and killing it.
KILL_AFTER = 5

LABEL_PROJECT = "berth.project"
LABEL_SERVICE = "berth.service"
LABEL_FLEET = "berth.fleet"
LABEL_INSTANCE = "berth.instance"
LABEL_SPEC = "berth.spec"
LABEL_THROWAWAY = "berth.throwaway"
# On a companion: whose it is, and where its files are, for when nothing else says it any more.
LABEL_COMPANION_OF = "berth.companion-of"
LABEL_DIRECTORY = "berth.directory"


def option(name: str, value: t.Any) -> list[str]:
    """``--name value``, or nothing for an empty value."""
    return [f"--{name}", str(value)] if value not in ("", None) else []


def each(name: str, values: t.Iterable[t.Any]) -> list[str]:
    return [word for value in values for word in (f"--{name}", str(value))]


def pairs(name: str, values: dict[str, str], joint: str = "=") -> list[str]:
    return each(name, (f"{key}{joint}{value}" for key, value in sorted(values.items())))


def mount(item: Mount) -> str:
    return f"type=bind,source={item.source},target={item.target}" + (",readonly" if item.read_only else "")


def _own_mounts(service: Service, pinned: bool) -> list[Mount]:
    """The service's own secrets and config.

    A service that reloads gets the parent directory, so that renaming `current` shows it the new version. A pinned one (a throw-away
    container, or a service that is replaced for every change) gets one version, at the very same path.
    """
    mounts = [Mount(service.secrets_directory, service.secrets_path)] if service.secrets else []
    if service.config:
        mounts.append(
            Mount(service.config_directory, f"{service.config.path}/current") if pinned else Mount(service.config_root, service.config.path)
        )
    return mounts


def _sandbox(service: Service, pinned: bool) -> list[str]:
    """What a long-running container and a throw-away one of the same service have in common."""
    return [
        *option("user", service.user),
        *each("group-add", service.group_add),
        "--cap-drop=ALL",
        *each("cap-add", service.capabilities),
        *(["--security-opt", "no-new-privileges"] if service.no_new_privileges else []),
        *(["--read-only"] if service.read_only else []),
        *option("memory", service.memory),
        *option("cpus", service.cpus),
        *option("pids-limit", service.pids_limit),
        *option("shm-size", service.shm_size),
        *pairs("ulimit", service.ulimits),
        *pairs("sysctl", service.sysctls),
        *pairs("add-host", service.extra_hosts, ":"),
        *(["--init"] if service.init else []),
        *pairs("env", service.env),
        *option("env", f"BERTH_INSTANCE={service.instance}"),
        *each("mount", map(mount, _own_mounts(service, pinned))),
    ]


def _entry(service: Service) -> tuple[list[str], list[str]]:
    """Docker takes one word as the entry point; the rest of ours goes in front of the command."""
    if not service.entrypoint:
        return [], []
    return ["--entrypoint", service.entrypoint[0]], list(service.entrypoint[1:])


def _network(service: Service, aliases: bool) -> list[str]:
    """The first network only; Docker before 25 refuses several at creation, the rest are connected afterwards."""
    if service.host_network:
        return ["--network", "host"]
    if not service.networks:
        return ["--network", "none"]
    first = service.networks[0]
    return ["--network", first.name, *(each("network-alias", first.aliases) if aliases else [])]


def create(service: Service) -> list[str]:
    """Makes the container of `service`, not started."""
    entrypoint, words = _entry(service)
    labels = {
        LABEL_PROJECT: service.project,
        LABEL_SERVICE: service.name,
        LABEL_FLEET: service.fleet,
        LABEL_INSTANCE: service.instance,
        LABEL_SPEC: json.dumps(create_spec(service), sort_keys=True),
        **service.labels,
    }
    health = service.health
    return [
        "docker", "create",
        "--name", service.container,
        *pairs("label", labels),
        *option("restart", service.restart),
        *option("stop-signal", service.stop_signal),
        *option("stop-timeout", service.stop_grace),
        *option("log-driver", service.log_driver),
        *pairs("log-opt", service.log_options),
        *option("workdir", service.workdir),
        *_network(service, aliases=True),
        *each("publish", (_publish(port.address, port.port, port.container_port, port.protocol) for port in service.ports)),
        "--health-cmd", shlex.join(health.command),
        "--health-interval", f"{health.interval}s",
        "--health-timeout", f"{health.timeout}s",
        "--health-retries", str(health.retries),
        "--health-start-period", f"{health.start_period}s",
        *_sandbox(service, pinned=service.reload is None),
        *each("mount", map(mount, service.mounts)),
        *pairs("tmpfs", service.tmpfs, ":"),
        *entrypoint, service.image, *words, *service.command,
    ]  # fmt: skip


def _publish(address: str, port: int, container_port: int, protocol: str) -> str:
    host = f"[{address}]" if ":" in address else address
    return f"{host}:{port}:{container_port}/{protocol}"


def _throw_away(service: Service, name: str) -> list[str]:
    return [
        "docker", "run", "--rm", "--interactive", "--no-healthcheck",
        "--name", name,
        *pairs("label", {LABEL_THROWAWAY: f"{service.project}-{service.name}"}),
        *_network(service, aliases=False),
        *_sandbox(service, pinned=True),
    ]  # fmt: skip


def validate(service: Service, validation: Validation, name: str) -> list[str]:
    """Asks the product about the candidate, where the live config will be, without the service's run or data directories."""
    command = validation.command
    return [
        *_throw_away(service, name),
        *pairs("env", validation.env),
        *each("mount", (mount(Mount(item.source, item.target)) for item in validation.mounts)),
        *pairs("tmpfs", {**service.tmpfs, **validation.tmpfs}, ":"),
        "--entrypoint", command[0], service.image, *command[1:],
    ]  # fmt: skip


def one_off(service: Service, argv: t.Sequence[str], writable: t.Container[str] = (), name: str = "", workdir: str = "") -> list[str]:
    """Runs `argv` through the service's own entry point in a container of its own, removed afterwards.

    Mounts whose target is in `writable` are mounted read-write whatever the spec says (collectstatic fills what the workers only read).
    """
    entrypoint, words = _entry(service)
    mounts = (Mount(item.source, item.target, item.read_only and item.target not in writable) for item in service.mounts)
    return [
        *_throw_away(service, name or f"{service.project}-{service.name}-run-{service.instance}"),
        *option("workdir", workdir),
        *each("mount", map(mount, mounts)),
        *pairs("tmpfs", service.tmpfs, ":"),
        *entrypoint, service.image, *words, *argv,
    ]  # fmt: skip


def exec_in(container: str, argv: t.Sequence[str], user: str | None = None, interactive: bool = False, workdir: str = "") -> list[str]:
    words = [*option("user", user), *option("workdir", workdir), *(["--interactive"] if interactive else [])]
    return ["docker", "exec", *words, container, *argv]


def create_bare(image: str, name: str) -> list[str]:
    """A container that is never started: the files of an image, to be copied. `true` is there for images without a command."""
    return ["docker", "create", "--name", name, "--network", "none", *pairs("label", {LABEL_THROWAWAY: name}), image, "true"]


def copy_out(container: str, path: str, directory: str) -> list[str]:
    """What is in `path` of a container, into a directory of the host that is there. The files become root's."""
    return ["docker", "cp", f"{container}:{path.rstrip('/')}/.", directory]


def limited(argv: t.Sequence[str], seconds: int) -> list[str]:
    """Ends `argv` and what it started after `seconds`, with exit code 124; what ignores that is killed. GNU and BusyBox agree."""
    return ["timeout", "-k", str(KILL_AFTER), str(seconds), *argv]


def connect(network: str, aliases: t.Iterable[str], container: str) -> list[str]:
    return ["docker", "network", "connect", *each("alias", aliases), network, container]


def create_network(name: str, project: str) -> list[str]:
    return ["docker", "network", "create", *pairs("label", {LABEL_PROJECT: project}), name]


def pull(image: str, with_config: bool) -> list[str]:
    return ["docker", *(["--config", DOCKER_CONFIG] if with_config else []), "pull", "--quiet", image]


def stop(container: str, grace: int) -> list[str]:
    return ["docker", "stop", "-t", str(grace), container]


def logs(container: str, lines: int) -> list[str]:
    return ["docker", "logs", "--tail", str(lines), container]
