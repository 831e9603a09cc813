# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""What a service is: the dict of a role as a value, its rules and its hashes.

Pure: no I/O, no Ansible. :func:`parse` takes the ``service`` option of ``container_service`` (types already coerced by
:data:`SERVICE_ARGUMENT_SPEC`) and returns a :class:`Service`, or raises ``ValueError`` with one sentence for the operator.
"""

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress
import json
import re
import typing as t
from dataclasses import dataclass, field

from ansible_collections.berth.django.plugins.module_utils._service_options import SERVICE_ARGUMENT_SPEC

__all__ = ["SERVICE_ARGUMENT_SPEC", "Service", "create_spec", "digest", "parse"]

# Part of every instance id: raise it when the same spec leads to another `docker create` than before.
FORMAT = 1
GENERATION_TOKEN = "@GENERATION@"  # noqa: S105 (a marker in templates, not a password)
INSTANCE_TOKEN = "{instance}"  # noqa: S105


@dataclass(frozen=True)
class Config:
    """Text files of one service; `path` is where their parent directory is mounted in the container."""

    files: dict[str, str]
    path: str = "/etc/berth"


@dataclass(frozen=True)
class Mount:
    source: str
    target: str
    read_only: bool = True


@dataclass(frozen=True)
class Directory:
    path: str
    mode: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Network:
    name: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Port:
    address: str
    port: int
    container_port: int
    protocol: str = "tcp"


@dataclass(frozen=True)
class Health:
    """Seconds throughout. `wait` is how long a start may take until the first success."""

    command: tuple[str, ...]
    interval: int = 10
    timeout: int = 5
    retries: int = 3
    start_period: int = 30
    wait: int = 60


@dataclass(frozen=True)
class Probe:
    """A question to the running product: a command in its container, or an exchange over a unix socket of the host."""

    command: tuple[str, ...] = ()
    socket: str = ""
    send: str = ""
    expect: str = ""
    reject: str = ""
    signal: str = ""


@dataclass(frozen=True)
class Validation:
    command: tuple[str, ...]
    mounts: tuple[Mount, ...] = ()
    tmpfs: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Link:
    """A relative symbolic link on the host that is renamed into place: the switch of a release."""

    link: str
    target: str


@dataclass(frozen=True)
class Release:
    """What a service with releases remembers of them. `bake` and `pause` are seconds, `batch` is a number of hosts."""

    id: str
    directory: str
    keep: int = 5
    bake: int = 0
    batch: int = 1
    pause: int = 0


@dataclass(frozen=True)
class BeforeStop:
    withdraw: str = ""
    settle: int = 0
    drained: Probe | None = None
    timeout: int = 60


@dataclass(frozen=True)
class Service:
    """One service on one host. Field names are the keys of the ``service`` option; see its documentation."""

    project: str
    name: str
    fleet: str
    image: str
    user: str
    directory: str
    health: Health
    memory: str
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    secrets_path: str = "/run/secrets"
    config: Config | None = None
    directories: tuple[Directory, ...] = ()
    mounts: tuple[Mount, ...] = ()
    tmpfs: dict[str, str] = field(default_factory=dict)
    networks: tuple[Network, ...] = ()
    host_network: bool = False
    ports: tuple[Port, ...] = ()
    cpus: str = ""
    pids_limit: int = 200
    capabilities: tuple[str, ...] = ()
    read_only: bool = True
    no_new_privileges: bool = True
    stop_signal: str = ""
    stop_grace: int = 30
    group_add: tuple[str, ...] = ()
    shm_size: str = ""
    ulimits: dict[str, str] = field(default_factory=dict)
    sysctls: dict[str, str] = field(default_factory=dict)
    extra_hosts: dict[str, str] = field(default_factory=dict)
    init: bool = False
    log_driver: str = ""
    log_options: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    restart: str = "unless-stopped"
    validate: tuple[Validation, ...] = ()
    reload: Probe | None = None
    proof: Probe | None = None
    restart_when: Probe | None = None
    replace: str = "stop_first"
    switch: tuple[Link, ...] = ()
    release: Release | None = None
    before_stop: BeforeStop = BeforeStop()
    instance: str = ""

    @property
    def uid(self) -> int:
        return int(self.user.split(":")[0])

    @property
    def gid(self) -> int:
        return int(self.user.split(":")[1])

    @property
    def beside(self) -> bool:
        return self.replace == "beside"

    @property
    def container(self) -> str:
        """The name of the container that this spec becomes."""
        stem = f"{self.project}-{self.name}"
        return f"{stem}-{self.instance}" if self.beside else stem

    @property
    def generation(self) -> str:
        """The hash of the config files and their owner: name of their directory, and what the running product is asked for."""
        return digest([self.config.files, self.user]) if self.config else ""

    @property
    def config_texts(self) -> dict[str, str]:
        """The files as they are written: each knows its own generation, so that the running product can be asked for it."""
        files = self.config.files if self.config else {}
        return {name: text.replace(GENERATION_TOKEN, self.generation) for name, text in files.items()}

    @property
    def secrets_version(self) -> str:
        return digest([self.secrets, self.user]) if self.secrets else ""

    @property
    def config_root(self) -> str:
        return f"{self.directory}/config"

    @property
    def config_directory(self) -> str:
        return f"{self.config_root}/{self.generation}"

    @property
    def secrets_directory(self) -> str:
        return f"{self.directory}/secrets/{self.secrets_version}"


def digest(value: t.Any) -> str:
    """Twelve hex digits (48 bits) of a JSON value: enough to tell versions of one service apart, short enough to read."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


