# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that is changed, broken, replaced and taken over: what it interrupts, what it refuses, and that the data is there after it."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from fleet import PROJECT, on, until
from psql import CONTAINER, DIRECTORY, HOST, PASSWORD, STRANGER, connect, converge, image, server, sql

FILES = Path(__file__).parent / "files"
ROWS = "SELECT string_agg(title, ',' ORDER BY title) FROM song"


@pytest.fixture(scope="module", autouse=True)
def two_songs() -> t.Iterator[None]:
    """What must be there after everything below; the server ends as the inventory says."""
    made = connect("DROP TABLE IF EXISTS song; CREATE TABLE song (title text); INSERT INTO song VALUES ('one'), ('two')")
    assert made.rc == 0, made.text
    yield
    run = converge()
    assert run.rc == 0, run.out
    assert connect(ROWS).text == "one,two"


@pytest.fixture
def taken_back() -> t.Iterator[None]:
    """After a test that leaves the server otherwise than the inventory says."""
    yield
    run = converge()
    assert run.rc == 0, run.out


def test_reload_where_that_suffices(taken_back: None) -> None:
    before = server()
    run = converge(postgres_settings={"work_mem": "9MB"}, postgres_hba=["host all all 192.0.2.0/24 reject"])
    assert run.rc == 0 and run.changed[HOST] == 1, run.out
    assert sql("SHOW work_mem") == "9MB"
    assert sql("SELECT count(*) FROM pg_hba_file_rules WHERE address = '192.0.2.0'") == "1"
    assert server() == before, "a reload would have been enough"


@pytest.mark.long
def test_new_client_is_admitted_by_a_reload(taken_back: None) -> None:
    assert connect("SELECT 1", host=STRANGER).rc != 0
    before = server()
    assert converge(postgres_client_group="all").rc == 0
    assert connect("SELECT 1", host=STRANGER).text == "1"
    assert connect("SELECT 1", host=HOST).text == "1", "a container on the database's own host"
    assert server() == before


def test_restart_only_when_the_server_says_so(taken_back: None) -> None:
    identity, process, _started = server()
    wanted = {"max_connections": 60}
    run = converge(postgres_settings=wanted)
    assert run.rc == 0 and "max_connections" in run.out, run.out
    assert sql("SHOW max_connections") == "60" and sql("SELECT count(*) FROM pg_settings WHERE pending_restart") == "0"
    assert server()[0] == identity and server()[1] != process, "restarted, not replaced"
    assert converge(postgres_settings=wanted).unchanged
    assert connect(ROWS).text == "one,two"


REFUSED: list[tuple[str, dict[str, t.Any], list[str]]] = [
    ("more memory than there is", {"postgres_settings": {"shared_buffers": "500GB"}}, ["postgresql.conf:", "shared_buffers = '500GB'"]),
    ("more memory than allowed", {"postgres_settings": {"shared_buffers": "2GB"}}, ["postgresql.conf line ", "the container has 512 MB"]),
    ("unknown setting", {"postgres_settings": {"no_such_setting": 1}}, ["postgresql.conf", "line ", "no_such_setting"]),
    ("value out of range", {"postgres_settings": {"work_mem": -7}}, ["postgresql.conf:", "work_mem = -7"]),
    ("what the role decides", {"postgres_settings": {"port": 1}}, ["postgres_settings has port, which the role sets itself"]),
    ("broken address", {"postgres_hba": ["host all all 10.0.0.0/33 scram-sha-256"]}, ["line 5", "pg_hba.conf", "10.0.0.0/33"]),
    ("broken method", {"postgres_hba": ["local all all trusty"]}, ["line 5", "pg_hba.conf", "trusty"]),
    ("missing extension", {"postgres_extensions": ["postgis"]}, ["does not hold the extension postgis", "postgres_packages"]),
    ("another password", {"postgres_password": "x" * 24 + "Passwört"}, ["postgres_password", "change_password=true"]),
    ("encoding of an existing database", {"postgres_encoding": "LATIN1"}, ["has encoding UTF8", "cannot be changed in place"]),
    ("missing image", {"postgres_image": "127.0.0.1:1/no/such:image"}, ["127.0.0.1:1/no/such:image"]),
]


# With every `make test`; the rest of the table is for `make test-faults`.
SHORT = ("more memory than there is", "broken address")


@pytest.mark.parametrize(
    ("variables", "words"),
    [pytest.param(*case[1:], id=case[0], marks=[] if case[0] in SHORT else [pytest.mark.long]) for case in REFUSED],
)
def test_refused_and_nothing_touched(variables: dict[str, t.Any], words: list[str]) -> None:
    before = server(), on(HOST, f"readlink {DIRECTORY}/config/current"), sql("SHOW berth.generation")
    run = converge(**variables)
    assert run.rc != 0, run.out
    assert all(word in run.out for word in words), run.out
    assert (server(), on(HOST, f"readlink {DIRECTORY}/config/current"), sql("SHOW berth.generation")) == before
    assert connect(ROWS).text == "one,two"


