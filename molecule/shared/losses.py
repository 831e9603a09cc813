# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load while something happens: tests/load/load.py as a process of its own, so that a busy test does not slow its clients down."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

from fleet import HOSTS, ROOT, on

# Some 60 requests a second with `make test`: as many as a lab can answer leave what is tested on two cores little time for itself.
SHORT = "not long" in os.environ.get("PYTEST_ADDOPTS", "")


def pause(seconds: float) -> tuple[str, str]:
    """Between two requests of a client, with `make test-faults`."""
    return "--pause", "0.1" if SHORT else str(seconds)


@contextlib.contextmanager
def losses(url: str, *options: str, host: str = "localhost") -> t.Iterator[dict[str, t.Any]]:
    """Asks `url` until the block ends; what load.py counted is in the dict afterwards."""
    counted: dict[str, t.Any] = {}
    with tempfile.TemporaryDirectory() as directory:
        stop = Path(directory) / "stop"
        command = [sys.executable, str(ROOT / "tests" / "load" / "load.py"), url, "--host", host, "--until", str(stop), "--seconds", "1200"]
        began = int(time.time())
        clients = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
        try:
            time.sleep(1)
            yield counted
            time.sleep(1)
        finally:
            stop.touch()
            counted.update(json.loads(clients.communicate(timeout=900)[0]))
            print(counted)
            if counted["lost"]:
                print("\n".join(complaints(began)))
        assert counted["ended_by"] == "file", "what was done took longer than the load on it"


# What says nothing: notes of nginx, uploads that it keeps in a file, and requests that went well in the logs of nginx and of HAProxy.
GOOD = r"""\[notice\]|to a temporary file|"status": ?"?[123]"""


def complaints(since: int) -> list[str]:
    """What web servers, balancers and the project had to say, to tell why something was lost."""
    return [
        f"{host} {name}: {line}"
        for host in HOSTS
        for name in on(host, "docker ps --format '{{.Names}}'", check=False).split()  # a host may be off
        if any(service in name for service in ("nginx", "haproxy", "uwsgi"))
        for line in on(host, f"docker logs --since {since} {name} 2>&1 | grep -vE '{GOOD}' | tail -n 20", check=False).splitlines()
    ]
