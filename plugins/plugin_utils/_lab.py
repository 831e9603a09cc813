# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""A lab as a value: which machines there are to be, what to do about it, and the Docker command lines that do it.

Pure: nothing here runs a command or reads a file. The action plugin `lab` gathers what there is, and executes the plan.
"""

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress
import json
import re
import typing as t
import zlib

LABEL = "berth.lab"
# A thousand labs of four thousand hosts each: collisions are rare, and told apart by name when they happen.
POOL = ipaddress.ip_network("10.64.0.0/10")
LAB_PREFIX = 20
# Below the ports that the kernel hands out for outgoing connections.
PORTS = range(20000, 32000)
NAME = re.compile(r"[a-z][a-z0-9-]{1,29}")
HOST = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
PUBLISH = re.compile(r"\d{1,5}:\d{1,5}")
VOLUME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*:/.+")


@dataclasses.dataclass(frozen=True)
class Machine:
    """One lab host, as the inventory describes it."""

    name: str
    address: str
    port: int
    publish: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    memory: str = ""
    cpus: str = ""
    engine: bool = True
    images: tuple[str, ...] = ()
    cache: str = ""

    @property
    def target(self) -> str:
        """The stage of the machine's Dockerfile that it runs."""
        return "engine" if self.engine else "bare"

    @property
    def claims(self) -> frozenset[str]:
        """What no two machines can have at the same time."""
        ports = (str(self.port), *(entry.split(":")[0] for entry in self.publish))
        return frozenset([self.address, *ports, *([f"cache:{self.cache}"] if self.cache else [])])


@dataclasses.dataclass(frozen=True)
class Lab:
    """A whole lab: what `plan` compares with what there is."""

    name: str
    machines: tuple[Machine, ...]
    network: str
    # stage -> image reference
    images: t.Mapping[str, str]
    base: str
    # Changes when the lab's SSH keys change: a machine with other keys cannot be reached any more.
    keys: str = ""
    nameservers: tuple[str, ...] = ()

    def container(self, machine: str) -> str:
        return f"{self.name}-{machine}"

    def volume(self, name: str) -> str:
        return f"{self.name}-{name}"


@dataclasses.dataclass(frozen=True)
class Found:
    """One machine, as the engine reports it."""

    state: str
    spec: str
    connected: bool = True
    claims: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Actual:
    """What there is of a lab."""

    machines: t.Mapping[str, Found] = dataclasses.field(default_factory=dict)
    # The subnet, or None when there is no network.
    network: str | None = None
    images: frozenset[str] = frozenset()
    base: bool = False


@dataclasses.dataclass(frozen=True)
class Step:
    """One thing to do; `subject` is a machine's name, an image or a network."""

    kind: str
    subject: str
    sentence: str


# -- names and numbers ------------------------------------------------------------------------------------------------------------------


def network(lab: str) -> str:
    """The network of a lab, from its name alone."""
    count = 2 ** (LAB_PREFIX - POOL.prefixlen)
    size = 2 ** (32 - LAB_PREFIX)
    start = int(POOL.network_address) + (zlib.crc32(lab.encode()) % count) * size
    return f"{ipaddress.ip_address(start)}/{LAB_PREFIX}"


def address(host: str, lab: str, subnet: str = "") -> str:
    """The address of a host in its lab, from the two names alone: adding a host needs no number."""
    net = ipaddress.ip_network(subnet or network(lab))
    # Neither the network's own address, nor the gateway, nor the broadcast address.
    usable = net.num_addresses - 3
    return str(net.network_address + 2 + zlib.crc32(f"{lab}/{host}".encode()) % usable)


def port(host: str, lab: str) -> int:
    """The port of 127.0.0.1 that leads to a host's sshd."""
    return PORTS[zlib.crc32(f"{lab}/{host}/ssh".encode()) % len(PORTS)]