@pytest.mark.long
def test_what_only_the_running_server_rejects() -> None:
    """The candidate is sound, and its reload is not: somebody broke a file of the data directory. The proof notices."""
    automatic = f"{DIRECTORY}/data/17/postgresql.auto.conf"
    on(HOST, f"cp -p {automatic} /root/auto.conf && echo 'no_such_setting = 1' >> {automatic}")
    before = server(), on(HOST, f"readlink {DIRECTORY}/config/current")
    try:
        run = converge(postgres_settings={"work_mem": "9MB"})
        assert run.rc != 0 and "did not take its new configuration" in run.out and "no_such_setting" in run.out, run.out
        assert (server(), on(HOST, f"readlink {DIRECTORY}/config/current")) == before
        assert sql("SHOW work_mem") == "4MB" and connect(ROWS).text == "one,two"
    finally:
        on(HOST, f"cp -p /root/auto.conf {automatic}")


def test_data_survives_replacing_the_container(taken_back: None) -> None:
    before = server()
    run = converge(postgres_memory="640m")
    assert run.rc == 0 and server()[0] != before[0], run.out
    assert connect(ROWS).text == "one,two" and sql("SHOW shared_buffers") == "160MB"


@pytest.mark.long
def test_data_survives_losing_the_container() -> None:
    on(HOST, f"docker rm --force {CONTAINER}")
    predicted = converge("--check")
    assert predicted.rc == 0 and predicted.changed[HOST] == 2, predicted.out
    run = converge()
    assert run.rc == 0 and run.changed[HOST] == 1, "role and database are there already"
    assert connect(ROWS).text == "one,two"


def test_killed_server_comes_back_without_a_run() -> None:
    _identity, process, _started = server()
    on(HOST, f"kill -KILL {process}")
    until(lambda: server()[1] not in (0, process), 30, "the restart policy brings it back")
    until(lambda: connect(ROWS).text == "one,two", 30, "it recovered")


@pytest.mark.long
@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ("17/PG_VERSION", ["holds data of PostgreSQL 16", "PostgreSQL 17 cannot read it"]),
        ("16/PG_VERSION", ["holds data of PostgreSQL 16 and none of PostgreSQL 17", "would start empty"]),
        ("PG_VERSION", ["holds data of PostgreSQL 16 and none of PostgreSQL 17"]),
        ("17/music.mp3", ["is not empty and holds no PostgreSQL cluster"]),
    ],
)
def test_data_of_another_major_is_refused(layout: str, words: list[str]) -> None:
    other = f"{DIRECTORY}-other"
    file = f"{other}/data/{layout}"
    on(HOST, f"mkdir -p $(dirname {file}) && echo 16 > {file} && chown -R 10004:10004 {other}/data && chmod 700 {other}/data")
    before = server()
    try:
        run = converge(postgres_directory=other)
        assert run.rc != 0 and all(word in run.out for word in words), run.out
        assert server() == before and connect(ROWS).text == "one,two"
    finally:
        on(HOST, f"rm -rf {other}")


@pytest.mark.long
def test_a_replica_of_a_cluster_is_no_server_of_its_own() -> None:
    """Its host was left in the inventory alone: it would never take a write."""
    other = f"{DIRECTORY}-other"
    data = f"{other}/data/17"
    on(HOST, f"mkdir -p {data} && echo 17 > {data}/PG_VERSION && touch {data}/standby.signal && chown -R 10004:10004 {other}/data")
    try:
        run = converge(postgres_directory=other)
        assert run.rc != 0 and "is a replica of a cluster" in run.out, run.out
        assert connect(ROWS).text == "one,two"
    finally:
        on(HOST, f"rm -rf {other}")


@pytest.mark.long
def test_killed_initialisation_is_begun_again() -> None:
    """A cluster is made beside its place, so that half of one is never started."""
    other = f"{DIRECTORY}-other"
    on(HOST, f"mkdir -p {other}/data/17.initdb && echo 17 > {other}/data/17.initdb/PG_VERSION && chown -R 10004:10004 {other}/data")
    try:
        run = converge(postgres_directory=other)
        assert run.rc == 0, run.out
        assert connect("SELECT to_regclass('song') IS NULL").text == "t", "another directory, another cluster"
        assert on(HOST, f"ls {other}/data") == "17"
        assert converge().rc == 0 and connect(ROWS).text == "one,two"
    finally:
        on(HOST, f"rm -rf {other}")


@pytest.mark.long
def test_rotated_passwords() -> None:
    new = "another-Passwört'-" + "x" * 24
    wanted = {"postgres_password": new, "postgres_superuser_password": f"{new}-2"}
    predicted = converge("--check", **wanted)
    assert predicted.rc != 0 and "change_password=true" in predicted.out and new not in predicted.out, predicted.out
    try:
        run = converge(**wanted, change_password=True)
        assert run.rc == 0 and new not in run.out, run.out
        assert connect("SELECT 1", password=new).text == "1"
        assert "password authentication failed" in connect("SELECT 1", password=PASSWORD).text
        assert converge(**wanted).unchanged, "told to change it once only"
        assert "Passw" not in on(HOST, f"docker logs {CONTAINER} 2>&1")
    finally:
        run = converge(change_password=True)
    assert run.rc == 0, run.out


