# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Django modules as an operator runs them, against PostgreSQL: what they predict, what they do, and what they never show."""

from __future__ import annotations

import subprocess
import typing as t

import pytest
from app import HOSTS
from fleet import on
from scratch import (
    ADD_LABEL,
    ADD_YEAR,
    MIGRATIONS,
    SERVICE,
    STATIC,
    add_migration,
    columns,
    environment,
    fresh,
    fresh_schema,
    module,
    module_command,
    recorded,
    said,
    sql,
)
from watched import watched

WEB, OTHER = HOSTS if HOSTS else ("", "")
WAIT_A_WHILE = "migrations.RunSQL('SELECT pg_sleep(12)')"
FAIL = "migrations.RunPython(fail)"
PASSWORD = "Correct-Horse-1-Battery"
ROTATED = "Another-Horse-2-Battery"


@pytest.fixture(scope="module", autouse=True)
def projects() -> t.Iterator[None]:
    for host in HOSTS:
        fresh(host)
    fresh_schema()
    yield
    for host in HOSTS:
        module(host, "container_service", service=SERVICE, state="absent")


@pytest.fixture
def migrated() -> t.Iterator[None]:
    """The project as it was delivered, its schema complete; what a test added to either is gone afterwards."""
    fresh_schema()
    assert "songs.0001_initial" in migrate()["applied"]
    yield
    for host in HOSTS:
        on(host, f"rm -f {MIGRATIONS}/000[2-9]*.py")


@pytest.fixture
def running() -> t.Iterator[str]:
    """The name of a container that runs the project, and does nothing."""
    started = module(WEB, "container_service", service=SERVICE)
    assert not started.failed, started.shown
    yield on(WEB, "docker ps --filter label=berth.project=scratch --format '{{.Names}}'")
    module(WEB, "container_service", service=SERVICE, state="absent")


def migrate(*options: str, **arguments: t.Any) -> dict[str, t.Any]:
    where = {} if "container" in arguments else {"service": SERVICE}
    done = module(WEB, "django_migrate", *options, **where, **arguments)
    assert not done.failed, done.shown
    return {**done.result, "shown": done.shown}


# --- django_migrate -----------------------------------------------------------------------------------------------------------------------


def test_check_mode_tells_exactly_what_would_run(migrated: None) -> None:
    assert migrate("--check")["applied"] == [], "nothing is pending"
    add_migration(WEB, "0002_year", "0001_initial", ADD_YEAR)
    add_migration(WEB, "0003_label", "0002_year", ADD_LABEL)
    predicted = migrate("--check", "--diff")
    assert predicted["changed"] and predicted["applied"] == ["songs.0002_year", "songs.0003_label"]
    for statement in ('+ALTER TABLE "songs_song" ADD COLUMN "year" integer', '+ALTER TABLE "songs_song" ADD COLUMN "label" varchar(50)'):
        assert statement in predicted["shown"], predicted["shown"]
    assert not {"year", "label"} & columns() and recorded() == {"0001_initial"}, "asking changed the database"
    done = migrate()
    assert done["applied"] == predicted["applied"] and {"year", "label"} <= columns()
    again = migrate()
    assert not again["changed"] and again["applied"] == []


