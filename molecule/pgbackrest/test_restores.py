# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was lost comes back as it was, a drill sees what would not, and what serves is not touched by either."""

from __future__ import annotations

import json
import time
import typing as t

import pytest
from backups import DATA, DATABASE, HASH, RECEIVER, REPOSITORY, RESTORED, SCHEDULE, SERVER, STORED, archived, backups, fill, sql
from fleet import PROJECT, Run, containers, inspect, on, playbook, processes, request, until

NOW = "select clock_timestamp()"


def restore(to: str, **more: t.Any) -> Run:
    return playbook(name="playbooks/restore.yml", variables={"to": to, **more})


def drill() -> Run:
    return playbook(name="playbooks/restore_drill.yml")


def test_a_dropped_table_comes_back_as_of_the_second_before() -> None:
    """Beside the server that serves, which goes on with what was written since."""
    sql("drop table if exists since")
    rows, moment = fill(), sql(NOW)
    time.sleep(1)
    sql("drop table ledger")
    sql("create table since (number int)")
    before = processes()
    run = restore(moment)
    assert run.rc == 0, run.told
    assert sql(HASH, RESTORED) == rows
    assert "since" not in sql("select string_agg(relname, ',') from pg_class", RESTORED)
    after = {name: line for name, line in processes().items() if RESTORED not in name}
    assert after == before, "what serves was touched"
    assert sql("show archive_mode", RESTORED) == "off"


def test_another_moment_is_restored_over_what_was_restored_before() -> None:
    sql("drop table if exists ledger")
    rows, moment = fill(2000), sql(NOW)
    archived()
    run = restore(moment)
    assert run.rc == 0, run.told
    assert sql(HASH, RESTORED) == rows


def test_a_restore_in_its_place_is_asked_for_twice() -> None:
    before = processes()
    run = restore("latest", in_place="yes")
    assert run.rc != 0 and f"add: -e in_place={PROJECT}" in run.errors, run.told
    assert processes() == before


def test_in_place_the_site_has_what_it_had() -> None:
    """What is replaced is kept, and backups go on."""
    song, headers = {"title": "Kept", "artist": "us"}, {"Content-Type": "application/json"}
    assert request("/api/music/", method="POST", body=json.dumps(song), headers=headers).status == 201
    moment = sql(NOW)
    time.sleep(1)
    sql("delete from songs_song")
    replaced = f"ls -d {DATA}/17.before-* 2>/dev/null"
    before = on(DATABASE, replaced, check=False).split()
    run = restore(moment, in_place=PROJECT)
    assert run.rc == 0, run.told
    until(lambda: "Kept" in request("/api/music/").text, 30, "the song is there again")
    assert len(on(DATABASE, replaced).split()) == len(before) + 1
    assert RESTORED not in containers(DATABASE, everything=True)
    again = playbook()
    assert again.unchanged, again.told
    made = playbook(name="playbooks/backup.yml")
    assert made.rc == 0, made.told
    assert len(backups()) >= 2 and not any(backup["error"] for backup in backups())


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("2031-01-01 00:00:00+00", "is in the future"),
        ("2020-01-01 00:00:00+00", "is before the end of the oldest backup"),
        ("2026-01-01 00:00:00", "has no time zone"),
        ("yesterday", "give one of them"),
    ],
)
def test_what_cannot_be_restored_is_refused(to: str, words: str) -> None:
    before = processes()
    run = restore(to)
    assert run.rc != 0 and words in " ".join(run.errors.split()), run.told
    assert processes() == before


def test_a_drill_proves_the_newest_backup() -> None:
    fill()
    before = processes()
    run = drill()
    assert run.rc == 0 and f"{PROJECT} can be restored: the newest backup, {backups()[-1]['label']}" in " ".join(run.out.split()), run.told
    assert processes() == before
    assert not any("drill" in name for name in containers(REPOSITORY, everything=True))
    assert on(REPOSITORY, f"ls -d /srv/berth/{PROJECT}/postgres/drill 2>/dev/null", check=False) == ""


@pytest.mark.long
def test_the_log_waits_for_a_repository_that_does_not_answer() -> None:
    """Nothing of it is lost, and the status says that it waits."""
    on(REPOSITORY, f"docker stop {RECEIVER}")
    try:
        rows = fill(3000)
        segment = sql("select pg_walfile_name(pg_switch_wal())")
        # pgBackRest tries for some minutes before it gives up.
        until(lambda: sql("select last_failed_time > last_archived_time from pg_stat_archiver") == "t", 400, "it has failed")
        told = playbook(name="playbooks/drift.yml").out
        assert f"the archive does not take the log of {SERVER} since " in " ".join(told.split()), told
    finally:
        on(REPOSITORY, f"docker start {RECEIVER}")
    until(lambda: sql(f"select last_archived_wal >= '{segment}' from pg_stat_archiver") == "t", 180, f"{segment} is archived after all")
    run = restore("latest")
    assert run.rc == 0, run.told
    assert sql(HASH, RESTORED) == rows
    on(DATABASE, f"docker rm --force {RESTORED}")


def files(what: str) -> list[str]:
    return on(REPOSITORY, f"find {STORED} -type f -path '*{what}*' -size +20k | sort").splitlines()


def test_a_drill_sees_a_flipped_byte_in_a_backup() -> None:
    path = files(f"/{backups()[-1]['label']}/bundle/")[-1] if files(f"/{backups()[-1]['label']}/bundle/") else files("/bundle/")[-1]
    on(REPOSITORY, f"cp -p {path} /var/tmp/kept && printf X | dd of={path} bs=1 seek=10000 conv=notrunc 2>/dev/null")
    try:
        run = drill()
        assert run.rc != 0 and f"{PROJECT} can be restored" not in run.out, run.told
        assert path.split("/backup/")[1].split("/")[1] in run.errors, run.told
    finally:
        on(REPOSITORY, f"cp -p /var/tmp/kept {path}")
    assert drill().rc == 0


def test_a_drill_sees_a_piece_of_the_log_that_is_missing() -> None:
    fill()
    archived()
    path = files("/archive/")[-1]
    on(REPOSITORY, f"mv {path} /var/tmp/kept")
    try:
        run = drill()
        assert run.rc != 0 and f"{PROJECT} can be restored" not in run.out, run.told
        assert path.rsplit("/", 1)[1][:24] in run.errors, run.told
    finally:
        on(REPOSITORY, f"mv /var/tmp/kept {path}")
    assert drill().rc == 0


def test_the_schedule_goes_on_with_what_was_missed() -> None:
    """A container that is replaced knows when the newest backup was, and one that was off for longer makes one at once."""
    count = len(backups())
    on(REPOSITORY, f"docker restart {SCHEDULE}")
    until(lambda: "ready" in on(REPOSITORY, f"docker logs --since 60s {SCHEDULE} 2>&1"), 60, "it waits")
    time.sleep(5)
    assert len(backups()) == count
    on(REPOSITORY, f"touch -d '3 days ago' {STORED}/.berth-newest")
    until(lambda: len(backups()) == count + 1, 120, "what was missed is made up for")
    assert inspect(REPOSITORY, SCHEDULE)["State"]["Running"] and SERVER