@pytest.mark.long
def test_drift_is_taken_back() -> None:
    sql(f"ALTER ROLE {PROJECT} SUPERUSER CREATEDB VALID UNTIL '2020-01-01'")
    sql(f"GRANT CONNECT ON DATABASE {PROJECT} TO PUBLIC")
    sql(f"ALTER DATABASE {PROJECT} OWNER TO postgres")
    sql("DROP EXTENSION pg_trgm", PROJECT)
    predicted = converge("--check", "--diff")
    run = converge("--diff")
    assert run.rc == 0 and run.changed == predicted.changed and run.changed[HOST] == 1, run.out
    assert "SUPERUSER" in predicted.out
    assert sql(f"SELECT rolsuper, rolcreatedb, rolvaliduntil FROM pg_authid WHERE rolname = '{PROJECT}'") == "f|f|infinity"
    assert (
        sql(
            f"SELECT pg_get_userbyid(datdba), has_database_privilege('public', oid, 'CONNECT') FROM pg_database WHERE datname = '{PROJECT}'"
        )
        == f"{PROJECT}|f"
    )
    assert converge().unchanged


@pytest.mark.long
def test_look_alike_of_the_official_image() -> None:
    """Its own entry point, uid and data: set two variables, and the role is the same."""
    build("lookalike")
    other = f"{DIRECTORY}-lookalike"
    its = {"postgres_image": "dd-lookalike", "postgres_user": "999:999"}
    before = server()
    refused = converge(**its)
    assert refused.rc != 0 and "belongs to uid 10004, and the server runs as uid 999" in refused.out, refused.out
    assert server() == before and connect(ROWS).text == "one,two"
    assert on(HOST, f"stat -c %u {DIRECTORY}/config/current/* | sort -u") == "10004", "the running server could not read its files again"
    wanted = {**its, "postgres_directory": other}
    try:
        run = converge(**wanted)
        assert run.rc == 0, run.out
        assert connect("SELECT current_user").text == PROJECT
        assert sql("SHOW data_checksums") == "on" and sql("SHOW shared_buffers") == "128MB"
        assert converge(**wanted).unchanged
        before = server()
        refused = converge(**wanted, postgres_hba=["host all all 10.0.0.0/33 scram-sha-256"])
        assert refused.rc != 0 and "10.0.0.0/33" in refused.out and server() == before, refused.out
        assert converge(**wanted, postgres_settings={"work_mem": "9MB"}).rc == 0
        assert server() == before and sql("SHOW work_mem") == "9MB"
    finally:
        run = converge()
        on(HOST, f"rm -rf {other}")
    assert run.rc == 0 and connect(ROWS).text == "one,two"


@pytest.mark.long
def test_patroni_adopts_the_directory() -> None:
    """A copy of the data, the very same config directory as custom_conf, and Patroni in the place of the server."""
    build("patroni")
    copy = "/srv/berth/patroni"
    on(HOST, f"docker stop {CONTAINER} && rm -rf {copy} && cp -a {DIRECTORY}/data {copy} && docker start {CONTAINER}")
    mounts = {copy: "/var/lib/postgresql/data", f"{DIRECTORY}/config": "/etc/berth"}
    bound = " ".join(f"--mount type=bind,source={source},target={target}" for source, target in mounts.items())
    confined = "--user 10004:10004 --read-only --cap-drop ALL --tmpfs /tmp --tmpfs /run/postgresql:uid=10004,gid=10004"
    on(HOST, f"docker run -d --name dd-patroni {confined} {bound} dd-patroni")
    try:
        until(lambda: patroni()["role"] == "primary", 60, "Patroni leads")
        assert patroni()["state"] == "running"
        words = "docker exec dd-patroni psql -XAtq -h /var/run/postgresql -U postgres"
        assert on(HOST, f"{words} -c 'SHOW shared_buffers'") == "128MB"
        assert on(HOST, f"{words} -c 'SHOW berth.generation'") == sql("SHOW berth.generation")
        assert on(HOST, f'{words} -d {PROJECT} -c "{ROWS}"') == "one,two"
    except AssertionError as error:
        raise AssertionError(f"{error}\n{on(HOST, 'docker logs --tail 40 dd-patroni 2>&1')}") from error
    finally:
        on(HOST, f"docker rm --force dd-patroni; rm -rf {copy}")


def patroni() -> dict[str, t.Any]:
    ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8008/patroni').read().decode())"
    return json.loads(on(HOST, f'docker exec dd-patroni python3 -c "{ask}"'))


def build(name: str) -> None:
    """An image from files/<name> on top of the role's own, made on the database's host."""
    for file in (FILES / name).iterdir():
        on(HOST, f"mkdir -p /root/{name} && cat > /root/{name}/{file.name} << 'END_OF_FILE'\n{file.read_text()}\nEND_OF_FILE")
    on(HOST, f"DOCKER_BUILDKIT=0 docker build --quiet --tag dd-{name} --build-arg BASE={image()} /root/{name}", timeout=600)