def test_of_two_at_once_one_waits_and_finds_nothing_left(migrated: None) -> None:
    for host in HOSTS:
        add_migration(host, "0002_slow", "0001_initial", WAIT_A_WHILE)
    runs = [
        subprocess.Popen(
            module_command(host, "django_migrate", service=SERVICE),
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for host in HOSTS
    ]
    both = [said(run.communicate(timeout=300)[0]) for run in runs]
    assert not any(each.failed for each in both), both
    worked, waited = sorted((each.result for each in both), key=lambda result: not result["changed"])
    assert worked["applied"] == ["songs.0002_slow"] and not worked["waited_for"]
    assert not waited["changed"] and waited["applied"] == []
    assert "migrate by " in waited["waited_for"] and "ansible process" in waited["waited_for"], waited["waited_for"]
    assert any("waited for another migration: migrate by " in each.shown for each in both)
    assert recorded() == {"0001_initial", "0002_slow"}


@pytest.mark.long
def test_failing_migration_tells_what_was_kept(migrated: None) -> None:
    add_migration(WEB, "0002_year", "0001_initial", ADD_YEAR)
    add_migration(WEB, "0003_data", "0002_year", FAIL)
    add_migration(WEB, "0004_label", "0003_data", ADD_LABEL)
    done = module(WEB, "django_migrate", service=SERVICE)
    assert done.failed and done.result["applied"] == ["songs.0002_year"] and done.result["changed"], done.shown
    assert done.result["msg"].startswith("the migration songs.0003_data failed: ValueError: no year"), done.result["msg"]
    assert done.result["msg"].endswith("Done before it, and kept: songs.0002_year")
    assert recorded() == {"0001_initial", "0002_year"} and "label" not in columns()
    assert migrate("--check")["applied"] == ["songs.0003_data", "songs.0004_label"], "the next run goes on where this one failed"


@pytest.mark.long
def test_backwards_to_one_migration(migrated: None) -> None:
    add_migration(WEB, "0002_year", "0001_initial", ADD_YEAR)
    add_migration(WEB, "0003_label", "0002_year", ADD_LABEL)
    migrate()
    back = {"app": "songs", "migration": "0001"}
    predicted = migrate("--check", "--diff", **back)
    assert predicted["unapplied"] == ["songs.0003_label", "songs.0002_year"] and predicted["applied"] == []
    assert '+ALTER TABLE "songs_song" DROP COLUMN "label"' in predicted["shown"], predicted["shown"]
    assert "label" in columns(), "asking changed the database"
    done = migrate(**back)
    assert done["changed"] and done["unapplied"] == predicted["unapplied"] and not {"year", "label"} & columns()
    assert not migrate(**back)["changed"]
    assert migrate(app="auth")["applied"] == [], "another app is left alone"
    assert migrate(app="songs", migration="0002")["applied"] == ["songs.0002_year"] and "label" not in columns()


@pytest.mark.long
def test_fake_records_and_touches_nothing(migrated: None) -> None:
    add_migration(WEB, "0002_year", "0001_initial", ADD_YEAR)
    done = migrate("--diff", fake=True)
    assert done["changed"] and done["applied"] == ["songs.0002_year"] and "ADD COLUMN" not in done["shown"]
    assert recorded() == {"0001_initial", "0002_year"} and "year" not in columns()
    assert migrate(app="songs", migration="0001", fake=True)["unapplied"] == ["songs.0002_year"]
    assert recorded() == {"0001_initial"}


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"app": "song"}, "the project has no app 'song' with migrations"),
        ({"app": "songs", "migration": "0009"}, "songs has no migration that begins with '0009'"),
        ({"database": "replica"}, "the project has no database 'replica', but default"),
        ({"migration": "0001"}, "missing parameter(s) required by 'migration': app"),
    ],
)
def test_migrate_refuses(arguments: dict[str, t.Any], words: str) -> None:
    done = module(WEB, "django_migrate", service=SERVICE, **arguments)
    assert done.failed and words in done.result["msg"], done.shown


# --- django_superuser ---------------------------------------------------------------------------------------------------------------------


def superuser(password: str, *options: str, **arguments: t.Any) -> dict[str, t.Any]:
    done = module(WEB, "django_superuser", *options, service=SERVICE, username="boss", password=password, **arguments)
    assert not done.failed, done.shown
    return {**done.result, "shown": done.shown}


