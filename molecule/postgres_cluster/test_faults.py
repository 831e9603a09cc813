# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is lost, and what is not: no acknowledged write, ever; one writable server at a time; writes again within half a minute."""

from __future__ import annotations

import contextlib
import time
import typing as t

import pytest
from cluster import CONTAINER, SERVERS, ledger, members, primary, psql, reads, synchronous, whole
from fleet import GROUPS, HOSTS, PROJECT, container, on, playbook, request, restart_engine, start, under_load, until

ETCD, POSTGRES, PATRONI = 2379, 5432, 8008

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
    # The first process of its container, which the restart policy brings back.
    "Patroni is killed": (f"kill -9 $(docker inspect --format '{{{{.State.Pid}}}}' {CONTAINER})", ""),
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
@pytest.mark.parametrize("signal", ["TERM", "KILL"])
def test_the_engine_of_the_primary_is_restarted(signal: str) -> None:
    with ledger() as told:
        restart_engine(primary(), signal)
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


@pytest.mark.long
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


@pytest.mark.long
def test_a_switchover_pauses_writes_and_loses_none() -> None:
    before = primary()
    with ledger() as told, reads() as answers:
        run = playbook(name="playbooks/switchover.yml")
    assert run.rc == 0 and f"{primary()} is the primary of" in run.out, run.told
    assert primary() != before
    assert told.lost == [] and told.two_at_once == []
    assert told.pause <= HANDOVER, told.pause
    assert answers.pause <= HANDOVER and len(answers.acknowledged) > 50, "reads go on"
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


@pytest.mark.long
def test_the_drill_proves_the_backup_of_a_cluster() -> None:
    proved = playbook(name="playbooks/restore_drill.yml")
    assert proved.rc == 0 and "can be restored" in proved.out, proved.told


@pytest.mark.long
def test_the_primary_is_cut_off_from_etcd() -> None:
    """It still reaches every member, so nobody takes over, and it goes on (failsafe)."""
    before, began = primary(), int(time.time())
    with ledger() as told:
        with cut_off(before, ETCD, from_everyone=True):
            time.sleep(FAILOVER)
        time.sleep(10)
    assert told.lost == [] and told.two_at_once == [], told.two_at_once
    assert told.pause <= HANDOVER and primary() == before
    assert "failsafe" in on(before, f"docker logs --since {began} {CONTAINER} 2>&1"), "it did not notice"


@pytest.mark.long
@pytest.mark.parametrize("port", [POSTGRES, PATRONI], ids=["the replicas", "their Patroni"])
def test_the_primary_is_cut_off_from_other_members(port: int) -> None:
    """Without replicas, writes wait until they are given up; etcd knows who leads."""
    before = primary()
    with ledger() as told:
        with cut_off(before, port):
            time.sleep(FAILOVER)
        time.sleep(10)
    assert told.lost == [] and told.two_at_once == [], told.two_at_once
    assert told.pause <= FAILOVER and primary() == before


@pytest.mark.long
def test_all_of_etcd_and_then_a_replica_are_lost() -> None:
    """Failsafe needs every member: the primary gives up, and comes back with etcd."""
    before = primary()
    replica = next(host for host in SERVERS if host != before)
    etcd = "docker {0} $(docker ps --quiet --filter name=-etcd)"
    with ledger() as told:
        for host in SERVERS:
            on(host, etcd.format("pause"))
        time.sleep(10)
        on(replica, KILLED)
        time.sleep(40)
        for host in SERVERS:
            on(host, etcd.format("unpause"))
        healed = time.time()
        on(replica, f"docker start {CONTAINER}")
        time.sleep(FAILOVER)
    assert told.lost == [] and told.two_at_once == [], told.two_at_once
    given_up = [moment for moment in told.moments if healed - 10 < moment < healed]
    assert given_up == [], "a primary that nobody can vouch for went on"
    assert any(moment > healed for moment in told.moments) and whole()


