# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Maintenance of a site, as HAProxy on this host knows it: a map file, and the same map in every process that has read it.

The file is what the next process reads (after a reload, a replacement, a restart of the host), the processes are what answers now. A worker
that only finishes what it has is asked, too: a client's kept connection may still bring it a request.
"""

from __future__ import annotations

import os
import re
import time
import typing as t
from pathlib import Path

from ansible_collections.berth.django.plugins.module_utils._observe import ask
from ansible_collections.berth.django.plugins.module_utils._shell import EngineError
from ansible_collections.berth.django.plugins.module_utils._spec import Probe

# Beside the versions of the configuration: mounted with them, none of them, and removed with them.
FILE = "config/maintenance.map"
IN_CONTAINER = "/etc/berth/maintenance.map"
LISTED = "# id (file) description"  # how an answer to `show map` begins
TEXT = "# Maintenance is on. The module haproxy_maintenance writes and removes this file.\nstate on\n"
# A socket that refuses may be that of a process which is starting, and has read the file before it was written.
START_PATIENCE = 3
PROOF_TIMEOUT = 10


class Worker(t.NamedTuple):
    """One process that answers requests, and the numbers under which it keeps the map: one for each frontend.

    `on` is None for one that does not answer.
    """

    socket: str
    pid: str
    maps: tuple[str, ...]
    on: bool | None


def in_file(directory: str) -> bool:
    """What a process that starts now would read."""
    try:
        return bool(re.search(r"^state on$", Path(directory, FILE).read_text(encoding="utf-8"), re.MULTILINE))
    except FileNotFoundError:
        return False


def write(directory: str, on: bool) -> None:
    """Whole or not at all; readable for HAProxy's own user."""
    path = Path(directory, FILE)
    if not on:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o755)
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    with open(staging, "w", encoding="utf-8") as file:
        file.write(TEXT)
        file.flush()
        os.fsync(file.fileno())
    staging.chmod(0o644)
    staging.replace(path)


def workers(directory: str, patience: float = 0) -> list[Worker]:
    """Every process of HAProxy on this host; none when it does not run."""
    sockets = [str(path) for path in sorted(Path(directory, "run").glob("*/master.sock")) if not path.parent.is_symlink()]
    deadline = time.monotonic() + patience
    return [worker for socket in sockets for worker in _workers_of(socket, deadline)]


def _workers_of(socket: str, deadline: float) -> t.Iterator[Worker]:
    processes = _ask(socket, "show proc")
    while processes is None and time.monotonic() < deadline:
        time.sleep(0.2)
        processes = _ask(socket, "show proc")
    for pid, leaving in parse_processes(processes or ""):
        listed = _ask(socket, f"@!{pid} show map") or ""
        maps = parse_maps(listed)
        if maps:
            said = [_ask(socket, f"@!{pid} get map #{number} state") or "" for number in maps]
            yield Worker(socket, pid, maps, all('value="on"' in answer for answer in said))
        elif not leaving and LISTED not in listed:
            yield Worker(socket, pid, (), None)
        elif not leaving:
            raise EngineError("HAProxy on this host runs a configuration that knows no maintenance: run site.yml (the haproxy role) first.")


def switch(directory: str, on: bool) -> list[Worker]:
    """Changes what processes know, until each says so itself."""
    deadline = time.monotonic() + PROOF_TIMEOUT
    while True:
        found = workers(directory, START_PATIENCE)
        wrong = [worker for worker in found if worker.on != on]
        if not wrong:
            return found
        if time.monotonic() > deadline:
            pids = ", ".join(worker.pid for worker in wrong)
            raise EngineError(
                f"HAProxy (process {pids} in its container) did not switch maintenance {word(on)}: see its log. The next one to start will."
            )
        for worker in wrong:
            for number in worker.maps:
                _ask(worker.socket, ";".join(f"@!{worker.pid} {command}" for command in commands(number, on)))
        time.sleep(0.1)


def commands(number: str, on: bool) -> list[str]:
    return [f"clear map #{number}", *([f"add map #{number} state on"] if on else [])]


def parse_processes(text: str) -> list[tuple[str, bool]]:
    """(process id, whether it only finishes what it has) of each worker in the answer to `show proc`."""
    current, _, old = text.partition("# old workers")
    return [(pid, part is old) for part in (current, old) for pid in re.findall(r"^(\d+)\s+worker", part, re.MULTILINE)]


def parse_maps(text: str) -> tuple[str, ...]:
    """The numbers of our map in the answer to `show map`. HAProxy 3.0 keeps an optional file once for each place that names it."""
    return tuple(re.findall(rf"^(\d+) \((?:opt@)?{re.escape(IN_CONTAINER)}\)", text, re.MULTILINE))


def _ask(socket: str, command: str) -> str | None:
    """The master's answer; None when nobody listens."""
    outcome = ask(Probe(socket=socket, send=f"{command};quit\n"), "")
    return outcome.out if outcome.rc == 0 else None


def word(on: bool) -> str:
    return "on" if on else "off"


def described(file: bool, found: t.Sequence[Worker]) -> str:
    """For a diff: what the next process would do, and what each one does."""
    lines = [f"when HAProxy starts: {word(file)}"]
    for worker in found:
        known = "does not answer" if worker.on is None else word(worker.on)
        lines.append(f"process {worker.pid} of {os.path.basename(os.path.dirname(worker.socket))}: {known}")
    return "".join(f"{line}\n" for line in lines)
