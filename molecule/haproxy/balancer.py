# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy of the scenario, asked over the network as a browser would, and on its host as an operator would."""

from __future__ import annotations

import csv
import typing as t

from fleet import FLEET, HOSTS, PROJECT, Answer, Run, container, inspect, on, playbook, request, until
from over_socket import over_socket

HOST = "lb1"
WEB = ("web1", "web2")
STATS_PORT = 9080
DIRECTORY = f"{FLEET.get('directory')}/{PROJECT}/haproxy"
ADDRESS = HOSTS[HOST]["address"] if HOSTS else ""
SITE = f"http://{ADDRESS}/"


def get(path: str = "/", **more: t.Any) -> Answer:
    return request(path, HOST, **more)


def stats(path: str, user: tuple[str, str] | None = None) -> Answer:
    return request(path, HOST, STATS_PORT, user=user or tuple(FLEET["stats"]))


def converge(*more: str, **variables: object) -> Run:
    """A run of the role, with variables of the operator on top of the inventory's."""
    return playbook(*more, name="molecule/haproxy/role.yml", variables=dict(variables))


def name() -> str:
    return container(HOST, "haproxy")


def server() -> tuple[str, int, str]:
    """Container, master process and its start: what stays the same when nothing was interrupted."""
    seen = inspect(HOST, name())
    return seen["Id"], seen["State"]["Pid"], seen["State"]["StartedAt"]


def workers() -> list[str]:
    """Process ids of HAProxy, and not of a health check: a reload adds one, a refused configuration must not."""
    return sorted(on(HOST, f"docker top {name()} -eo pid,comm | awk '$2 == \"haproxy\" {{print $1}}'").split())


def generations() -> tuple[str, str]:
    """What the worker says it runs, and what `current` points to."""
    said = over_socket(HOST, f"{DIRECTORY}/run/current/admin.sock", "show env BERTH_GENERATION\n").strip()
    return said.removeprefix("BERTH_GENERATION="), on(HOST, f"readlink {DIRECTORY}/config/current")


def table(backend: str = "django") -> dict[str, dict[str, str]]:
    """HAProxy's own figures of a backend: server, or BACKEND for the whole -> column -> value."""
    rows = csv.DictReader(over_socket(HOST, f"{DIRECTORY}/run/current/admin.sock", "show stat\n").removeprefix("# ").splitlines())
    return {row["svname"]: row for row in rows if row["pxname"] == backend}


def states(backend: str = "django") -> dict[str, str]:
    """What HAProxy thinks of its servers."""
    return {server: row["status"] for server, row in table(backend).items() if server not in ("BACKEND", "FRONTEND")}


def redispatched() -> int:
    """How many requests were tried again with another server."""
    return int(table()["BACKEND"]["wredis"])


def all_up() -> None:
    until(lambda: set(states().values()) == {"UP"}, 20, "all servers are up")