def test_superuser_is_kept_and_its_password_never_shown(migrated: None) -> None:
    stored = "SELECT password FROM scratch.auth_user WHERE username = 'boss' AND is_superuser AND is_staff AND is_active"
    with watched(WEB) as seen:
        shown = module(WEB, "ansible.builtin.ping", data="told-to-syslog").shown
        assert superuser(PASSWORD, "--check")["created"] and not sql(stored), "asking created it"
        created = superuser(PASSWORD, "-vvv", "--diff")
        assert created["changed"] and created["created"]
        first = sql(stored)
        same = superuser(PASSWORD)
        assert not same["changed"] and sql(stored) == first
        predicted = superuser(ROTATED, "--check", "--diff")
        assert predicted["updated"] == ["password"] and sql(stored) == first, "asking changed it"
        rotated = superuser(ROTATED, "-vvv", "--diff")
        assert rotated["changed"] and not rotated["created"] and rotated["updated"] == ["password"]
        assert not superuser(ROTATED)["changed"], "rotated once"
        assert first and sql(stored) not in ("", first)
    shown += "".join(run["shown"] for run in (created, same, predicted, rotated))
    assert "manage.py shell" in seen.arguments and "told-to-syslog" in seen.syslog, "nothing was watched"
    for password in (PASSWORD, ROTATED):
        assert password not in shown and password not in seen.arguments and password not in seen.syslog


@pytest.mark.long
def test_secret_of_several_lines_is_shown_nowhere() -> None:
    """Ansible's own masking misses those in syslog."""
    stdin = "from pathlib import Path\nread = Path('/run/secrets/private_key').read_text()\nprint('last' in read, 'third-secret'[:0])\n"
    with watched(WEB) as seen:
        shown = module(WEB, "ansible.builtin.ping", data="told-to-syslog").shown
        read = module(WEB, "django_command", "-vvv", service=SERVICE, command="shell", stdin=stdin)
        broken = module(WEB, "django_command", "-vvv", service=SERVICE, command="shell", stdin=f"{stdin}raise ValueError('no year')")
        started = module(WEB, "container_service", "-vvv", "--diff", service=SERVICE)
        gone = module(WEB, "container_service", "-vvv", "--diff", service=SERVICE, state="absent")
    assert "True" in read.result.get("stdout", "") and broken.failed and started.result["changed"] and gone.result["changed"], read.shown
    assert "told-to-syslog" in seen.syslog and "manage.py shell" in seen.arguments, "nothing was watched"
    shown += read.shown + broken.shown + started.shown + gone.shown
    for line in ("first-line-of-a-secret", "last-line-of-a-secret", "third-secret"):
        assert line not in seen.syslog and line not in seen.arguments and line not in shown, line


# --- django_collectstatic -----------------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_collectstatic_counts_what_changed() -> None:
    def collect(*options: str, **arguments: t.Any) -> dict[str, t.Any]:
        done = module(WEB, "django_collectstatic", *options, service=SERVICE, root="/srv/static", **arguments)
        assert not done.failed, done.shown
        return done.result

    def files() -> int:
        return int(on(WEB, f"find {STATIC} -type f | wc -l"))

    first = collect()
    assert first["changed"] and first["copied"] > 100 and not first["deleted"] and files() >= first["copied"], first
    again = collect()
    assert not again["changed"] and again["copied"] == 0 and again["unmodified"] == first["copied"], again
    on(WEB, f"rm {STATIC}/admin/css/base.css")
    assert collect("--check")["copied"] == 1 and int(on(WEB, f"ls {STATIC}/admin/css/base.css 2>/dev/null | wc -l")) == 0
    mended = collect()
    assert mended["changed"] and mended["copied"] == 1, mended
    before = files()
    cleared = collect(clear=True)
    assert cleared["changed"] and cleared["copied"] == first["copied"] and cleared["deleted"] == before, cleared
    assert collect(ignore=["admin"])["copied"] == 0


