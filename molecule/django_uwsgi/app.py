# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The app of this scenario, asked as nginx would ask it, and a run of its role."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import typing as t

import fleet

SOCKET = f"{fleet.FLEET.get('directory')}/{fleet.PROJECT}/django_uwsgi/run/current.sock"
CLIENT = (fleet.ROOT / "molecule" / "shared" / "over_uwsgi.py").read_text()
HOSTS = fleet.GROUPS.get("django_uwsgi", [])


def ask(host: str, uri: str, method: str = "GET", name: str = "", trickle: int = 0) -> fleet.Answer:
    """An answer, if there is one. `trickle`: kilobytes of a body, which take a fifth of a second each."""
    words = [SOCKET, name or fleet.FLEET["server_name"], uri, method, str(trickle)]
    command = [*fleet.ssh(host), "python3 - " + shlex.join(words)]
    outcome = subprocess.run(command, input=CLIENT, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    status, headers, body = json.loads(outcome.stdout)
    return fleet.Answer(status, headers, body.encode())


@contextlib.contextmanager
def under_load(host: str, uri: str, clients: int = 4) -> t.Iterator[dict[str, t.Any]]:
    """Clients on the host that keep asking until the block ends; what they saw is in the dict then."""
    stop = "/run/under_load.stop"
    words = ["--load", stop, str(clients), SOCKET, fleet.FLEET["server_name"], uri]
    fleet.on(host, f"rm -f {stop}")
    asking = subprocess.Popen(
        [*fleet.ssh(host), "python3 - " + shlex.join(words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert asking.stdin
    asking.stdin.write(CLIENT)
    asking.stdin.close()
    seen: dict[str, t.Any] = {}
    try:
        yield seen
    finally:
        fleet.on(host, f"touch {stop}")
        asking.stdin = None
        seen.update(json.loads(asking.communicate()[0]))
    assert seen["ended"], "what was done took longer than the load on it"


def converge(*more: str, variables: dict[str, t.Any] | None = None) -> fleet.Run:
    return fleet.playbook(
        *more, name="molecule/shared/converge.yml", variables=variables, environment={"MOLECULE_SCENARIO_NAME": "django_uwsgi"}
    )
