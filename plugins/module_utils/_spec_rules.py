# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""What a service must not be. Each rule raises ``ValueError`` with one sentence that names the key and the way out. Pure: no I/O."""

from __future__ import annotations

import ipaddress
import posixpath
import re
import typing as t

from ansible_collections.berth.django.plugins.module_utils._spec import Mount, Port, Service


def check_identity(given: dict[str, t.Any]) -> None:
    for key in ("project", "name"):
        if not re.fullmatch(r"[a-z][a-z0-9_-]{1,29}", given.get(key) or ""):
            raise ValueError(
                f"service.{key} is {given.get(key)!r}: use 2 to 30 lower-case letters, digits, hyphens or underscores, a letter first."
            )
    if not re.fullmatch(r"[1-9]\d*:[1-9]\d*", given.get("user") or ""):
        raise ValueError(f"service.user is {given.get('user')!r}: give a numeric uid:gid other than 0, for example 10001:10001.")
    if not given.get("health") or not given["health"].get("command"):
        raise ValueError("service.health.command is missing: a service without a health check cannot be told to be healthy.")
    if not str(given.get("directory", "")).startswith("/"):
        raise ValueError(f"service.directory is {given.get('directory')!r}: give an absolute path on the host.")


def check(service: Service, public: list[bool]) -> None:
    for port, is_public in zip(service.ports, public):
        _check_port(port, is_public)
    if service.host_network and (service.networks or service.ports or service.sysctls):
        raise ValueError("service.host_network excludes networks, ports and sysctls: the container has none of its own then.")
    if service.beside and service.ports:
        raise ValueError(
            "service.replace is beside, but two containers cannot publish one port: use host_network, a socket, or stop_first."
        )
    if service.release and not (service.beside and service.switch):
        raise ValueError("service.release needs service.replace: beside and service.switch: a release starts beside the one that serves.")
    if service.release and service.release.keep < 2:
        raise ValueError(f"service.release.keep is {service.release.keep}: at least 2, the one that serves and the one to go back to.")
    for item in service.switch:
        if item.previous and posixpath.dirname(item.previous) != posixpath.dirname(item.link):
            raise ValueError(f"service.switch has {item.previous!r} beside {item.link!r}: they have to be in one directory.")
    if service.reload and not service.proof:
        raise ValueError("service.reload needs service.proof: a reload that nobody proves may have kept the old configuration.")
    if service.reload and not service.config:
        raise ValueError("service.reload without service.config has nothing to reload.")
    for probe, key in ((service.reload, "reload"), (service.proof, "proof"), (service.before_stop.drained, "before_stop.drained")):
        if probe and sum(1 for way in (probe.command, probe.socket, probe.signal) if way) != 1:
            raise ValueError(f"service.{key} needs exactly one of command, socket{' and signal' if key == 'reload' else ''}.")
    for name in service.config.files if service.config else ():
        if name.startswith("/") or ".." in name.split("/"):
            raise ValueError(f"service.config.files has {name!r}: names are relative and stay inside the directory.")
    for name, value in service.env.items():
        if not name or "=" in name or "\0" in name + value:
            raise ValueError(f"service.env has {name!r}: neither a name with = nor a NUL can be in an environment.")
    for name in service.secrets:
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or name in (".", ".."):
            raise ValueError(f"service.secrets has {name!r}: use letters, digits, dots, hyphens and underscores.")
    for key, size in (("memory", service.memory), ("shm_size", service.shm_size)):
        if size and not re.fullmatch(r"\d+[bkmg]?", size.lower()):
            raise ValueError(f"service.{key} is {size!r}: give a number of bytes with a unit, for example 256m.")
    for mount in service.mounts + tuple(item for check in service.validate for item in check.mounts):
        _check_mount(mount)


def _check_port(port: Port, public: bool) -> None:
    try:
        address = ipaddress.ip_address(port.address)
    except ValueError:
        raise ValueError(f"service.ports: {port.address!r} is not an IP address of this host.") from None
    if address.is_unspecified and not public:
        raise ValueError(
            f"service.ports publishes {port.port} on {port.address}, every address of the host and past its firewall: "
            "name one address, or say public: true."
        )


def _check_mount(mount: Mount) -> None:
    for path in (mount.source, mount.target):
        if not path.startswith("/") or "," in path:
            raise ValueError(f"service.mounts has {path!r}: give an absolute path without commas.")
    if mount.source == "/" or mount.source.endswith("docker.sock"):
        raise ValueError(f"service.mounts has {mount.source}: that would give the container the whole host.")
