# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Makes the machines of a lab: what there is, the plan (_lab.py), and its execution."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

from ansible_collections.berth.django.plugins.plugin_utils import _lab
from ansible_collections.berth.django.plugins.plugin_utils._lab_docker import (
    Failed,
    answers,
    call,
    each,
    execute,
    last_line,
    no_engine,
    say,
)
from ansible_collections.berth.django.plugins.plugin_utils._lab_keys import Keys

ROLES = Path(__file__).resolve().parents[2] / "roles"
MACHINE = ROLES / "lab" / "files" / "machine"
DEBOOTSTRAP = ROLES / "image" / "files" / "debootstrap.sh"
READY_SECONDS = 90

PROGRESS = {
    "base": "bringing the base image {}",
    "image": "building the machines' image {}",
    "remove": "removing {}",
    "remove_network": "removing the network {}",
    "network": "making the network {}",
    "create": "making {}",
    "connect": "connecting {}",
    "unpause": "letting {} go on",
    "start": "starting {}",
}


class Presence:
    """Makes what is missing, mends what is broken, removes what is not in the inventory."""

    def __init__(self, options: dict[str, t.Any], directory: Path, check: bool) -> None:
        self.check = check
        self.prune = options["prune"]
        self.keys = Keys(directory / "ssh")
        self.base_record = directory / "lab-base"
        files = {path.name: path.read_bytes() for path in MACHINE.iterdir()}
        self.lab = _lab.Lab(
            name=options["name"],
            machines=tuple(_lab.machine(one) for one in options["machines"]),
            network=options["network"] or _lab.network(options["name"]),
            images={stage: _lab.image_reference(files, options["base"], stage) for stage in ("engine", "bare")},
            base=options["base"],
            keys=self.keys.fingerprint(),
            nameservers=tuple(options["nameservers"]) or own_nameservers(),
        )
        _lab.check(self.lab)

    def converge(self) -> dict[str, t.Any]:
        engine = answers()
        if not (engine or self.check):
            raise Failed(no_engine())
        keys_made = not self.keys.complete()
        if keys_made and not self.check:
            self.keys.make()
            self.lab = dataclasses.replace(self.lab, keys=self.keys.fingerprint())
        actual = found(self.lab) if engine else _lab.Actual()
        steps = _lab.plan(self.lab, actual, self.prune)
        sentences = (["Make the lab's SSH keys"] if keys_made else []) + [step.sentence for step in steps]
        if not self.check:
            self._execute(steps)
            self._wait({step.subject for step in steps if step.kind in ("create", "start", "unpause", "connect")})
            self._empty_caches({step.subject for step in steps if step.kind == "create"})
        machines = {
            one.name: {"container": self.lab.container(one.name), "address": one.address, "port": one.port} for one in self.lab.machines
        }
        before = {name: known.state for name, known in actual.machines.items()}
        staying = [] if self.prune else _lab.stale(self.lab, actual)
        after = {name: before[name] for name in staying} | {one.name: "running" for one in self.lab.machines}
        return {
            "changed": bool(sentences),
            "actions": sentences,
            "machines": machines,
            "stale": staying,
            "diff": {"before": listed(before), "after": listed(after)},
        }

    def _execute(self, steps: list[_lab.Step]) -> None:
        machines = {one.name: one for one in self.lab.machines}
        # Steps of one kind touch different things: they go side by side, the kinds one after the other.
        for kind in dict.fromkeys(step.kind for step in steps):
            subjects = [step.subject for step in steps if step.kind == kind]
            say(PROGRESS[kind].format(", ".join(subjects)))
            if kind == "base":
                self._base()
            elif kind == "image":
                for image in subjects:
                    self._image(image)
            elif kind == "network":
                self._network()
            elif kind == "remove_network":
                call(["docker", "network", "rm", self.lab.name])
            elif kind == "remove":
                each(subjects, lambda name: remove_machine(self.lab, name, machines.get(name)))
            elif kind == "create":
                self._volumes([machines[name] for name in subjects])
                each(subjects, lambda name: self._create(machines[name]))
            elif kind == "connect":
                each(subjects, lambda name: call(self._connect_argv(machines[name])))
            else:
                each(subjects, lambda name, verb=kind: call(["docker", verb, self.lab.container(name)]))

    def _connect_argv(self, one: _lab.Machine) -> list[str]:
        return ["docker", "network", "connect", "--ip", one.address, self.lab.name, self.lab.container(one.name)]

    def _base(self) -> None:
        """From a registry, or where none can be reached, made of Debian packages under the same name."""
        pulled = execute(["docker", "pull", "--quiet", self.lab.base], timeout=600)
        if pulled.returncode != 0:
            reason = last_line(pulled)
            suite = self.lab.base.partition(":")[2].removesuffix("-slim")
            if os.geteuid() != 0 or not self.lab.base.startswith("debian:"):
                raise Failed(f"The base image {self.lab.base} cannot be pulled, and only root can make Debian's by debootstrap: {reason}")
            say(f"no registry gives it ({reason}); made by debootstrap instead, which takes a minute")
            with tempfile.TemporaryDirectory(prefix="berth-base-") as tree:
                call(["sh", str(DEBOOTSTRAP), suite, tree])
                with subprocess.Popen(["tar", "-C", tree, "-c", "."], stdout=subprocess.PIPE) as tar:
                    call(["docker", "import", "--change", 'CMD ["bash"]', "-", self.lab.base], stdin=tar.stdout)
        identity = call(["docker", "image", "inspect", "--format", "{{.Id}}", self.lab.base]).strip()
        self.base_record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.base_record.write_text(f"{self.lab.base} {identity}\n")

    def _image(self, image: str) -> None:
        stage = next(stage for stage, reference in self.lab.images.items() if reference == image)
        # The classic builder: it is in every engine, and its images leave no build cache behind when they are removed.
        call(_lab.build_argv(self.lab, stage, str(MACHINE), os.environ), env={**os.environ, "DOCKER_BUILDKIT": "0"})

    def _network(self) -> None:
        made = execute(_lab.network_argv(self.lab))
        if made.returncode != 0:
            hint = "Set lab_network to a free one." if "overlaps" in made.stderr else ""
            raise Failed(f"The network {self.lab.network} cannot be made: {last_line(made)}. {hint}".strip())

    def _volumes(self, machines: list[_lab.Machine]) -> None:
        for one in machines:
            if one.cache:
                self._refuse_shared_cache(one)
            for name in [*_lab.disks(self.lab, one), *_lab.shared(self.lab, one)]:
                own = not (one.cache and name in _lab.disks(self.lab, one))
                call(_lab.volume_argv(self.lab, name) if own else ["docker", "volume", "create", name])

    def _refuse_shared_cache(self, one: _lab.Machine) -> None:
        for volume in _lab.disks(self.lab, one):
            users = call(["docker", "ps", "--filter", f"volume={volume}", "--format", "{{.Names}}"]).split()
            if users:
                raise Failed(
                    f"{one.name}: the cache {one.cache} is in use by {users[0]}; two engines cannot share one disk. Remove that lab first."
                )

    def _create(self, one: _lab.Machine) -> None:
        container = self.lab.container(one.name)
        # A new machine has an empty disk, also where a machine of this name was removed by hand.
        for volume in [] if one.cache else _lab.disks(self.lab, one):
            execute(["docker", "volume", "rm", volume])
            call(_lab.volume_argv(self.lab, volume))
        call(_lab.create_argv(self.lab, one))
        call(["docker", "cp", "-", f"{container}:/"], data=self.keys.archive())
        started = execute(["docker", "start", container])
        if started.returncode != 0:
            execute(["docker", "rm", "--force", container])
            ports = ", ".join([f"{one.port} (ansible_port)", *one.publish])
            hint = f" Ports of 127.0.0.1 that {one.name} needs: {ports}." if "port" in started.stderr else ""
            raise Failed(f"{one.name} does not start: {last_line(started)}.{hint}")

    def _wait(self, touched: set[str]) -> None:
        if touched:
            say(f"waiting for sshd and Docker on {', '.join(sorted(touched))}")
        each([one.name for one in self.lab.machines], lambda name: self._ready(name, name in touched))

    def _empty_caches(self, created: set[str]) -> None:
        """A new machine runs nothing: a disk that outlived its lab brings images and the registry's data, and what ran there has gone."""
        script = (
            "docker ps --all --quiet | xargs --no-run-if-empty docker rm --force --volumes;"
            "rm -rf $(ls -d /srv/berth/*/* | grep -v /registry$)"
        )
        for one in self.lab.machines:
            if one.name in created and one.cache and one.engine:
                call(["docker", "exec", self.lab.container(one.name), "sh", "-c", script])

    def _ready(self, name: str, touched: bool) -> None:
        one = next(one for one in self.lab.machines if one.name == name)
        container = self.lab.container(name)
        limit = time.monotonic() + READY_SECONDS
        while not sshd_answers(one.port):
            if time.monotonic() > limit:
                log = execute(["docker", "logs", "--tail", "20", container])
                raise Failed(f"{name}: no sshd answers on 127.0.0.1:{one.port} after {READY_SECONDS} s.\n{log.stdout}{log.stderr}")
            time.sleep(0.1)
        if not (touched and one.engine):
            return
        script = (
            f"for i in $(seq {READY_SECONDS * 5}); do docker version >/dev/null 2>&1 && exit 0; sleep 0.2; done; "
            "tail -20 /var/log/docker.log; exit 1"
        )
        ready = execute(["docker", "exec", container, "sh", "-c", script])
        if ready.returncode != 0:
            raise Failed(f"{name}: Docker does not answer after {READY_SECONDS} s.\n{ready.stdout}{ready.stderr}")
        for image in one.images:
            self._give_image(container, image)

    def _give_image(self, container: str, image: str) -> None:
        """What the outer engine has already, a machine need not make once more. Best effort: its own roles bring it otherwise."""
        if execute(["docker", "exec", container, "docker", "image", "inspect", image]).returncode == 0:
            return
        if execute(["docker", "image", "inspect", image]).returncode != 0:
            return
        say(f"giving {image} to {container}")
        with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saved:
            execute(["docker", "exec", "--interactive", container, "docker", "load", "--quiet"], stdin=saved.stdout)


