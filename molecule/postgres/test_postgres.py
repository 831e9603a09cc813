# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A converged server: who gets in and who does not, what it holds, what can be seen of it."""

from __future__ import annotations

import functools
import json
from pathlib import Path

from fleet import FLEET, HOSTS, PROJECT, inspect, on, playbook
from psql import APP, APP_PASSWORD, CONTAINER, DIRECTORY, HOST, STRANGER, SUPERUSER_PASSWORD, connect, converge, server, sql


def test_client_is_owner_and_nothing_more() -> None:
    said = connect("SELECT current_user, rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user")
    assert (said.rc, said.text) == (0, f"{PROJECT}|f|f|f")
    assert connect("CREATE TABLE IF NOT EXISTS made (x int); DROP TABLE made").rc == 0
    assert connect("CREATE ROLE other").rc != 0


def test_the_role_that_serves_reads_and_writes_what_the_owner_makes_and_no_more() -> None:
    assert connect("CREATE TABLE shelf (id bigserial, name text)").rc == 0
    try:
        serve = functools.partial(connect, role=APP, password=APP_PASSWORD)
        assert serve("INSERT INTO shelf (name) VALUES ('a'), ('b'); UPDATE shelf SET name = 'c' WHERE id = 1").rc == 0
        assert serve("DELETE FROM shelf WHERE id = 2; SELECT name FROM shelf").text.splitlines()[-1] == "c"
        for statement in ("DROP TABLE shelf", "ALTER TABLE shelf ADD year int", "TRUNCATE shelf", "CREATE TABLE mine (id int)"):
            said = serve(statement)
            assert said.rc != 0 and ("must be owner" in said.text or "permission denied" in said.text), (statement, said)
    finally:
        connect("DROP TABLE shelf")


def test_the_rest_of_the_fleet_is_rejected() -> None:
    said = connect("SELECT 1", host=STRANGER)
    assert said.rc != 0 and "no pg_hba.conf entry" in said.text


def test_wrong_password_other_role_and_other_database_are_rejected() -> None:
    assert "password authentication failed" in connect("SELECT 1", password="wrong").text
    assert "no pg_hba.conf entry" in connect("SELECT 1", role="postgres", password=SUPERUSER_PASSWORD, database="postgres").text
    assert "no pg_hba.conf entry" in connect("SELECT 1", database="postgres").text
    assert "no pg_hba.conf entry" in connect("SELECT 1", database="template1").text


def test_passwords_are_scram_and_the_cluster_has_checksums() -> None:
    verifiers = sql("SELECT rolname || ' ' || left(rolpassword, 14) FROM pg_authid WHERE rolcanlogin ORDER BY 1").splitlines()
    assert verifiers == [f"{role} SCRAM-SHA-256$" for role in (PROJECT, APP, "postgres")]
    assert sql("SHOW data_checksums") == "on"
    assert sql("SELECT count(*) FROM pg_hba_file_rules WHERE auth_method NOT IN ('scram-sha-256', 'peer')") == "0"


def test_database_is_as_described() -> None:
    owner = "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datlocprovider, datlocale, datacl FROM pg_database"
    assert sql(f"{owner} WHERE datname = '{PROJECT}'") == f"{PROJECT}|UTF8|b|C.UTF-8|{{{PROJECT}=CTc/{PROJECT},{APP}=c/{PROJECT}}}"
    assert sql("SELECT extname FROM pg_extension ORDER BY 1", PROJECT).split() == ["pg_trgm", "plpgsql"]


def test_settings_follow_from_the_memory() -> None:
    shown = sql("SELECT name || '=' || current_setting(name) FROM pg_settings WHERE name IN ('shared_buffers', 'effective_cache_size')")
    assert sorted(shown.split()) == ["effective_cache_size=384MB", "shared_buffers=128MB"]
    assert inspect(HOST, CONTAINER)["HostConfig"]["Memory"] == 512 * 2**20


def test_container_is_confined() -> None:
    seen = inspect(HOST, CONTAINER)
    limits = seen["HostConfig"]
    assert seen["Config"]["User"] == "10004:10004" and seen["Config"]["StopSignal"] == "SIGINT"
    assert limits["ReadonlyRootfs"] and limits["CapDrop"] == ["ALL"] and limits["ShmSize"] == 256 * 2**20
    assert limits["PortBindings"] == {"5432/tcp": [{"HostIp": HOSTS[HOST]["address"], "HostPort": "5432"}]}
    assert on(HOST, f"stat -c '%u %a' {DIRECTORY}/data {DIRECTORY}/data/17").split("\n") == ["10004 700", "10004 700"]


def test_secrets_are_nowhere_but_in_their_file() -> None:
    assert all(len(secret) >= 32 for secret in FLEET["secrets"].values())
    shown = on(HOST, f"docker inspect {CONTAINER}; ps -eo args; docker logs {CONTAINER} 2>&1; cat {DIRECTORY}/config/current/*")
    shown += sql("SELECT name, setting FROM pg_settings")
    for name, secret in FLEET["secrets"].items():
        assert secret not in shown and json.dumps(secret)[1:-1] not in shown, f"{name} can be read on {HOST}"
    assert "SCRAM-SHA-256$" not in shown, "a verifier is in the log"
    assert on(HOST, f"stat -c '%u %a' {DIRECTORY}/secrets/*/superuser_password") == "10004 400"


def test_second_run_changes_nothing_in_two_module_executions(tmp_path: Path) -> None:
    counts = tmp_path / "counts.json"
    counting = {
        "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).resolve().parents[2] / "tests" / "callback"),
        "ANSIBLE_CALLBACKS_ENABLED": "count_executions",
        "BERTH_EXECUTIONS_FILE": str(counts),
    }
    before = server()
    run = playbook(name="molecule/postgres/role.yml", environment=counting)
    assert run.unchanged, run.out
    assert server() == before
    assert json.loads(counts.read_text())["per_host"][HOST] == 2


def test_check_mode_predicts_exactly() -> None:
    before = server()
    wanted = {"postgres_settings": {"work_mem": "9MB"}, "postgres_extensions": ["pg_trgm", "unaccent"]}
    predicted = converge("--check", "--diff", **wanted)
    assert predicted.rc == 0 and predicted.changed[HOST] == 2, predicted.out
    assert "+work_mem = '9MB'" in predicted.out and "unaccent" in predicted.out
    assert sql("SHOW work_mem") == "4MB" and server() == before
    assert converge("--check").unchanged
