# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster as its clients see it: a ledger of what was acknowledged, and samples of who accepts writes."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import time
import typing as t
from collections import defaultdict
from dataclasses import dataclass, field

from fleet import GROUPS, HOSTS, PROJECT, container, on, ssh, until

SERVERS = GROUPS.get("postgres", [])
CLIENT = GROUPS.get("postgres_gateway", [""])[0]
CONTAINER = f"{PROJECT}-postgres"
WRITE, READ = 6432, 6433
PSQL = f"docker exec {CONTAINER} psql -XAtq -h /var/run/postgresql -U postgres"

# Runs in a container of the project, which has psycopg and the password. What it prints is what the client knows: "ack" was acknowledged;
# "unknown" may have been written or not, and counts as neither.
_CLIENT = """
import os, sys, time, psycopg
address, port, stop, statement = sys.argv[1:]
password = open("/run/secrets/database_password").read().strip()
number, connection = 0, None
while not os.path.exists(stop):
    number += 1
    try:
        if connection is None:
            connection = psycopg.connect(
                host=address, port=port, dbname=os.environ["DATABASE_NAME"], user=os.environ["DATABASE_USER"], password=password,
                sslmode="require", connect_timeout=3, autocommit=True, options="-c statement_timeout=10s", tcp_user_timeout=5000)
        connection.execute(statement, {"number": number})
        print("ack", number, time.time(), flush=True)
    except Exception as error:
        print("unknown", number, time.time(), str(error).strip().splitlines()[-1:], flush=True)
        connection = None
        time.sleep(0.1)
    time.sleep(0.02)
"""

_ASK = """
import ssl, urllib.request
context = ssl._create_unverified_context()
print(urllib.request.urlopen("https://127.0.0.1:8008/cluster", context=context, timeout=5).read().decode())
"""
# Whether a write is acknowledged, and not whether the server takes itself for the primary: one that was frozen does, until Patroni looks.
_SAMPLED = """
CREATE TABLE IF NOT EXISTS samples (moment timestamptz);
CREATE OR REPLACE FUNCTION sample() RETURNS boolean LANGUAGE plpgsql AS
$$ BEGIN IF NOT pg_is_in_recovery() THEN INSERT INTO samples VALUES (clock_timestamp()); RETURN true; END IF; RETURN false; END $$;
"""
_SAMPLE = "select extract(epoch from clock_timestamp())::numeric(15,2), sample() \\watch 0.1"


def psql(host: str, statement: str, database: str = PROJECT, check: bool = True) -> str:
    return on(host, f"{PSQL} -d {database} -c {shlex.quote(statement)}", check=check, timeout=30)


def members() -> dict[str, dict[str, t.Any]]:
    """Name -> what Patroni says of it; asked of the first server that answers."""
    for host in SERVERS:
        text = on(host, f"timeout 15 docker exec {CONTAINER} python3 -c {shlex.quote(_ASK)}", check=False, timeout=20)
        if text.startswith("{"):
            return {member["name"]: member for member in json.loads(text)["members"]}
    return {}


def primary() -> str:
    return next((name for name, member in members().items() if member["role"] == "leader" and member["state"] == "running"), "")


def whole(count: int = len(SERVERS)) -> bool:
    """One leads, and all others stream from it.

    One that was rewound is consistent with the next record of the primary (pg_rewind takes the place where that would be). A server that
    nobody writes to has none: it is asked for one.
    """
    leader = primary()
    if leader:
        psql(leader, "SELECT pg_log_standby_snapshot()", check=False)
    states = sorted(member["state"] for member in members().values())
    return bool(leader) and states == ["running", *["streaming"] * (count - 1)]


def synchronous() -> list[str]:
    return [name for name, member in members().items() if member["role"] in ("sync_standby", "quorum_standby")]


@dataclass
class Ledger:
    """What the client was told, and how long it was told nothing."""

    acknowledged: list[int] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    pause: float = 0.0
    lost: list[int] = field(default_factory=list)
    two_at_once: list[tuple[float, list[str]]] = field(default_factory=list)