def found(lab: _lab.Lab) -> _lab.Actual:
    """What the engine has of a lab: four short commands, whatever the number of machines."""
    machines = _lab.parse_list(lab.name, call(_lab.list_argv(lab.name)))
    subnet = execute(["docker", "network", "inspect", "--format", "{{range .IPAM.Config}}{{.Subnet}}{{end}}", lab.name])
    images = [image for image in lab.images.values() if execute(["docker", "image", "inspect", image]).returncode == 0]
    base = execute(["docker", "image", "inspect", lab.base]).returncode == 0
    return _lab.Actual(machines, subnet.stdout.strip() if subnet.returncode == 0 else None, frozenset(images), base)


def remove_machine(lab: _lab.Lab, name: str, one: _lab.Machine | None) -> None:
    call(["docker", "rm", "--force", "--volumes", lab.container(name)])
    if one is None or not one.cache:
        execute(["docker", "volume", "rm", lab.volume(f"{name}-docker")])


def own_nameservers() -> tuple[str, ...]:
    """The controller's; behind a local cache (systemd-resolved), those that the cache asks."""
    candidates = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
    return _lab.nameservers(*(path.read_text() for path in candidates if path.is_file()))


def sshd_answers(number: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", number), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def listed(states: dict[str, str]) -> str:
    return "".join(f"{name}: {state}\n" for name, state in sorted(states.items()))
