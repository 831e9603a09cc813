# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Steps that bring to the host what a container needs, and have it checked. Nothing that runs is touched."""

from __future__ import annotations

import errno
import os
import shutil
import socket

from ansible_collections.berth.django.plugins.module_utils import _docker_argv as argv_of
from ansible_collections.berth.django.plugins.module_utils import _files
from ansible_collections.berth.django.plugins.module_utils._execution import Execution, Step
from ansible_collections.berth.django.plugins.module_utils._observe import as_container, image_present, inspect_all, name_of
from ansible_collections.berth.django.plugins.module_utils._shell import EngineError, run

VALIDATION_TIMEOUT = 120
PULL_TIMEOUT = 900


def _refuse_unmounted(execution: Execution, path: str) -> None:
    raise EngineError(
        f"{path} is to be shared by the hosts of {execution.service.name}, and is on a disk of this host: no other one would have what is "
        "stored there. Mount what they share, and run again."
    )


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


STEPS: dict[str, Step] = {
    "refuse_unmounted": _refuse_unmounted,
    "pull": _pull,
    "network": _network,
    "directory": _directory,
    "secrets": _secrets,
    "config": _config,
    "validate": _validate,
    "check_ports": _check_ports,
}
