# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet as its users, its operator and its faults see it: HTTP, ansible-playbook, and a shell on its hosts.

The scenario's verify.yml and side_effect.yml pass what the inventory knows in BERTH_FLEET (see shared/ask.yml).
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FLEET: dict[str, t.Any] = json.loads(os.environ.get("BERTH_FLEET", "{}"))
HOSTS: dict[str, dict[str, t.Any]] = FLEET.get("hosts", {})
GROUPS: dict[str, list[str]] = FLEET.get("groups", {})
PROJECT: str = FLEET.get("project", "music")
INVENTORIES: list[str] = FLEET.get("inventories", [])


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> t.Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Run:
    rc: int
    out: str = field(repr=False)

    @property
    def told(self) -> str:
        """What a failed test should show of it: the errors, or else warnings and changes, and the recap."""
        changes = "\n".join(re.findall(r"^(?:TASK .*\n(?:(?!ok:|skipping:).*\n)*?changed: .*)", self.out, re.MULTILINE))
        return (self.errors or f"{self.warnings}\n{changes}") + self.out[self.out.find("PLAY RECAP") :]

    @property
    def warnings(self) -> str:
        return "\n".join(re.findall(r"^\[WARNING\]: .*(?:\n.+)*", self.out, re.MULTILINE))

    @property
    def changed(self) -> dict[str, int]:
        """host -> how many tasks changed, from the recap."""
        return {host: int(count) for host, count in re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", self.out, re.MULTILINE)}

    @property
    def unchanged(self) -> bool:
        """It came to its end, and no task changed anything on any host."""
        return self.rc == 0 and bool(self.changed) and not any(self.changed.values())

    @property
    def errors(self) -> str:
        """What the failed tasks said, without the rest."""
        return "\n".join(
            re.findall(r"^(?:fatal|failed): .*?(?=^(?:ok|changed|skipping|PLAY|TASK|\S+\s+: ok=)|\Z)", self.out, re.MULTILINE | re.DOTALL)
        )


def request(
    path: str,
    host: str = "",
    port: int = 80,
    method: str = "GET",
    body: bytes | str | None = None,
    headers: dict[str, str] | None = None,
    user: tuple[str, str] | None = None,
    timeout: float = 10,
) -> Answer:
    """One request to one host of the fleet, by default through the balancer, with no retry."""
    host = host or GROUPS["haproxy"][0]
    sent = {"Host": FLEET.get("server_name", "localhost"), "Connection": "close", **(headers or {})}
    if user:
        sent["Authorization"] = "Basic " + base64.b64encode(":".join(user).encode()).decode()
    connection = http.client.HTTPConnection(HOSTS[host]["address"], port, timeout=timeout)
    try:
        connection.request(method, path, body=body, headers=sent)
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


def on(host: str, command: str, check: bool = True, timeout: float = 120) -> str:
    """Standard output of a shell command on a host."""
    outcome = subprocess.run([*ssh(host), command], capture_output=True, text=True, timeout=timeout, check=False)
    if check and outcome.returncode:
        raise AssertionError(f"{command} on {host}: rc {outcome.returncode}\n{outcome.stdout}{outcome.stderr}")
    return outcome.stdout.strip()


def ssh(host: str) -> list[str]:
    """The same way in as Ansible's, with one connection kept for all commands."""
    way = HOSTS[host]["ssh"]
    shared = [
        "-o",
        "BatchMode=yes",
        "-o",
        "LogLevel=ERROR",
        "-o",
        "ControlMaster=auto",
        "-o",
        "ControlPersist=60s",
        "-o",
        f"ControlPath={tempfile.gettempdir()}/berth-%C",
    ]
    target = ["-p", str(way["port"]), "-i", way["key"], f"{way['user']}@{way['host']}"]
    return ["ssh", *shared, *shlex.split(way["arguments"]), *target]


def inspect(host: str, container: str) -> dict[str, t.Any]:
    return json.loads(on(host, f"docker inspect {shlex.quote(container)}"))[0]


def restart_engine(host: str, signal: str = "TERM") -> None:
    """With systemd or without, which start another one; returns when that one answers."""
    daemon = on(host, "pgrep -x dockerd")
    on(host, f"systemctl kill --signal={signal} docker 2>/dev/null || pkill -{signal} -x dockerd")
    until(lambda: on(host, "pgrep -x dockerd", check=False) not in ("", daemon), 60, "another daemon runs")
    until(lambda: on(host, "docker version --format '{{.Server.Version}}'", check=False), 60, "it answers")


def containers(host: str, everything: bool = False) -> list[str]:
    return sorted(on(host, "docker ps --format '{{.Names}}'" + (" --all" if everything else "")).split())


def container(host: str, service: str) -> str:
    """The name of a service's container: plain, or with an instance's id."""
    names = [name for name in containers(host) if name == f"{PROJECT}-{service}" or name.startswith(f"{PROJECT}-{service}-")]
    assert len(names) == 1, f"{host} runs {names} as {service}"
    return names[0]


def processes() -> dict[str, str]:
    """host/container -> process id and start of its first process: the same before and after means that nothing was restarted."""
    show = "docker ps --quiet | xargs --no-run-if-empty docker inspect --format '{{.Name}} {{.State.Pid}} {{.State.StartedAt}}'"
    return {f"{host}{line.split(' ')[0]}": line for host in HOSTS for line in on(host, show).splitlines()}


def lab_traces(lab: str) -> list[str]:
    """What the outer engine has of a lab: machines, networks and volumes."""
    kinds = {"container": ["--all", "--format={{.Names}}"], "network": ["--format={{.Name}}"], "volume": ["--format={{.Name}}"]}
    found = []
    for kind, options in kinds.items():
        listed = subprocess.run(["docker", kind, "ls", *options], check=True, capture_output=True, text=True).stdout.split()
        found += [f"{kind} {name}" for name in listed if name == lab or name.startswith(f"{lab}-")]
    return sorted(found)


def playbook(
    *more: str,
    name: str = "site.yml",
    variables: dict[str, t.Any] | None = None,
    environment: dict[str, str] | None = None,
    inventory: str = "",
) -> Run:
    """What an operator's run says, with its exit code; of this fleet, or of another inventory in the place of the scenario's own."""
    outcome = subprocess.run(
        playbook_command(*more, name=name, variables=variables, inventory=inventory),
        cwd=ROOT,
        env=playbook_environment(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Run(outcome.returncode, outcome.stdout)


def start(variables: dict[str, t.Any], until_told: str = "", name: str = "site.yml") -> subprocess.Popen[str]:
    """A run that goes on by itself; with `until_told`, when it has shown the heading of that task."""
    running = subprocess.Popen(
        playbook_command(name=name, variables=variables),
        cwd=ROOT,
        env=playbook_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert running.stdout
    assert not until_told or any(until_told in line for line in running.stdout), f"the run ended before {until_told!r}"
    return running


def kill(running: subprocess.Popen[str]) -> None:
    """The run and its workers (each leads a process group of its own), which get no chance to end anything."""
    assert running.poll() is None, "the run had come to its end already"
    workers = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    for process in [running.pid, *map(int, workers)]:
        os.kill(process, signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    assert running.stdout
    running.stdout.close()


@contextlib.contextmanager
def one_more(host: str, group: str) -> t.Iterator[None]:
    """As an operator adds it: the host's name in its group, and nothing else."""
    added = Path(INVENTORIES[-1]) / "one_more.yml"
    added.write_text(json.dumps({"all": {"children": {group: {"hosts": {host: {}}}}}}))
    try:
        yield
    finally:
        added.unlink()


def playbook_command(*more: str, name: str = "site.yml", variables: dict[str, t.Any] | None = None, inventory: str = "") -> list[str]:
    extra = ["--extra-vars", json.dumps(variables)] if variables else []
    inventories = [f"--inventory={path}" for path in [*INVENTORIES[:-1], inventory or INVENTORIES[-1]]]
    return [str(Path(sys.executable).parent / "ansible-playbook"), str(ROOT / name), *inventories, *extra, *more]


def playbook_environment(more: dict[str, str] | None = None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_"))}
    return {**kept, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), **(more or {})}


def until(seen: t.Callable[[], t.Any], timeout: float = 60, what: str = "") -> t.Any:
    """The first true answer of `seen`; a refused connection counts as not yet."""
    end = time.monotonic() + timeout
    last: object = None
    while time.monotonic() < end:
        try:
            last = seen()
            if last:
                return last
        except (OSError, http.client.HTTPException, AssertionError) as error:
            last = error
        time.sleep(0.3)
    raise AssertionError(f"not within {timeout} s: {what or seen} ({last})")


@dataclass
class Load:
    """Requests that were sent while something happened, and those that were lost: no retry, every status but 200 counts."""

    sent: int = 0
    lost: list[str] = field(default_factory=list)


@contextlib.contextmanager
def under_load(path: str, clients: int = 4, pause: float = 0.02) -> t.Iterator[Load]:
    """Clients that keep asking through the balancer until the block ends."""
    load = Load()
    ended = threading.Event()
    lock = threading.Lock()

    def client() -> None:
        while not ended.is_set():
            try:
                answer = request(path)
                problem = "" if answer.status == 200 else f"{time.strftime('%X')} status {answer.status} {answer.text[:80]!r}"
            except (OSError, http.client.HTTPException) as error:
                problem = f"{time.strftime('%X')} {type(error).__name__} {error}"
            with lock:
                load.sent += 1
                if problem:
                    load.lost.append(problem)
            time.sleep(pause)

    threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        ended.set()
        for thread in threads:
            thread.join(15)
