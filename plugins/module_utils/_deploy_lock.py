# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""The lock of a deploy, which outlives each module of it: one small file on one host, with the run that holds it.

The kernel's locks die with a process, and a deploy is many processes. So the file says what is needed to judge from outside whether the
run still lives: which process on which machine it is, and which SSH connection it last came through.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Holder:
    """`run` identifies an ansible-playbook process, `who` is for people, `session` is the process of the SSH connection on this host."""

    run: str
    who: str
    since: float
    seen: float
    session: str = ""


def path_in(directory: str) -> str:
    """Of the lock, in the directory of a service."""
    return f"{directory}/deploy-lock.json"


def read(path: str) -> Holder | None:
    with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
        return Holder(**json.loads(Path(path).read_text(encoding="utf-8")))
    return None


def take(path: str, run: str, who: str, break_run: str = "") -> Holder | None:
    """Takes the lock for `run`, also from `break_run`. Returns the holder when it is somebody else, and then changes nothing.

    To be called under a lock of this host, so that two runs do not look at the same time.
    """
    holder = read(path)
    if holder and holder.run not in (run, break_run):
        return holder
    since = holder.since if holder and holder.run == run else time.time()
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    staging = f"{path}.{os.getpid()}.tmp"
    Path(staging).write_text(
        json.dumps(dataclasses.asdict(Holder(run, who, since, time.time(), session_of(os.getpid())))), encoding="utf-8"
    )
    os.replace(staging, path)
    return None


def holds(path: str, run: str) -> bool:
    """Whether it is still this run's: a file that has gone was another's in between."""
    holder = read(path)
    return holder is not None and holder.run == run


def give_back(path: str, run: str) -> bool:
    holder = read(path)
    if holder is None or holder.run != run:
        return False
    os.unlink(path)
    return True


def started(pid: int | str) -> str:
    """When a process started, in ticks since boot: together with its number it is never used twice. Empty when it does not run."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    return ""


def session_of(pid: int) -> str:
    """The sshd process that a process came through, as number and start; empty where there is none."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        while pid > 1:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            if "(sshd" in fields:
                return f"{pid}:{started(pid)}"
            pid = int(fields.rpartition(")")[2].split()[1])
    return ""


def session_lives(session: str) -> bool:
    pid, _, start = session.partition(":")
    return bool(start) and started(pid) == start


def describe(holder: Holder) -> dict[str, t.Any]:
    """What the controller needs to judge it."""
    return dict(
        run=holder.run,
        who=holder.who,
        since=time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(holder.since)),
        unseen=max(0, int(time.time() - holder.seen)),
        session_ended=bool(holder.session) and not session_lives(holder.session),
    )