def spec_hash(lab: Lab, machine: Machine) -> str:
    """What a machine is made of. Nameservers are left out: another network for a laptop does not call for another lab."""
    values = {**dataclasses.asdict(machine), "images": None, "image": lab.images[machine.target], "network": lab.network, "keys": lab.keys}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def image_reference(files: t.Mapping[str, bytes], base: str, stage: str) -> str:
    """A tag that changes with everything that goes into the image."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + files[name] + b"\0")
    digest.update(base.encode())
    return f"berth-lab:{digest.hexdigest()[:12]}-{stage}"


# -- checks -----------------------------------------------------------------------------------------------------------------------------


def machine(values: t.Mapping[str, t.Any]) -> Machine:
    """A machine from what the inventory says about it; ValueError is one sentence that names the host."""
    name = str(values["name"])
    result = Machine(
        name=name,
        address=str(values["address"]),
        port=int(values["port"]),
        publish=tuple(map(str, values.get("publish") or ())),
        volumes=tuple(map(str, values.get("volumes") or ())),
        memory=str(values.get("memory") or ""),
        cpus=str(values.get("cpus") or ""),
        engine=bool(values.get("engine", True)),
        images=tuple(map(str, values.get("images") or ())),
        cache=str(values.get("cache") or ""),
    )
    if not HOST.fullmatch(name):
        raise ValueError(f"{name}: a lab host's name holds letters, digits, dots, dashes and underscores only.")
    for entry in result.publish:
        if not PUBLISH.fullmatch(entry):
            raise ValueError(
                f"{name}: lab_publish says {entry!r}; it is a list of 'port on 127.0.0.1:port of the host', such as '8080:80'."
            )
    for entry in result.volumes:
        if not VOLUME.fullmatch(entry):
            raise ValueError(f"{name}: lab_volumes says {entry!r}; it is a list of 'volume:/path', such as 'media:/srv/shared'.")
    return result


def check(lab: Lab) -> None:
    """Refuses a lab that cannot be made, with a sentence that names the hosts."""
    if not NAME.fullmatch(lab.name):
        raise ValueError(f"lab_name is {lab.name!r}; it is 2 to 30 small letters, digits and dashes, and starts with a letter.")
    if not lab.machines:
        raise ValueError("The lab has no hosts: the inventory names none besides localhost.")
    net = ipaddress.ip_network(lab.network)
    owners: dict[t.Any, str] = {str(net.network_address + 1): "the network's gateway"}
    for one in lab.machines:
        if ipaddress.ip_address(one.address) not in net:
            raise ValueError(f"{one.name}: berth_address {one.address} is not in the lab's network {net}.")
        claims = [(one.address, "address", "berth_address"), (one.port, "SSH port", "ansible_port")]
        claims += [(int(entry.split(":")[0]), "published port", "lab_publish") for entry in one.publish]
        for value, what, variable in claims:
            if value in owners:
                raise ValueError(
                    f"{one.name} and {owners[value]} have the same {what} {value}: set {variable} of {one.name} in the inventory."
                )
            owners[value] = one.name
        if one.cache and any(other.cache == one.cache and other is not one for other in lab.machines):
            raise ValueError(f"{one.name}: lab_cache {one.cache} is used by another host too; two engines cannot share one disk.")


# -- the plan ---------------------------------------------------------------------------------------------------------------------------


def stale(lab: Lab, actual: Actual) -> list[str]:
    """Machines that are not in the inventory any more, and in nobody's way: they may go now, or when nothing asks them any more."""
    if _new_network(lab, actual):
        return []
    wanted = {one.name for one in lab.machines}
    claimed = frozenset(claim for one in lab.machines for claim in one.claims)
    return sorted(name for name, found in actual.machines.items() if name not in wanted and not found.claims & claimed)


def plan(lab: Lab, actual: Actual, prune: bool = True) -> list[Step]:
    """Everything that is to be done, in order; nothing when the lab is as it should be. Without `prune`, stale machines stay."""
    wanted = {one.name: one for one in lab.machines}
    new_network = _new_network(lab, actual)
    staying = [] if prune else stale(lab, actual)
    removed: dict[str, str] = {}
    ready: list[Step] = []
    made: list[Machine] = []
    for name, found in sorted(actual.machines.items()):
        if name in staying:
            continue
        if name not in wanted:
            removed[name] = f"Remove {name}: it is not in the inventory any more"
        elif new_network:
            removed[name] = f"Remove {name}: the lab's network changes"
        elif found.spec != spec_hash(lab, wanted[name]):
            removed[name] = f"Remove {name}: it was made from another description"
        elif found.state not in ("running", "paused", "exited"):
            removed[name] = f"Remove {name}: it is half made ({found.state})"
        else:
            ready += _mend(lab, wanted[name], found)
    made = [one for one in lab.machines if one.name not in actual.machines or one.name in removed]

    steps: list[Step] = []
    missing = sorted({lab.images[one.target] for one in made} - actual.images)
    if missing and not actual.base:
        steps.append(Step("base", lab.base, f"Bring the base image {lab.base}"))
    steps += [Step("image", image, f"Build the machines' image {image}") for image in missing]
    steps += [Step("remove", name, sentence) for name, sentence in removed.items()]
    if new_network:
        steps.append(Step("remove_network", lab.name, f"Remove the network {lab.name} ({actual.network})"))
    if actual.network != lab.network:
        steps.append(Step("network", lab.name, f"Make the network {lab.name} ({lab.network})"))
    steps += [Step("create", one.name, f"Make {one.name} at {one.address}") for one in made]
    return steps + ready


def _new_network(lab: Lab, actual: Actual) -> bool:
    return actual.network is not None and actual.network != lab.network