# What decides whether a running container must be replaced. The rest (config files behind a reload, validators, how to wait,
# how to drain) can change without touching it.
_NOT_IN_THE_CONTAINER = frozenset(
    (
        "secrets",
        "config",
        "directories",
        "validate",
        "reload",
        "proof",
        "restart_when",
        "replace",
        "switch",
        "release",
        "before_stop",
        "instance",
    )
)


def create_spec(service: Service) -> dict[str, t.Any]:
    """The part of a spec that `docker create` sees, without secret values: kept as a label, hashed, shown in diffs."""
    values = {item.name: getattr(service, item.name) for item in dataclasses.fields(service) if item.name not in _NOT_IN_THE_CONTAINER}
    spec: dict[str, t.Any] = json.loads(json.dumps(values, default=dataclasses.asdict))
    del spec["health"]["wait"]
    spec["format"] = FORMAT
    spec["secrets"] = service.secrets_version
    spec["config"] = service.config.path if service.config else ""
    if service.config and not service.reload:
        spec["generation"] = service.generation
    return {key: value for key, value in spec.items() if value not in ("", [], {}, None)}


def _replace_instance(value: t.Any, instance: str) -> t.Any:
    """Puts the instance id in the place of ``{instance}`` in every string of a nested value."""
    if isinstance(value, str):
        return value.replace(INSTANCE_TOKEN, instance)
    if isinstance(value, tuple):
        return tuple(_replace_instance(item, instance) for item in value)
    if isinstance(value, dict):
        return {key: _replace_instance(item, instance) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(
            value, **{item.name: _replace_instance(getattr(value, item.name), instance) for item in dataclasses.fields(value)}
        )
    return value


def _strings(values: dict[str, t.Any] | None) -> dict[str, str]:
    return {str(key): value if isinstance(value, str) else json.dumps(value) for key, value in (values or {}).items()}


def _probe(values: dict[str, t.Any] | None) -> Probe | None:
    if not values:
        return None
    given: dict[str, t.Any] = {key: tuple(value) if key == "command" else value for key, value in values.items() if value}
    return Probe(**given)


def _mounts(values: t.Iterable[dict[str, t.Any]] | None) -> tuple[Mount, ...]:
    return tuple(Mount(item["source"], item["target"], item.get("read_only", True)) for item in values or ())


_LISTS = ("command", "entrypoint", "capabilities", "group_add")
_DICTS = ("tmpfs", "ulimits", "sysctls", "extra_hosts", "labels")
_SCALARS = (
    "secrets_path",
    "host_network",
    "cpus",
    "pids_limit",
    "read_only",
    "no_new_privileges",
    "stop_signal",
    "stop_grace",
    "shm_size",
    "init",
    "restart",
    "replace",
)


def _plain(given: dict[str, t.Any]) -> dict[str, t.Any]:
    """The keys that need no value of their own kind."""
    return {
        **{key: tuple(str(item) for item in given[key]) for key in _LISTS if key in given},
        **{key: _strings(given[key]) for key in _DICTS if key in given},
        **{key: given[key] for key in _SCALARS if key in given},
    }


def parse(values: dict[str, t.Any]) -> Service:
    """The ``service`` option as a value, checked and with its instance id.

    Raises ``ValueError`` with one sentence that names the key when the spec cannot be run as it stands.
    """
    given = {key: value for key, value in values.items() if value is not None}
    unknown = sorted(set(given) - set(SERVICE_ARGUMENT_SPEC))
    if unknown:
        raise ValueError(f"service.{unknown[0]} is not a key of a service. Known keys: {', '.join(sorted(SERVICE_ARGUMENT_SPEC))}.")
    _check_identity(given)
    uid, gid = (int(part) for part in given["user"].split(":"))
    before_stop = given.get("before_stop") or {}
    log = given.get("log") or {}
    config = given.get("config")
    service = Service(
        project=given["project"],
        name=given["name"],
        fleet=given["fleet"],
        image=given["image"],
        user=given["user"],
        directory=given["directory"].rstrip("/"),
        health=Health(**{**given["health"], "command": tuple(given["health"]["command"])}),
        memory=given["memory"],
        env=_strings(given.get("env")),
        secrets=_strings(given.get("secrets")),
        config=Config(files=_strings(config["files"]), path=config.get("path") or "/etc/berth") if config else None,
        directories=tuple(
            Directory(
                path=item["path"],
                mode=item.get("mode") or "0750",
                uid=uid if item.get("uid") is None else item["uid"],
                gid=gid if item.get("gid") is None else item["gid"],
            )
            for item in given.get("directories", ())
        ),
        mounts=_mounts(given.get("mounts")),
        networks=tuple(Network(item["name"], tuple(item.get("aliases", ()))) for item in given.get("networks", ())),
        ports=tuple(
            Port(item["address"], item["port"], item["container_port"], item.get("protocol") or "tcp") for item in given.get("ports", ())
        ),
        log_driver=log.get("driver") or "",
        log_options=_strings(log.get("options")),
        validate=tuple(
            Validation(tuple(item["command"]), _mounts(item.get("mounts")), _strings(item.get("tmpfs")), _strings(item.get("env")))
            for item in given.get("validate", ())
        ),
        reload=_probe(given.get("reload")),
        proof=_probe(given.get("proof")),
        restart_when=_probe(given.get("restart_when")),
        switch=tuple(Link(item["link"], item["target"]) for item in given.get("switch", ())),
        release=Release(**given["release"]) if given.get("release") else None,
        before_stop=BeforeStop(
            withdraw=before_stop.get("withdraw") or "",
            settle=before_stop.get("settle", 0),
            drained=_probe(before_stop.get("drained")),
            timeout=before_stop.get("timeout", 60),
        ),
        **_plain(given),
    )
    _check(service, public=[bool(item.get("public")) for item in given.get("ports", ())])
    return _with_instance(service)


def _with_instance(service: Service) -> Service:
    instance = digest(create_spec(service))
    return dataclasses.replace(_replace_instance(service, instance), instance=instance)


def _check_identity(given: dict[str, t.Any]) -> None:
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


def _check(service: Service, public: list[bool]) -> None:
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
