# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is lost, and what is not: no acknowledged write, ever; one writable server at a time; writes again within half a minute."""

from __future__ import annotations

import time

import pytest
from cluster import CONTAINER, SERVERS, ledger, primary, psql, synchronous, whole
from fleet import HOSTS, PROJECT, on, playbook, request, restart_engine, until

# Seconds until writes are acknowledged again.
FAILOVER, HANDOVER = 30, 5


@pytest.fixture(autouse=True)
def whole_before() -> None:
    until(whole, 120, "the cluster is whole")


# What the container began with; its restart policy does not bring back what Docker was told to kill.
KILLED = f"docker kill --signal KILL {CONTAINER}"
POSTMASTER = f"docker exec {CONTAINER} sh -c 'kill -9 $(head -1 $PGDATA/postmaster.pid)'"
FAULTS = {
    "the postmaster is killed": (POSTMASTER, ""),
    "the primary's container is killed": (KILLED, f"docker start {CONTAINER}"),
    "the primary is frozen beyond its ttl, and thawed": (f"docker pause {CONTAINER}", f"docker unpause {CONTAINER}"),
}
SHORT = ("the primary's container is killed",)


@pytest.mark.parametrize("what", [name if name in SHORT else pytest.param(name, marks=pytest.mark.long) for name in FAULTS])
def test_no_acknowledged_write_is_lost(what: str) -> None:
    breaks, heals = FAULTS[what]
    before = primary()
    with ledger() as told:
        on(before, breaks)
        time.sleep(FAILOVER)
        if heals:
            on(before, heals)
            time.sleep(10)
    assert told.lost == [] and told.two_at_once == [], told.two_at_once
    assert told.pause <= FAILOVER
    assert request("/api/music/").status == 200, "the site needs no restart"


def test_the_primary_is_cut_off_from_everyone_and_comes_back() -> None:
    before = primary()
    with ledger() as told:
        cut(before)
        try:
            time.sleep(FAILOVER)
        finally:
            mend(before)
        time.sleep(10)
        assert primary() != before
    assert told.lost == [] and told.two_at_once == [], told.two_at_once
    assert told.pause <= FAILOVER


@pytest.mark.long
def test_the_engine_of_the_primary_is_restarted() -> None:
    with ledger() as told:
        restart_engine(primary())
        time.sleep(10)
    assert told.lost == [] and told.two_at_once == [] and told.pause <= FAILOVER


@pytest.mark.long
def test_the_synchronous_replica_is_killed() -> None:
    (replica,) = synchronous()
    with ledger() as told:
        on(replica, KILLED)
        time.sleep(FAILOVER)
        on(replica, f"docker start {CONTAINER}")
    assert told.lost == [] and told.two_at_once == [] and told.pause <= FAILOVER


@pytest.mark.long
@pytest.mark.parametrize("how_many", [1, len(SERVERS)], ids=["one member", "all members"])
def test_etcd_is_lost_for_a_minute(how_many: int) -> None:
    """Without a majority, failsafe keeps a primary that still reaches all of its replicas."""
    hosts = SERVERS[:how_many]
    before = primary()
    with ledger() as told:
        for host in hosts:
            on(host, "docker pause $(docker ps --quiet --filter name=-etcd)")
        time.sleep(60)
        for host in hosts:
            on(host, "docker unpause $(docker ps --quiet --filter name=-etcd)")
        time.sleep(10)
    assert told.lost == [] and told.two_at_once == [] and told.pause <= HANDOVER
    assert primary() == before


def test_another_image_goes_through_the_cluster_without_a_lost_write() -> None:
    """Replicas first; the primary hands over."""
    with ledger() as told:
        run = playbook("--limit", "postgres", variables={"postgres_shm_size": "300m"})
    assert run.rc == 0, run.told
    assert told.lost == [] and told.two_at_once == []
    print(f"writes paused for {told.pause:.1f} s")
    assert told.pause <= FAILOVER
    with ledger() as told:
        run = playbook("--limit", "postgres")
    assert run.rc == 0 and told.lost == [], run.told
    assert playbook().unchanged


def test_a_switchover_pauses_writes_and_loses_none() -> None:
    before = primary()
    with ledger() as told:
        run = playbook(name="playbooks/switchover.yml")
    assert run.rc == 0 and f"{primary()} is the primary of" in run.out, run.told
    assert primary() != before
    assert told.lost == [] and told.two_at_once == []
    assert told.pause <= HANDOVER, told.pause
    back = playbook(name="playbooks/switchover.yml", variables={"to": "db9"})
    assert back.rc != 0 and "'db9' is no member of the cluster" in back.errors, back.told


def test_a_dropped_table_comes_back_on_every_member() -> None:
    """In the place of the cluster: the members copy what was restored, and the site goes on with it."""
    psql(primary(), "drop table if exists treasure; create table treasure as select generate_series(1, 1000) as number")
    moment = psql(primary(), "select clock_timestamp()")
    time.sleep(1)
    psql(primary(), "drop table treasure")
    run = playbook(name="playbooks/restore.yml", variables={"to": moment, "in_place": PROJECT})
    assert run.rc == 0, run.told
    until(whole, 120, "the cluster is whole")
    assert {psql(host, "select count(*) from treasure") for host in SERVERS} == {"1000"}
    until(lambda: request("/api/music/").status == 200, 60, "the site answers")
    assert playbook().unchanged
    proved = playbook(name="playbooks/restore_drill.yml")
    assert proved.rc == 0, proved.told


def cut(host: str) -> None:
    """From every other machine of the lab; this test's own way in is another one."""
    rules(host, "-I")


def mend(host: str) -> None:
    rules(host, "-D")


def rules(host: str, action: str) -> None:
    others = [HOSTS[other]["address"] for other in HOSTS if other != host]
    chains = [f"iptables {action} {chain} -j DROP" for chain in ("INPUT -s {0}", "OUTPUT -d {0}", "FORWARD -s {0}", "FORWARD -d {0}")]
    on(host, "; ".join(chain.format(address) for address in others for chain in chains))