def _mend(lab: Lab, one: Machine, found: Found) -> list[Step]:
    steps = []
    if not found.connected:
        steps.append(Step("connect", one.name, f"Connect {one.name} to the network {lab.name} again"))
    if found.state == "paused":
        steps.append(Step("unpause", one.name, f"Let {one.name} go on"))
    elif found.state == "exited":
        steps.append(Step("start", one.name, f"Start {one.name}"))
    return steps


# -- command lines ----------------------------------------------------------------------------------------------------------------------


def list_argv(lab: str) -> list[str]:
    """One line for each machine of a lab, as `parse_list` reads it."""
    label = '{{{{.Label "berth.lab.{}"}}}}'.format
    line = "\t".join([label("host"), "{{.State}}", label("spec"), "{{.Networks}}", label("claims")])
    return ["docker", "ps", "--all", "--filter", f"label={LABEL}={lab}", "--format", line]


def parse_list(lab: str, output: str) -> dict[str, Found]:
    rows = [line.split("\t") for line in output.splitlines() if line.strip()]
    return {row[0]: Found(row[1], row[2], lab in row[3].split(","), frozenset(row[4].split())) for row in rows}


def network_argv(lab: Lab) -> list[str]:
    return ["docker", "network", "create", "--label", f"{LABEL}={lab.name}", "--subnet", lab.network, lab.name]


def volume_argv(lab: Lab, name: str) -> list[str]:
    return ["docker", "volume", "create", "--label", f"{LABEL}={lab.name}", name]


def build_argv(lab: Lab, stage: str, context: str, environment: t.Mapping[str, str]) -> list[str]:
    proxies = [name for name in ("http_proxy", "https_proxy", "no_proxy") if environment.get(name)]
    arguments = [word for name in proxies for word in ("--build-arg", f"{name}={environment[name]}")]
    return [
        *("docker", "build", "--quiet", "--target", stage, "--tag", lab.images[stage], "--label", f"{LABEL}.image=1"),
        *("--build-arg", f"BASE={lab.base}", *arguments, context),
    ]


def disks(lab: Lab, one: Machine) -> dict[str, str]:
    """Volumes that are a machine's own disk -> where it mounts them. They go when the machine goes, unless they are a cache."""
    if one.cache:
        # What was built, and what the builder knows about it, belong together.
        return {f"{one.cache}-docker": "/var/lib/docker", f"{one.cache}-berth": "/srv/berth"}
    return {lab.volume(f"{one.name}-docker"): "/var/lib/docker"}


def shared(lab: Lab, one: Machine) -> dict[str, str]:
    """Volumes that hosts share -> where this one mounts them."""
    return {lab.volume(f"shared-{volume}"): path for volume, path in (entry.split(":", 1) for entry in one.volumes)}


def create_argv(lab: Lab, one: Machine) -> list[str]:
    """A container that behaves like a machine, and can run an engine of its own."""
    argv = ["docker", "create", "--name", lab.container(one.name), "--hostname", one.name.split(".")[0]]
    labels = {LABEL: lab.name, f"{LABEL}.host": one.name, f"{LABEL}.spec": spec_hash(lab, one)}
    labels[f"{LABEL}.claims"] = " ".join(sorted(one.claims))
    argv += [f"--label={name}={value}" for name, value in labels.items()]
    # Not --privileged: it needs CAP_SYS_RESOURCE, which an outer machine that is a container itself may lack.
    argv += ["--cap-add=ALL", "--cap-drop=SYS_RESOURCE", "--cgroupns=private"]
    argv += [f"--security-opt={name}=unconfined" for name in ("seccomp", "apparmor", "systempaths")]
    argv += ["--tmpfs=/run:mode=0755,exec", "--tmpfs=/tmp:mode=1777,exec"]
    mounts = {**disks(lab, one), **shared(lab, one)}
    argv += [f"--mount=type=volume,source={volume},target={path}" for volume, path in mounts.items()]
    argv += [f"--network={lab.name}", f"--ip={one.address}"]
    argv += [f"--publish=127.0.0.1:{entry}" for entry in (f"{one.port}:22", *one.publish)]
    argv += [f"--memory={one.memory}"] if one.memory else []
    argv += [f"--cpus={one.cpus}"] if one.cpus else []
    argv += [f"--env=BERTH_NAMESERVERS={' '.join(lab.nameservers)}"] if lab.nameservers else []
    return [*argv, lab.images[one.target]]


def nameservers(*files: str) -> tuple[str, ...]:
    """The first nameservers in these resolv.conf texts that a machine on another address can reach."""
    for text in files:
        found = [words[1] for words in (line.split() for line in text.splitlines()) if len(words) > 1 and words[0] == "nameserver"]
        reachable = [one for one in found if not _loopback(one)]
        if reachable:
            return tuple(reachable)
    return ()


def _loopback(server: str) -> bool:
    try:
        parsed = ipaddress.ip_address(server.split("%")[0])
    except ValueError:
        return True
    return parsed.is_loopback or parsed.is_link_local
