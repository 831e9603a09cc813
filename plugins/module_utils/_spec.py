# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""What a service is: the dict of a role as a value, and its hashes.

Pure: no I/O, no Ansible. ``_spec_parse`` makes a :class:`Service` of the ``service`` option of ``container_service``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import typing as t
from dataclasses import dataclass, field

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
    """Seconds throughout. `wait` is how long a start may take until the first success.

    `explain` is a command that is run in the container once when that is over: what it prints is told with the failure.
    """

    command: tuple[str, ...]
    interval: int = 30
    timeout: int = 5
    retries: int = 3
    start_period: int = 30
    wait: int = 60
    explain: tuple[str, ...] = ()


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
    """A relative symbolic link on the host that is renamed into place: the switch of a release.

    `previous` is a second link beside it, which leads to where the first one led before, as long as both instances run.
    """

    link: str
    target: str
    previous: str = ""


@dataclass(frozen=True)
class Release:
    """What a service with releases remembers of them. `bake` and `pause` are seconds, `batch` is a number of hosts.

    `back` says that it has served before, and is gone back to.

    Without a `directory` it has no files of its own for each release, and its images are another service's to keep.
    """

    id: str
    directory: str = ""
    keep: int = 5
    bake: int = 0
    batch: int = 1
    pause: int = 0
    back: bool = False


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
    workdir: str = ""
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
    hints: dict[str, str] = field(default_factory=dict)
    shared: tuple[str, ...] = ()
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

    def hint(self, text: str) -> str:
        """What to look at when the product, or a command in its image, has failed with this text; a line of its own, or nothing."""
        return next((f"\n{hint}" for pattern, hint in self.hints.items() if re.search(pattern, text)), "")

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
        "hints",
        "shared",
        "instance",
    )
)


def create_spec(service: Service) -> dict[str, t.Any]:
    """The part of a spec that `docker create` sees, without secret values: kept as a label, hashed, shown in diffs."""
    values = {item.name: getattr(service, item.name) for item in dataclasses.fields(service) if item.name not in _NOT_IN_THE_CONTAINER}
    spec: dict[str, t.Any] = json.loads(json.dumps(values, default=dataclasses.asdict))
    del spec["health"]["wait"], spec["health"]["explain"]
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


def with_instance(service: Service) -> Service:
    """With its id, which is the hash of what it is made from, in the place of ``{instance}``. What files hold is left as it was given."""
    instance = digest(create_spec(service))
    replaced = _replace_instance(service, instance)
    return dataclasses.replace(replaced, instance=instance, config=service.config, secrets=service.secrets)