@pytest.mark.long
@pytest.mark.parametrize("which", ["the primary", "the synchronous replica"])
def test_the_volume_of_the_data_is_full(which: str) -> None:
    """Data and log share it. Where a server cannot write, another one does; with space again, it follows."""
    host = synchronous()[0]
    with small_volume(host) as directory:
        until(whole, 120, "the cluster is whole")
        make_synchronous(host)
        if which == "the primary":
            assert playbook(name="playbooks/switchover.yml", variables={"to": host}).rc == 0
        assert host == (primary() if which == "the primary" else synchronous()[0])
        with ledger() as told:
            on(host, f"dd if=/dev/zero of={directory}/full bs=1M 2>/dev/null; true", timeout=120)
            # A segment of the log that is there already is not full yet.
            filled = (
                "create table if not exists filler (x text); insert into filler select repeat('x', 1000) from generate_series(1, 40000)"
            )
            psql(primary(), filled, check=False)
            time.sleep(FAILOVER)
            on(host, f"rm {directory}/full")
            time.sleep(20)
        assert told.lost == [] and told.two_at_once == [], told.two_at_once
        assert told.pause <= FAILOVER
    until(whole, 120, "the cluster is whole")


@pytest.mark.long
def test_without_synchronous_replicas_writes_are_lost() -> None:
    """The naive way, so that the ledger is known to see a loss: a replica is promoted while it lacks what was acknowledged."""
    assert playbook("--limit", "postgres", variables={"postgres_synchronous": "off"}).rc == 0
    try:
        until(lambda: synchronous() == [], 60, "nobody follows synchronously")
        before = primary()
        with ledger() as told:
            with cut_off(before, POSTGRES):
                time.sleep(5)
                on(before, KILLED)
                time.sleep(FAILOVER)
            on(before, f"docker start {CONTAINER}")
            time.sleep(15)
        assert told.lost, "nothing was lost: the ledger would not see a loss"
    finally:
        run = playbook("--limit", "postgres")
    assert run.rc == 0, run.told


@pytest.mark.long
def test_a_run_meets_a_failover() -> None:
    """It ends in success, or in a clean error; the next one mends what is left."""
    with ledger() as told:
        running = start({"postgres_shm_size": "320m"}, until_told="Converge the member")
        on(primary(), KILLED)
        out, _ = running.communicate(timeout=900)
        print(out[-1500:])
        # A container that somebody killed is somebody's to start.
        for host in SERVERS:
            on(host, f"docker start {CONTAINER}", check=False)
    assert told.lost == [] and told.two_at_once == [], told.two_at_once
    assert "Traceback" not in out, out[-3000:]
    run = playbook()
    assert run.rc == 0, run.told
    assert playbook().unchanged


@pytest.mark.long
def test_a_member_that_lost_its_disk_is_made_anew() -> None:
    (replica,) = synchronous()
    with ledger() as told:
        on(replica, f"docker rm --force {CONTAINER} {CONTAINER}_backup; rm -rf /srv/berth/{PROJECT}/postgres")
        run = playbook()
    assert run.rc == 0, run.told
    assert told.lost == [] and told.pause <= FAILOVER
    assert whole() and playbook().unchanged


@pytest.mark.long
def test_a_cluster_that_was_taken_down_comes_back() -> None:
    """With the next run, whoever may lead: the first host of the group may not."""
    last = SERVERS[-1]
    if primary() != last:
        make_synchronous(last)
        assert playbook(name="playbooks/switchover.yml", variables={"to": last}).rc == 0
    make_synchronous(SERVERS[1])
    for host in (SERVERS[0], SERVERS[1], last):
        on(host, f"docker stop --time 60 {CONTAINER} && docker rm {CONTAINER}")
    run = playbook()
    assert run.rc == 0 and whole(), run.told
    assert request("/api/music/").status == 200
    assert playbook().unchanged


@pytest.mark.long
def test_the_pool_is_replaced_and_nobody_notices() -> None:
    pools = {host: container(host, "pgbouncer") for host in GROUPS["pgbouncer"]}
    with under_load("/api/music/") as load:
        run = playbook(variables={"pgbouncer_pool_size": 12})
    assert run.rc == 0 and load.lost == [] and load.sent > 50, (run.told, load.lost)
    assert all(container(host, "pgbouncer") != name for host, name in pools.items()), "it was not replaced"
    with under_load("/api/music/") as load:
        run = playbook()
    assert run.rc == 0 and load.lost == [], (run.told, load.lost)
    assert pools == {host: container(host, "pgbouncer") for host in pools}


