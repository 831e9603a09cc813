# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is backed up without anybody asking for it, and who may read it."""

from __future__ import annotations

import re

from backups import DATABASE, RECEIVER, REPOSITORY, SCHEDULE, SERVER, STORED, archived, backups, sql
from fleet import FLEET, HOSTS, PROJECT, inspect, on, playbook, processes, request, until

# pgBackRest itself, with nothing but what is said here: with the server's certificate, and with one that anybody can make.
ASK = "env -i PATH=/usr/bin pgbackrest --no-config --log-level-console=warn --repo1-host-type=tls --repo1-host-ca-file=/run/secrets/ca.pem"
KNOWN = "--repo1-host-cert-file=/run/secrets/tls.pem --repo1-host-key-file=/run/secrets/tls.key"
STRANGER = "--repo1-host-cert-file=/tmp/made.pem --repo1-host-key-file=/tmp/made.key"
MAKE = f"openssl req -x509 -newkey rsa:2048 -nodes -subj /CN={DATABASE} -keyout /tmp/made.key -out /tmp/made.pem"


def test_the_site_answers() -> None:
    assert request("/health/").status == 200


def test_the_first_backup_is_made_at_once() -> None:
    until(backups, 120, "there is a backup")
    assert backups()[0]["type"] == "full" and not backups()[0]["error"]


def test_what_is_written_is_in_the_archive_soon() -> None:
    """At the latest after postgres_archive_timeout, which is 10 s here, with nobody asking for it."""
    sql("create table if not exists quiet (number int); insert into quiet values (1)")
    segment = sql("select pg_walfile_name(pg_current_wal_lsn())")
    until(lambda: sql(f"select last_archived_wal >= '{segment}' from pg_stat_archiver") == "t", 30, f"{segment} is archived")


def test_nothing_in_the_repository_can_be_read() -> None:
    sql("create table if not exists canary (word text); insert into canary values ('peregrine-falcon')")
    archived()
    assert int(on(REPOSITORY, f"find {STORED} -type f | wc -l")) > 3
    for word in ("peregrine-falcon", "PostgreSQL", "songs_song", "backup-info"):
        assert on(REPOSITORY, f"find {STORED} -type f -exec sh -c 'gzip -dcf {{}} | grep -ac {word}' \\; | sort -u") == "0", word


def test_nobody_else_is_answered() -> None:
    """Who has no certificate of the fleet, and who has one and asks for what is not its own."""
    ask = f"docker exec {SERVER} {ASK} --repo1-host={HOSTS[REPOSITORY]['address']}"
    assert "status: ok" in on(DATABASE, f"{ask} {KNOWN} --stanza={PROJECT} info")
    assert "access denied" in on(DATABASE, f"{ask} {KNOWN} --stanza=another info 2>&1", check=False)
    on(DATABASE, f"docker exec {SERVER} {MAKE}")
    assert re.search("unknown ca|TLS error", on(DATABASE, f"{ask} {STRANGER} --stanza={PROJECT} info 2>&1", check=False))


def test_the_database_speaks_tls_only() -> None:
    assert sql("show ssl") == "on"
    assert sql(f"select count(*) from pg_stat_ssl join pg_stat_activity using (pid) where usename = '{PROJECT}' and not ssl") == "0"
    assert sql("select count(*) from pg_hba_file_rules where type in ('host', 'hostnossl')") == "0"


def test_secrets_are_nowhere_but_in_their_files() -> None:
    for host, container in ((REPOSITORY, RECEIVER), (REPOSITORY, SCHEDULE), (DATABASE, SERVER), (DATABASE, f"{SERVER}_backup")):
        shown = on(host, f"docker inspect {container}; docker logs {container} 2>&1; ps -eo args")
        shown += on(host, f"find /srv/berth/{PROJECT} -path '*/config/*' -type f -exec cat {{}} +")
        for name, secret in FLEET["secrets"].items():
            assert secret and secret not in shown, f"{name} can be read on {host}"


def test_containers_are_confined() -> None:
    for host, container in ((REPOSITORY, RECEIVER), (REPOSITORY, SCHEDULE), (DATABASE, f"{SERVER}_backup")):
        limits, user = inspect(host, container)["HostConfig"], inspect(host, container)["Config"]["User"]
        assert limits["ReadonlyRootfs"] and limits["CapDrop"] == ["ALL"] and limits["Memory"] and user.split(":")[0] != "0", container
    mounts = {mount["Destination"]: mount["RW"] for mount in inspect(DATABASE, f"{SERVER}_backup")["Mounts"]}
    assert not mounts["/var/lib/postgresql/data"], "what copies the data can change it"


def test_a_second_run_changes_nothing() -> None:
    before = processes()
    run = playbook()
    assert run.unchanged, run.told
    assert processes() == before
