# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/howto/run-a-database-cluster.md, as a reader follows it: songs in one server, two more hosts, a run, and a host that is lost."""

from __future__ import annotations

import datetime
import json
import time

import pytest
from backups import DATABASE, SERVER, sql
from fleet import GROUPS, PROJECT, Answer, on, playbook, request, under_load, until

pytestmark = pytest.mark.long
SONGS = "/api/music/"
JSON = {"Content-Type": "application/json"}
LIST = f"docker exec {SERVER} berth-postgres patronictl list --format json"


def add(title: str) -> Answer:
    return request(SONGS, method="POST", body=json.dumps({"title": title, "artist": "db1"}), headers=JSON)


def states(host: str) -> dict[str, tuple[str, str]]:
    """Name -> role and state, as the page has the reader ask."""
    return {each["Member"]: (each["Role"], each["State"]) for each in json.loads(on(host, LIST))}


def leader(host: str) -> str:
    return next((name for name, (role, _state) in states(host).items() if role == "Leader"), "")


def whole(host: str) -> bool:
    """A server that was rewound waits for the primary's next record: it is asked for one."""
    if leads := leader(host):
        sql("select pg_log_standby_snapshot()", host=leads)
    return sorted(state for _role, state in states(host).values()) == ["running", "streaming", "streaming"]


def test_the_data_that_is_there_becomes_the_primarys() -> None:
    assert sorted(GROUPS["postgres"]) == [DATABASE, "db2", "db3"]
    assert add("Before").status == 201
    was = sql("select system_identifier from pg_control_system()")
    with under_load(SONGS) as load:
        run = playbook()
    assert run.rc == 0, run.told
    print(f"{len(load.lost)} of {load.sent} requests were lost while the server became a member")
    assert states(DATABASE)[DATABASE][0] == "Leader" and whole(DATABASE)
    assert sql("select system_identifier from pg_control_system()") == was
    assert "Before" in request(SONGS).text
    assert playbook().unchanged


def test_the_site_goes_on_without_the_host_that_was_there_first() -> None:
    on(DATABASE, f"docker kill --signal KILL {SERVER}")
    began = time.monotonic()
    until(lambda: add("Meanwhile").status == 201, 30, "songs can be added again")
    print(f"songs could be added again after {time.monotonic() - began:.1f} s")
    assert "Before" in request(SONGS).text
    on(DATABASE, f"docker start {SERVER}")
    until(lambda: whole("db2"), 120, "the cluster is whole")


def test_what_was_there_a_while_ago_comes_back_beside_it() -> None:
    leads = leader("db2")
    assert playbook(name="playbooks/backup.yml").rc == 0
    moment = datetime.datetime.now(datetime.timezone.utc)
    time.sleep(1)
    sql("delete from songs_song where title = 'Before'", host=leads)
    assert "Before" not in request(SONGS).text
    run = playbook(name="playbooks/restore.yml", variables={"to": f"{moment:%Y-%m-%d %H:%M:%S.%f}+00"})
    assert run.rc == 0, run.told
    restored = sql("select title from songs_song", container=f"{PROJECT}-postgres_restored", host=leads)
    assert "Before" in restored.split("\n")
    on(leads, f"docker rm --force {PROJECT}-postgres_restored")


def test_the_primary_is_handed_over() -> None:
    follows = next(name for name, (role, _state) in states("db2").items() if role == "Sync Standby")
    run = playbook(name="playbooks/switchover.yml", variables={"to": follows})
    assert run.rc == 0 and leader("db2") == follows, run.told
    until(lambda: request(SONGS).status == 200, 30, "the site answers")
