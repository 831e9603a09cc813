#!/usr/bin/env python3
# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a site all the time and counts every answer that did not come. Nothing is ever asked twice: a retry would hide what this looks for.

    load.py http://10.0.0.5/ --seconds 10 --host www.example.com
    load.py http://10.0.0.5/ --until /tmp/stop        # until that file exists, at most --seconds

Half of the clients keep their connections (and close them when the server says `Connection: close`), half make a new one for
each request; --keep-alive and --new set the numbers. --slow and --uploads add clients whose requests take long: ?sleep=2, and 300 kB
posted to ?upload, which the site has to know.
Prints one JSON object: sent, ok, lost, by_error, p50, p99 (milliseconds; of the others), per_second, and ended_by: "file" or "time".
A request is lost when it got no whole answer, or a status other than 2xx and 3xx. Standard library only, so that it runs on any host.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Count:
    """What happened so far."""

    sent: int = 0
    ok: int = 0
    errors: collections.Counter[str] = field(default_factory=collections.Counter)
    latencies: list[float] = field(default_factory=list)

    def report(self, seconds: float) -> dict[str, object]:
        ordered = sorted(self.latencies) or [0.0]
        return {
            "sent": self.sent,
            "ok": self.ok,
            "lost": self.sent - self.ok,
            "by_error": dict(self.errors),
            "p50": round(ordered[len(ordered) // 2] * 1000, 1),
            "p99": round(ordered[len(ordered) * 99 // 100] * 1000, 1),
            "per_second": round(self.sent / seconds, 1),
        }


class Connection:
    """One HTTP/1.1 connection, opened when it is needed. A body makes its requests POST."""

    def __init__(self, url: urllib.parse.SplitResult, host: str, keep_alive: bool, body: bytes = b"") -> None:
        self._address = (url.hostname or "", url.port or 80)
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        head = [
            f"{'POST' if body else 'GET'} {target} HTTP/1.1",
            f"Host: {host or url.netloc}",
            f"Connection: {'keep-alive' if keep_alive else 'close'}",
            *([f"Content-Length: {len(body)}"] if body else []),
        ]
        self._request = "\r\n".join([*head, "", ""]).encode() + body
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._keep_alive = keep_alive

    async def ask(self) -> int:
        """Sends one request and returns its status, after the whole answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        try:
            writer.write(self._request)
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:])}
            await self._body(reader, headers)
        except BaseException:
            self.close()
            raise
        if not self._keep_alive or "close" in headers.get("connection", "").lower():
            self.close()
        return int(head.split(" ", 2)[1])

    async def _body(self, reader: asyncio.StreamReader, headers: dict[str, str]) -> None:
        if "chunked" in headers.get("transfer-encoding", ""):
            while size := int((await reader.readline()).split(b";")[0], 16):
                await reader.readexactly(size + 2)
            await reader.readline()
        elif "content-length" in headers:
            await reader.readexactly(int(headers["content-length"]))
        else:
            await reader.read()

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def client(connection: Connection, count: Count, pause: float, timeout: float, stop: asyncio.Event, timed: bool = True) -> None:
    while not stop.is_set():
        began = time.monotonic()
        count.sent += 1
        try:
            status = await asyncio.wait_for(connection.ask(), timeout)
        except (OSError, EOFError, ValueError, IndexError, asyncio.TimeoutError) as error:
            count.errors[type(error).__name__] += 1
            await asyncio.sleep(0.05)  # a dead server is not to be asked a million times
        else:
            if 200 <= status < 400:
                count.ok += 1
                count.latencies += [time.monotonic() - began] if timed else []
            else:
                count.errors[str(status)] += 1
        await asyncio.sleep(pause)
    connection.close()


async def run(options: argparse.Namespace) -> dict[str, object]:
    count, stop = Count(), asyncio.Event()
    url = urllib.parse.urlsplit(options.url)
    keep = [True] * options.keep_alive + [False] * options.new
    began = time.monotonic()
    slow, upload = url._replace(query="sleep=2"), url._replace(query="upload")
    connections = [(Connection(url, options.host, kept), True) for kept in keep]
    connections += [(Connection(slow, options.host, number % 2 == 0), False) for number in range(options.slow)]
    connections += [(Connection(upload, options.host, number % 2 == 0, b"x" * 300_000), False) for number in range(options.uploads)]
    clients = [
        asyncio.create_task(client(connection, count, options.pause, options.timeout, stop, timed)) for connection, timed in connections
    ]
    ended_by = "time"
    while time.monotonic() - began < options.seconds and ended_by == "time":
        if options.until and options.until.exists() and count.sent >= options.at_least:
            ended_by = "file"
        await asyncio.sleep(0.05)
    stop.set()
    await asyncio.gather(*clients)
    return {**count.report(time.monotonic() - began), "ended_by": ended_by}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, default=10, help="stop after so long (default: %(default)s)")
    parser.add_argument("--until", type=Path, help="stop when this file exists")
    parser.add_argument("--at-least", type=int, default=0, help="requests that are sent even when that file exists (default: %(default)s)")
    parser.add_argument("--host", default="", help="Host header, where it is not the one of the URL")
    parser.add_argument("--keep-alive", type=int, default=4, help="clients that keep their connection (default: %(default)s)")
    parser.add_argument("--new", type=int, default=4, help="clients with a connection per request (default: %(default)s)")
    parser.add_argument("--slow", type=int, default=0, help="clients whose requests take two seconds (default: %(default)s)")
    parser.add_argument("--uploads", type=int, default=0, help="clients that send 300 kB (default: %(default)s)")
    parser.add_argument("--pause", type=float, default=0.02, help="seconds between two requests of a client (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=30, help="seconds until a request counts as lost (default: %(default)s)")
    print(json.dumps(asyncio.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