@pytest.mark.long
def test_a_pool_that_cannot_work_is_tried_on_the_side() -> None:
    before = {host: container(host, "pgbouncer") for host in GROUPS["pgbouncer"]}
    with under_load("/api/music/") as load:
        run = playbook(variables={"pgbouncer_server_port": 9})
    assert run.rc != 0 and load.lost == [], (run.told, load.lost)
    assert {host: container(host, "pgbouncer") for host in before} == before


@pytest.mark.long
def test_a_member_is_taken_out_and_leaves_nothing() -> None:
    """Last in this file: it is made a member again by the run that follows."""
    leader = primary()
    leaves = next(host for host in SERVERS if host not in (leader, *synchronous()))
    refused = playbook(name="playbooks/remove_host.yml", variables={"host": leader})
    assert refused.rc != 0 and f"{leader} is the primary of" in refused.errors and whole(), refused.told
    unknown = playbook(name="playbooks/remove_host.yml", variables={"host": "db9"})
    assert unknown.rc != 0 and "host is db9, and the members" in unknown.errors, unknown.told
    with ledger(wait_for=len(SERVERS) - 1) as told:
        run = playbook(name="playbooks/remove_host.yml", variables={"host": leaves})
        assert run.rc == 0, run.told
        assert leaves not in members()
        assert psql(leader, f"select count(*) from pg_replication_slots where slot_name = '{leaves}'") == "0"
        assert f"{PROJECT}-postgres" not in on(leaves, "docker ps --all --format '{{.Names}}'")
    assert told.lost == [] and told.pause <= HANDOVER
    back = playbook()
    assert back.rc == 0 and whole(), back.told


def cut(host: str) -> None:
    """From every other machine of the lab; this test's own way in is another one."""
    rules(host, "-I")


def mend(host: str) -> None:
    rules(host, "-D")


def rules(host: str, action: str) -> None:
    others = [HOSTS[other]["address"] for other in HOSTS if other != host]
    chains = [f"iptables {action} {chain} -j DROP" for chain in ("INPUT -s {0}", "OUTPUT -d {0}", "FORWARD -s {0}", "FORWARD -d {0}")]
    on(host, "; ".join(chain.format(address) for address in others for chain in chains))


@contextlib.contextmanager
def cut_off(host: str, port: int, from_everyone: bool = False) -> t.Iterator[None]:
    """From one port of every other database host, and they from its own; or all of the host's containers from that port anywhere. What is
    established goes, too.
    """
    to_port = f"-p tcp -m conntrack --ctorigdstport {port} -j DROP"
    others = [HOSTS[other]["address"] for other in SERVERS if other != host]
    ways = [f"{chain} {to_port}" for chain in ("INPUT", "FORWARD")] if from_everyone else []
    ways = ways or [f"FORWARD -{way} {other} {to_port}" for other in others for way in "sd"]
    on(host, "; ".join(f"iptables -I {way}" for way in ways))
    try:
        yield
    finally:
        on(host, "; ".join(f"iptables -D {way}" for way in ways))


def make_synchronous(host: str) -> None:
    """Patroni keeps whoever is, as long as that one follows."""
    other = next(each for each in SERVERS if each not in (host, primary()))
    on(other, f"docker stop --time 60 {CONTAINER}")
    until(lambda: synchronous() == [host], 60, f"{host} follows synchronously")
    on(other, f"docker start {CONTAINER}")
    until(whole, 120, "the cluster is whole")


@contextlib.contextmanager
def small_volume(host: str) -> t.Iterator[str]:
    """A file system of its own below the server's data, of 1 GB; afterwards its data is where it was."""
    directory = f"/srv/berth/{PROJECT}/postgres/data"
    stop, begin = f"docker stop --time 60 {CONTAINER}", f"docker start {CONTAINER}"
    on(host, f"{stop} && mkdir -p /mnt/small && mount -t tmpfs -o size=1g tmpfs /mnt/small && cp -a {directory}/. /mnt/small/")
    on(host, f"mount --bind /mnt/small {directory} && chown --reference={directory}/17 {directory} && chmod 700 {directory} && {begin}")
    try:
        yield directory
    finally:
        on(host, f"{stop}; umount {directory} && rm -rf {directory}/17 && cp -a /mnt/small/17 {directory}/ && umount /mnt/small && {begin}")
