# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What anybody on a host could have read while something happened: every process's arguments, and what was sent to its syslog.

Lab hosts have no syslog, so the place of one is taken: whatever is sent to /dev/log is kept.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import typing as t
from dataclasses import dataclass

from fleet import on, ssh

READY = "watching"
# Arguments come from /proc as they are, which is quicker and more than what `ps` shows.
_WATCHER = """
import glob, json, os, socket, sys
seen, log = set(), []
if os.path.lexists("/dev/log"):
    sys.exit("this host has a syslog")
device = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
device.bind("/dev/log")
device.settimeout(0.01)
print("watching", flush=True)
while not os.path.exists(sys.argv[1]):
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            seen.add(open(path, "rb").read())
        except OSError:
            pass
    try:
        while True:
            log.append(device.recv(1 << 20))
    except TimeoutError:
        pass
os.unlink("/dev/log")
os.unlink(sys.argv[1])
words = b"\\n".join(seen).replace(b"\\0", b" ").decode(errors="replace")
print(json.dumps([words, b"\\n".join(log).decode(errors="replace")]))
"""


@dataclass
class Watched:
    arguments: str = ""
    syslog: str = ""


@contextlib.contextmanager
def watched(host: str) -> t.Iterator[Watched]:
    """Filled when the block has ended."""
    seen, stop = Watched(), "/run/watched.stop"
    command = [*ssh(host), f"python3 -c {shlex.quote(_WATCHER)} {stop}"]
    watcher = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert watcher.stdout and watcher.stderr
    first = watcher.stdout.readline().strip()
    assert first == READY, watcher.stderr.read()
    try:
        yield seen
    finally:
        on(host, f"touch {stop}")
        out, _err = watcher.communicate(timeout=60)
        seen.arguments, seen.syslog = json.loads(out)
