# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Which servers of a running HAProxy are to get no new requests, because the configuration to come does not have them. Pure."""

from __future__ import annotations

import csv
import io
import typing as t
from dataclasses import dataclass

# What `show stat` says of a server that was told to drain.
DRAINING = "DRAIN"


@dataclass(frozen=True)
class Server:
    """One server of one backend, as the running process sees it."""

    backend: str
    name: str
    status: str
    requests: int

    @property
    def up(self) -> bool:
        return self.status.startswith("UP") or self.status == "no check"


def servers(stat: str) -> list[Server]:
    """The servers in the answer to `show stat`."""
    rows = csv.DictReader(io.StringIO(stat.strip().removeprefix("# ")))
    return [
        Server(row["pxname"], row["svname"], row["status"], int(row["scur"] or 0))
        for row in rows
        if row["svname"] not in ("FRONTEND", "BACKEND")
    ]


def configured(config: str) -> dict[str, set[str]]:
    """Backend -> its servers. A backend whose servers are made by a template or a resolver is left out: their names are not in the file."""
    found: dict[str, set[str]] = {}
    backend = ""
    for words in (line.split() for line in config.splitlines()):
        if not words:
            continue
        if words[0] in ("global", "defaults", "frontend", "backend", "listen", "userlist", "peers", "resolvers"):
            backend = words[1] if words[0] in ("backend", "listen") else ""
            found.update({backend: set()} if backend else {})
        elif backend and words[0] == "server":
            found.get(backend, set()).add(words[1])
        elif backend and words[0] == "server-template":
            found.pop(backend, None)
    return found


@dataclass(frozen=True)
class Change:
    """What to tell HAProxy about one server."""

    server: Server
    state: str

    @property
    def command(self) -> str:
        return f"set server {self.server.backend}/{self.server.name} state {self.state}\n"

    @property
    def sentence(self) -> str:
        where = f"{self.server.name} of the backend {self.server.backend}"
        return f"drain {where}" if self.state == "drain" else f"take {where} back"


def changes(config: str, running: t.Sequence[Server]) -> list[Change]:
    """Servers that go are drained, where another one is there to answer. One that was drained and is to stay after all is taken back."""
    wanted = configured(config)
    found = []
    for server in running:
        if server.backend not in wanted:
            continue
        staying = server.name in wanted[server.backend]
        others = [other for other in running if other.backend == server.backend and other.name in wanted[server.backend] and other.up]
        if staying and server.status == DRAINING:
            found.append(Change(server, "ready"))
        elif not staying and server.status != DRAINING and others:
            found.append(Change(server, "drain"))
    return found


def busy(running: t.Sequence[Server], drained: t.Sequence[Change]) -> list[Server]:
    """Those of the drained servers that still answer requests."""
    names = {(change.server.backend, change.server.name) for change in drained if change.state == "drain"}
    return [server for server in running if (server.backend, server.name) in names and server.requests]