# --- django_command -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_command_is_changed_as_it_is_told(migrated: None) -> None:
    def command(name: str, *options: str, **arguments: t.Any) -> dict[str, t.Any]:
        done = module(WEB, "django_command", *options, service=SERVICE, command=name, **arguments)
        assert not done.failed, done.shown
        return done.result

    assert command("clearsessions")["changed"], "nobody knows better"
    looked = command("showmigrations", args=["--plan", "songs"], read_only=True)
    assert not looked["changed"] and "[X]  songs.0001_initial" in looked["stdout"] and looked["exit_code"] == 0
    assert "[X]  songs.0001_initial" in command("showmigrations", "--check", args=["--plan", "songs"], read_only=True)["stdout"]
    found = {"args": ["songs"], "changed_pattern": r"^ \[X\] 0001"}
    assert command("showmigrations", **found)["changed"]
    assert not command("showmigrations", **{**found, "changed_pattern": r"^\[X\] 0001"})["changed"]
    group = "from django.contrib.auth.models import Group; Group.objects.create(name='made')"
    predicted = command("shell", "--check", args=["--command", group])
    assert predicted["changed"] and predicted["unknown"] == ["what manage.py shell would do"]
    assert sql("SELECT count(*) FROM scratch.auth_group") == "0", "asking ran it"
    assert command("shell", args=["--command", group])["changed"]
    assert sql("SELECT name FROM scratch.auth_group") == "made"


@pytest.mark.long
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ({"command": "no_such_command"}, "Unknown command: 'no_such_command'"),
        ({"command": "loaddata", "args": ["no-such-file"]}, "No fixture named 'no-such-file' found."),
        ({"command": "shell", "args": ["--command", "raise ValueError('no year')"]}, "ValueError: no year"),
        ({"command": "check", "changed_pattern": "("}, "changed_pattern is not a regular expression"),
    ],
)
def test_failing_command_is_one_clear_error(command: dict[str, t.Any], words: str) -> None:
    done = module(WEB, "django_command", service=SERVICE, **command)
    assert done.failed and words in done.result["msg"] and len(done.result["msg"]) < 400, done.shown
    assert on(WEB, "docker ps -aq --filter label=berth.throwaway") == "", "its container was left behind"


# --- in a container that runs -------------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_all_of_them_in_a_running_container(migrated: None, running: str) -> None:
    """Through the container's own entry point, without which the secrets would be missing."""
    before = on(WEB, f"docker inspect --format '{{{{.State.Pid}}}}' {running}")
    add_migration(WEB, "0002_year", "0001_initial", ADD_YEAR)
    assert migrate("--check", container=running)["applied"] == ["songs.0002_year"] and "year" not in columns()
    assert migrate(container=running)["applied"] == ["songs.0002_year"] and "year" in columns()
    made = module(WEB, "django_superuser", container=running, username="inside", password=PASSWORD)
    assert made.result["created"] and PASSWORD not in made.shown
    told = module(WEB, "django_command", container=running, command="showmigrations", args=["songs"], read_only=True)
    assert "[X] 0002_year" in told.result["stdout"], told.shown
    assert on(WEB, f"docker inspect --format '{{{{.State.Pid}}}}' {running}") == before


@pytest.mark.long
def test_timeout_ends_the_command_inside(running: str) -> None:
    """Ending the client alone would leave it running in there."""
    sleeping = "import time; time.sleep(7531)"
    for where in ({"container": running}, {"service": SERVICE}):
        done = module(WEB, "django_command", command="shell", args=["--command", sleeping], timeout=8, **where)
        assert done.failed and "manage.py shell failed: no answer within its timeout" in done.result["msg"], done.shown
        assert on(WEB, "pgrep -f 'time[.]sleep.7531' || true") == "", "it goes on inside"


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"container": "no-such-container"}, "there is no container no-such-container on this host"),
        ({"container": "x", "service": SERVICE}, "parameters are mutually exclusive: service|container"),
        ({}, "one of the following is required: service, container"),
    ],
)
def test_which_container_has_to_be_clear(arguments: dict[str, t.Any], words: str) -> None:
    done = module(WEB, "django_command", command="check", **arguments)
    assert done.failed and words in done.result["msg"], done.shown
