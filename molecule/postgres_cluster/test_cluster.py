# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A converged cluster: one leads, two follow, and clients reach whom they ask for."""

from __future__ import annotations

import json
import re
import shlex

from cluster import CLIENT, CONTAINER, READ, SERVERS, WRITE, primary, psql, synchronous, whole
from fleet import FLEET, GROUPS, HOSTS, PROJECT, container, inspect, on, playbook, processes, request

_WHO = """
import os, sys, psycopg
connection = psycopg.connect(host=sys.argv[1], port=sys.argv[2], dbname=os.environ["DATABASE_NAME"], user=os.environ["DATABASE_USER"],
    password=open("/run/secrets/database_password").read().strip(), sslmode=sys.argv[3], connect_timeout=3)
print(*connection.execute("SELECT pg_is_in_recovery(), inet_server_addr(), ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone())
"""


def ask(port: int, mode: str = "require", host: str = CLIENT) -> str:
    app = container(CLIENT, "django_uwsgi")
    return on(CLIENT, f"docker exec {app} python3 -c {shlex.quote(_WHO)} {HOSTS[host]['address']} {port} {mode} 2>&1", check=False)


def test_one_leads_and_the_others_follow_it_synchronously() -> None:
    assert whole() and len(SERVERS) == 3
    assert len(synchronous()) == 1 and synchronous() != [primary()]
    assert psql(primary(), "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == "1"


def test_writes_reach_the_primary_and_reads_a_replica() -> None:
    assert ask(WRITE).startswith("False ") and ask(WRITE).endswith(" True")
    assert ask(READ).startswith("True ")


POOLED = """
import os, sys, psycopg
known = dict(host="pgbouncer", port=6432, user=os.environ["DATABASE_USER"], sslmode="require", autocommit=True)
known["password"] = open("/run/secrets/database_password").read().strip()
def connect(name): return psycopg.connect(dbname=name, **known)
many = [connect(sys.argv[1]) for _ in range(40)]
servers = {each.execute("SELECT pg_backend_pid()").fetchone() for each in many for _ in range(3)}
recovers = [connect(name).execute("SELECT pg_is_in_recovery()").fetchone()[0] for name in (sys.argv[1], sys.argv[1] + "_replica")]
print(len(many), len(servers), *recovers)
"""


def test_the_project_goes_through_a_pool() -> None:
    """Forty connections are a few to the server; those that read are to a replica; nobody outside of the host can ask."""
    app = container(CLIENT, "django_uwsgi")
    told = on(CLIENT, f"docker exec {app} python3 -c {shlex.quote(POOLED)} {PROJECT}").split()
    assert told[0] == "40" and 1 <= int(told[1]) <= 10 and told[2:] == ["False", "True"], told
    pool = container(CLIENT, "pgbouncer")
    assert not inspect(CLIENT, pool)["HostConfig"]["PortBindings"]
    plain = "import psycopg; psycopg.connect(host='pgbouncer', port=6432, dbname='x', user='x', sslmode='disable')"
    assert "SSL required" in on(CLIENT, f"docker exec {app} python3 -c {shlex.quote(plain)} 2>&1", check=False)


def test_the_site_cannot_change_tables() -> None:
    app = container(CLIENT, "django_uwsgi")
    alter = re.sub("SELECT .* pg_backend_pid..", "ALTER TABLE songs_song ADD COLUMN oops int", _WHO)
    told = on(CLIENT, f"docker exec {app} python3 -c {shlex.quote(alter)} {HOSTS[CLIENT]['address']} {WRITE} require 2>&1", check=False)
    assert "must be owner of table songs_song" in told, told


def test_nobody_speaks_without_tls() -> None:
    assert "no encryption" in ask(WRITE, "disable")


def test_the_way_is_closed_to_other_hosts() -> None:
    other = next(host for host in GROUPS["postgres_gateway"] if host != CLIENT)
    assert re.search("closed the connection|reset by peer|SSL SYSCALL", ask(WRITE, host=other))


def test_the_site_answers_and_keeps_what_it_is_given() -> None:
    song, headers = json.dumps({"title": "Cluster", "artist": "db1"}), {"Content-Type": "application/json"}
    answer = request("/api/music/", method="POST", body=song, headers=headers)
    assert answer.status == 201, answer.text
    assert "Cluster" in request("/api/music/").text
    for host in SERVERS:
        assert psql(host, "SELECT count(*) FROM songs_song WHERE title = 'Cluster'") != "0"


def test_secrets_are_nowhere_but_in_their_files() -> None:
    secrets = FLEET["secrets"]
    assert len(secrets) >= 4
    for host in SERVERS:
        shown = on(host, f"docker inspect {CONTAINER}; ps -eo args; docker logs {CONTAINER} 2>&1")
        shown += on(host, f"cat /srv/berth/{PROJECT}/postgres/config/current/*")
        for name, secret in secrets.items():
            assert secret not in shown, f"{name} can be read on {host}"
    for host in GROUPS["django_uwsgi"]:
        names = [container(host, service) for service in ("django_uwsgi", "pgbouncer")]
        shown = on(host, "ps -eo args; " + "; ".join(f"docker inspect {name}; docker logs {name} 2>&1" for name in names))
        shown += on(host, f"find /srv/berth/{PROJECT} -path '*/config/*' -type f -exec cat {{}} +")
        for name, secret in secrets.items():
            assert secret not in shown, f"{name} can be read on {host}"


def test_members_are_confined() -> None:
    for host in SERVERS:
        for name in (CONTAINER, next(name for name in on(host, "docker ps --format '{{.Names}}'").split() if name.endswith("-etcd"))):
            limits = inspect(host, name)["HostConfig"]
            assert limits["ReadonlyRootfs"] and limits["CapDrop"] == ["ALL"], name
            assert inspect(host, name)["Config"]["User"].split(":")[0] != "0"


def test_a_second_run_changes_nothing() -> None:
    before, leader = processes(), primary()
    run = playbook()
    assert run.unchanged, run.told
    assert processes() == before and primary() == leader
