# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database of the scenario and its repository, as their operator asks them."""

from __future__ import annotations

import json
import shlex
import typing as t

from fleet import FLEET, PROJECT, on, until

DATABASE, REPOSITORY = "db1", "backup1"
SERVER, RESTORED, SCHEDULE, RECEIVER = (f"{PROJECT}-{name}" for name in ("postgres", "postgres_restored", "backups", "pgbackrest"))
DATA = f"{FLEET.get('directory')}/{PROJECT}/postgres/data"
STORED = f"{FLEET.get('directory')}/{PROJECT}/pgbackrest/repository"
# The rows and what is in them, whatever order they are in.
HASH = "select count(*), md5(string_agg(ledger::text, ',' order by ledger::text)) from ledger"


def sql(statement: str, container: str = SERVER, host: str = DATABASE, check: bool = True) -> str:
    psql = f"docker exec {container} psql -XAtq -h /var/run/postgresql -U postgres -d {PROJECT}"
    return on(host, f"{psql} -c {shlex.quote(statement)}", check=check)


def backups() -> list[dict[str, t.Any]]:
    """As pgBackRest tells them."""
    (stanza,) = json.loads(on(REPOSITORY, f"docker exec {SCHEDULE} pgbackrest --log-level-console=off --output=json info"))
    return list(stanza["backup"])


def archived() -> None:
    """What was written until now is in the archive."""
    segment = sql("select pg_walfile_name(pg_switch_wal())")
    until(lambda: sql(f"select last_archived_wal >= '{segment}' from pg_stat_archiver") == "t", 60, f"{segment} is archived")


def fill(rows: int = 1000) -> str:
    """A ledger of its own; returns its hash."""
    sql("drop table if exists ledger")
    sql(f"create table ledger as select number, md5(number::text) as line from generate_series(1, {rows}) as number")
    return sql(HASH)