@contextlib.contextmanager
def ledger(port: int = WRITE, wait_for: int = len(SERVERS)) -> t.Iterator[Ledger]:
    """Writes until the block ends, and samples who accepts writes; then waits until the cluster is whole, and counts."""
    told = Ledger()
    psql(primary(), f'DROP TABLE IF EXISTS ledger; CREATE TABLE ledger (number int); GRANT INSERT, SELECT ON ledger TO "{PROJECT}_app"')
    psql(primary(), _SAMPLED)
    samplers = {host: sample(host) for host in SERVERS}
    try:
        with asking(told, port, "INSERT INTO ledger (number) VALUES (%(number)s)"):
            yield told
    finally:
        written = {host: finish(host, process) for host, process in samplers.items()}
    until(lambda: whole(wait_for), 120, "the cluster is whole again")
    there = set(map(int, psql(primary(), "SELECT number FROM ledger").split()))
    told.lost = [number for number in told.acknowledged if number not in there]
    told.two_at_once = at_once(written)
    print(f"{len(told.acknowledged)} acknowledged, {len(told.lost)} lost, {len(told.unknown)} unknown, longest pause {told.pause:.1f} s")
    assert len(told.acknowledged) > 50, told.unknown[-5:]


@contextlib.contextmanager
def asking(told: Ledger, port: int, statement: str) -> t.Iterator[None]:
    """A client of the project on its host, until the block ends."""
    stop = f"/tmp/ledger-{time.time_ns()}"
    app = container(CLIENT, "django_uwsgi")
    words = shlex.join(["python3", "-c", _CLIENT, HOSTS[CLIENT]["address"], str(port), stop, statement])
    running = subprocess.Popen([*ssh(CLIENT), f"docker exec -i {app} {words}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        time.sleep(2)
        yield
        time.sleep(1)
    finally:
        on(CLIENT, f"docker exec {app} touch {stop}")
        out, _ = running.communicate(timeout=60)
        on(CLIENT, f"docker exec {app} rm {stop}")
        read_ledger(out, told)


@contextlib.contextmanager
def reads() -> t.Iterator[Ledger]:
    """Of a replica, until the block ends: what was acknowledged was answered."""
    told = Ledger()
    with asking(told, READ, "SELECT count(*) FROM ledger"):
        yield told
    print(f"{len(told.acknowledged)} reads, {len(told.unknown)} failed, longest pause {told.pause:.1f} s")


def read_ledger(out: str, told: Ledger) -> None:
    """A pause that has not ended when the client does is one, too."""
    last = moment = 0.0
    for line in out.splitlines():
        kind, number, when, *_ = line.split(" ")
        moment = float(when)
        if kind == "ack":
            told.acknowledged.append(int(number))
            told.moments.append(moment)
            told.pause = max(told.pause, moment - last if last else 0)
            last = moment
        else:
            told.unknown.append(line)
    told.pause = max(told.pause, moment - last)


def sample(host: str) -> subprocess.Popen[str]:
    """Ten times in a second: whether this server accepts writes. A loop, since a server that goes takes its psql along."""
    once = f"echo {shlex.quote(_SAMPLE)} | timeout 300 docker exec -i {PSQL.removeprefix('docker exec ')} -d {PROJECT}"
    loop = f"while [ ! -e /tmp/sampled ]; do {once}; sleep 0.2; done"
    on(host, "rm -f /tmp/sampled")
    return subprocess.Popen([*ssh(host), f"sh -c {shlex.quote(loop)}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def finish(host: str, process: subprocess.Popen[str]) -> list[float]:
    """The moments at which the host accepted writes."""
    on(host, f"touch /tmp/sampled; pkill -f 'psql -XAtq -h /var/run/postgresql -U postgres -d {PROJECT}$'", check=False)
    out, _ = process.communicate(timeout=60)
    return [float(line.split("|")[0]) for line in out.splitlines() if line.endswith("|t")]


def at_once(written: dict[str, list[float]]) -> list[tuple[float, list[str]]]:
    """Tenths of a second in which two servers accepted writes."""
    seen: dict[int, set[str]] = defaultdict(set)
    for host, moments in written.items():
        for moment in moments:
            seen[int(moment * 10)].add(host)
    return [(tenth / 10, sorted(hosts)) for tenth, hosts in sorted(seen.items()) if len(hosts) > 1]
