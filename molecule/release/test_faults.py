# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases that go wrong at every step: what serves, what is lost, and that the next run ends where a clean run ends."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import subprocess
import time
import typing as t
from pathlib import Path
from typing import Any

import pytest
from fleet import GROUPS, HOSTS, PROJECT, ROOT, Run, container, kill, on, playbook, processes, request, start, until
from losses import losses
from versions import BALANCER, DIRECTORY, URL, WEB, deploy, is_tidy, log, rollback, served, version

pytestmark = pytest.mark.long

# Enough to see a loss, and little enough to leave the processors to the playbooks.
FEW = ("--keep-alive", "3", "--new", "3", "--pause", "0.05")
DATABASE = GROUPS.get("postgres", [""])[0]
# Clients of the above: what a process that is killed may have been answering.
IN_FLIGHT = 6
# Two seconds after it has answered for the first time, however long it took to begin.
CRASHES_LATER = """
import os, threading
from django.core.wsgi import get_wsgi_application
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings.settings")
django = get_wsgi_application()
def application(environ, start_response):
    threading.Timer(2, lambda: os.kill(1, 2)).start()
    return django(environ, start_response)
"""
# In the middle of the switch: on the first host, as soon as visitors ask this instance.
CRASHES_WHEN_ASKED = """
import os, threading, time
def wait():
    while os.environ["BERTH_INSTANCE"] not in os.readlink("/run/uwsgi/current.sock"):
        time.sleep(0.05)
    os.kill(1, 2)
threading.Thread(target=wait, daemon=True).start()
from django.core.wsgi import get_wsgi_application
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings.settings")
application = get_wsgi_application()
"""
MIGRATION = """
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("songs", "0001_initial")]
    operations = [{}]
"""
VIEWS = (ROOT / "examples/music/songs/views.py").read_text()
# A release that has a column of its own, and uses it.
NOTED = {
    "songs/migrations/0002_note.py": MIGRATION.format("migrations.AddField('song', 'note', models.TextField(null=True))"),
    "songs/models.py": (ROOT / "examples/music/songs/models.py")
    .read_text()
    .replace("    play_count =", "    note = models.TextField(null=True)\n    play_count ="),
}


@pytest.fixture(autouse=True)
def good() -> t.Iterator[None]:
    """Whatever happened: the next run ends where a clean run ends, and the one after finds nothing to do."""
    if not serves_good():
        run = deploy(version("good"))
        assert run.rc == 0, run.told
    yield
    # Migrations of this test, which no other release knows.
    sql("SET lock_timeout = '5s'; ALTER TABLE songs_song DROP COLUMN IF EXISTS note")
    sql("DELETE FROM django_migrations WHERE app = 'songs' AND name > '0002'")
    run = deploy(version("good"))
    assert run.rc == 0, run.told
    again = deploy(version("good"))
    assert again.unchanged, again.told
    assert served() == {"good"}
    is_tidy()


def serves_good() -> bool:
    """A run of these tests that was stopped leaves a host that answers with an error."""
    with contextlib.suppress(AssertionError):
        return served() == {"good"}
    return False


def said(run: Run) -> str:
    """Its errors in one line: Ansible breaks long ones."""
    return " ".join(run.errors.split())


def psql() -> str:
    return f"docker exec {container(DATABASE, 'postgres')} psql -X -h /var/run/postgresql -U postgres -d {PROJECT}"


def sql(statement: str) -> None:
    on(DATABASE, f'{psql()} -c "{statement}"')


def told_by(question: str) -> str:
    return on(DATABASE, f'{psql()} -At -c "{question}"')


def migrating(name: str, operation: str) -> Any:
    return version(name, **{f"songs/migrations/0002_{name}.py": MIGRATION.format(operation)})


@pytest.mark.parametrize(
    ("name", "changes", "variables", "words"),
    [
        ("crashing", {"site_settings/wsgi.py": CRASHES_LATER}, {"django_uwsgi_bake": 6}, ["was healthy and then"]),
        (
            "unhealthy",
            {"songs/views.py": VIEWS.replace("SELECT 1", "SELECT nothing FROM songs_song")},
            {"django_uwsgi_start_wait": 15},
            ["did not become healthy within 15 s"],
        ),
        ("sick", {"songs/apps.py": "raise RuntimeError('no apps today')\n"}, {}, ["no apps today"]),
        ("missing", {}, {"django_uwsgi_image": "127.0.0.1:1/no/such:image"}, ["127.0.0.1:1/no/such:image"]),
        ("hook", {}, {"django_uwsgi_before_migrate": [{"command": "no_such_command"}]}, ["no_such_command"]),
        ("hooked", {}, {"django_uwsgi_after_switch": [{"command": "no_such_command"}]}, ["no_such_command", "was taken back"]),
    ],
)
def test_what_fails_is_taken_back(name: str, changes: dict[str, str], variables: dict[str, Any], words: list[str]) -> None:
    before = processes()
    with losses(URL, *FEW) as counted:
        run = deploy(version(name, **changes), **variables)
    assert run.rc != 0 and all(word in said(run) for word in words), run.told
    assert processes() == before, "something that ran was restarted, or something new was left"
    assert served() == {"good"} and counted["lost"] == 0, counted
    is_tidy()


def test_a_crash_when_the_first_host_has_switched_brings_the_one_before_back() -> None:
    """Only what it was answering when it was killed can be lost."""
    with losses(URL, *FEW) as counted:
        run = deploy(version("asked", **{"site_settings/wsgi.py": CRASHES_WHEN_ASKED}), django_uwsgi_pause=6)
    assert run.rc != 0 and "was taken back" in said(run), run.told
    assert served() == {"good"} and counted["sent"] > 100 and counted["lost"] <= IN_FLIGHT, counted


def test_a_migration_that_fails_half_way_leaves_what_came_before_it() -> None:
    """One of two is applied, and the old release serves on with it; of the other, nothing is left. Corrected, the deploy goes on."""
    first = MIGRATION.format("migrations.AddField('song', 'note', models.TextField(null=True))")
    second = MIGRATION.format("migrations.RunSQL('CREATE TABLE half (a int)'), migrations.RunSQL('SELECT 1 / 0')").replace(
        "0001_initial", "0002_first"
    )
    source = version("half-way", **{"songs/migrations/0002_first.py": first, "songs/migrations/0003_second.py": second})
    with losses(URL, *FEW) as counted:
        run = deploy(source)
    assert run.rc != 0 and "songs.0003_second" in said(run) and "division by zero" in said(run), run.told
    assert served() == {"good"} and counted["lost"] == 0, counted
    assert told_by("SELECT name FROM django_migrations WHERE name > '0002' AND app = 'songs'") == "0002_first"
    assert told_by("SELECT to_regclass('half') IS NULL") == "t"
    (source / "songs" / "migrations" / "0003_second.py").unlink()
    assert deploy(source).rc == 0
    assert served() == {"half-way"}


@pytest.mark.parametrize(
    ("name", "operation", "words"),
    [
        ("failing", "migrations.RunSQL('SELECT 1 / 0')", ["songs.0002_failing", "division by zero"]),
        ("unsafe", "migrations.RemoveField('song', 'artist')", ["songs.0002_unsafe", "allow_unsafe_migrations=true"]),
    ],
)
def test_a_migration_that_fails_or_would_hurt_stops_the_deploy(name: str, operation: str, words: list[str]) -> None:
    with losses(URL, *FEW) as counted:
        run = deploy(migrating(name, operation))
    assert run.rc != 0 and all(word in said(run) for word in words), run.told
    assert served() == {"good"} and counted["lost"] == 0, counted
    is_tidy()


def test_a_migration_gives_up_when_a_transaction_keeps_its_table() -> None:
    """Whoever waits for the lock makes every request wait behind it."""
    on(DATABASE, f"nohup {psql()} -c 'BEGIN; LOCK TABLE songs_song IN ACCESS SHARE MODE; SELECT pg_sleep(600)' >/dev/null 2>&1 &")
    try:
        source = migrating("waiting", "migrations.AddField('song', 'note', models.TextField(null=True))")
        with losses(URL, *FEW) as counted:
            run = deploy(source)
        assert run.rc != 0 and "another session kept a lock on the table for more than 2 s" in said(run), run.told
        assert served() == {"good"} and counted["lost"] == 0, counted
    finally:
        asleep = "query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()"
        sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {asleep}")
    assert deploy(source).rc == 0
    assert served() == {"waiting"}
    # The schema has gone on, in a way that the release before can live with.
    assert rollback().rc == 0
    assert served() == {"good"}


def unnoted(name: str, *operations: str) -> Any:
    """The release after NOTED, or one further on: each operation in a migration of its own."""
    migrations = {2: NOTED["songs/migrations/0002_note.py"]}
    for number, operation in enumerate(operations, 3):
        migrations[number] = MIGRATION.format(operation).replace("0001_initial", f"000{number - 1}_note")
    return version(name, **{f"songs/migrations/000{number}_note.py": text for number, text in migrations.items()})


def test_a_column_is_kept_while_a_release_that_was_gone_back_to_uses_it() -> None:
    """Those that are applied say that nobody does: the release that took it out of its models has served in between."""
    no_more = "migrations.SeparateDatabaseAndState(state_operations=[migrations.RemoveField('song', 'note')])"
    assert deploy(version("noted", **NOTED)).rc == 0
    assert deploy(unnoted("unnoted", no_more)).rc == 0
    assert rollback().rc == 0 and served() == {"noted"}
    dropping = unnoted("dropping", no_more, "migrations.RunSQL('ALTER TABLE songs_song DROP COLUMN note')")
    with losses(URL, *FEW) as counted:
        run = deploy(dropping)
    assert run.rc != 0 and "songs.0004_note" in said(run) and "allow_unsafe_migrations=true" in said(run), run.told
    assert served() == {"noted"} and counted["lost"] == 0, counted
    is_tidy()


@pytest.mark.parametrize("asks", ["SELECT 1", "SELECT note FROM songs_song LIMIT 1"], ids=["it would start", "it would not even start"])
def test_a_rollback_is_refused_when_the_schema_has_passed_the_release(asks: str) -> None:
    """The one before uses a column that has gone: refused without the insistence that a deploy needs for it, too."""
    assert deploy(version("noted", **NOTED, **{"songs/views.py": VIEWS.replace("SELECT 1", asks)})).rc == 0
    after = unnoted("unnoted", "migrations.RemoveField('song', 'note')")
    assert deploy(after).rc != 0 and served() == {"noted"}
    assert deploy(after, allow_unsafe_migrations=True).rc == 0
    before = processes()
    run = rollback(django_uwsgi_start_wait=15)
    assert run.rc != 0 and "songs.0003_note" in said(run), run.told
    assert processes() == before and served() == {"unnoted"}
    is_tidy()


STEPS = [
    "Ship the release",
    "Let no other deploy run beside this one",
    "Check the project's settings",
    "Run the project's commands before the migrations",
    "Migrate the database",
    "Run the project's commands after the migrations",
    "Keep the superuser",
    "Collect static files",
    "Start the release beside",
    "Make sure that no other deploy has begun",
    "Switch to the release",
    "Run the project's commands after the switch",
    "Look at it once more",
    "Stop the release before",
    "Let others deploy",
]
BACK_STEPS = ["Read what is on record", "Ship the release", "Switch to the release", "Stop the release before"]
HOOKS = {f"django_uwsgi_{hook}": [{"command": "note", "args": [hook]}] for hook in ("before_migrate", "after_migrate", "after_switch")}


@pytest.mark.parametrize(("number", "heading"), enumerate(STEPS), ids=STEPS)
def test_a_run_that_is_killed_at_any_step_is_completed_by_the_next(number: int, heading: str) -> None:
    source = version(f"killed-{number}")
    with losses(URL, *FEW) as counted:
        killed = start({"django_uwsgi_source": str(source), **HOOKS}, heading, "playbooks/deploy.yml")
        time.sleep(0 if heading == STEPS[-1] else 0.5)
        kill(killed)
        run = deploy(source, **HOOKS)
    assert run.rc == 0, run.told
    assert served() == {f"killed-{number}"}, [log(host) for host in WEB]
    assert counted["sent"] > 100 and counted["lost"] == 0, counted
    is_tidy()
    again = deploy(source)
    assert again.unchanged, again.told


@pytest.mark.parametrize("after", [0.2, 1.5])
def test_a_run_that_is_killed_while_it_takes_a_release_back(after: float) -> None:
    """Both hosts have switched, and switch back."""
    failing = {"django_uwsgi_source": str(version("failing-late")), "django_uwsgi_after_switch": [{"command": "no_such_command"}]}
    with losses(URL, *FEW) as counted:
        killed = start(failing, "Bring the release before back", "playbooks/deploy.yml")
        time.sleep(after)
        kill(killed)
        run = deploy(version("good"))
    assert run.rc == 0, run.told
    assert served() == {"good"} and counted["lost"] == 0, counted
    is_tidy()


def test_every_step_is_in_that_table() -> None:
    """Those that only ask, and those that this fleet has no use for, are not."""
    left_out = {
        "Prepare the database",
        "Bring what is missing",
        "Retire the release before",
        "Bring the release, or leave all as they are",
        "Bring the project to all of its hosts",
        "Name the release",
        "Refuse what cannot work",
        "Bring the static files",
        "Switch to it",
        "Ask whether all else is as it should be",
        "Ask whether the release can run on the database as it is",
        "Ask the project's other hosts whether it was deployed before",
        "Make sure that this is still the only deploy",
        "Let web servers on other hosts in, or no longer",
        "Remove the project from its hosts",
        # Web servers that are apart: molecule/apart.
        "Bring the static files to web servers on other hosts",
        "Have web servers on other hosts look into its static files first",
        "Have web servers on other hosts look into its static files again",
        # Of a rollback.
        "Let no deploy run beside this",
        "Find the release to go back to",
        "Find it",
        "Go back to it",
        "See to what its task has left open",
        "Start it where it waited for them",
        "Bring the static files to hosts that joined the project after it",
        # What comes when something has failed.
        "Say why there is none",
        "Bring the release before back",
        "Ask whether it can run on the database as it is",
        "Say what serves now",
    }
    files = ("main", "release", "go_on", "bring", "prepare", "static", "switch", "retire", "rollback", "go_back", "catch_up")
    text = "".join((ROOT / f"roles/django_uwsgi/tasks/{name}.yml").read_text() for name in files)
    names = set(re.findall(r"^ *- name: (.*)$", text, re.MULTILINE))
    assert left_out <= names
    assert not [name for name in names - left_out if not any(name.startswith(step) for step in (*STEPS, *BACK_STEPS))]


@pytest.mark.parametrize("heading", BACK_STEPS)
def test_a_rollback_that_is_killed_is_completed_by_the_next(heading: str) -> None:
    """By the same command: it does not go back from what was gone back to."""
    assert deploy(version("newer")).rc == 0
    with losses(URL, *FEW) as counted:
        killed = start({}, heading, "playbooks/rollback.yml")
        time.sleep(0.3)
        kill(killed)
        run = rollback()
    assert run.rc == 0, run.told
    assert served() == {"good"} and counted["lost"] == 0, counted
    is_tidy()


def test_two_operators_at_once_deploy_one_after_the_other() -> None:
    one, two = version("operator-1"), version("operator-2")
    with losses(URL, *FEW) as counted:
        first = start({"django_uwsgi_source": str(one), "django_uwsgi_bake": 30}, "Migrate the database", "playbooks/deploy.yml")
        second = deploy(two)
        assert first.stdout
        told = first.stdout.read()
        assert first.wait() == 0, told
    assert second.rc == 0 and "waiting for the deploy of" in second.out, second.told
    assert served() == {"operator-2"} and counted["lost"] == 0, counted
    is_tidy()


def test_an_operator_who_gives_up_waiting_takes_nothing_back() -> None:
    """Although it is the same release that he wanted to bring."""
    source = version("patient")
    first = start({"django_uwsgi_source": str(source), "django_uwsgi_bake": 30}, "Start the release beside", "playbooks/deploy.yml")
    second = deploy(source, django_uwsgi_deploy_wait=1)
    assert first.stdout
    told = first.stdout.read()
    assert first.wait() == 0, told
    assert second.rc != 0 and "another deploy of this project runs" in said(second), second.told
    assert served() == {"patient"}
    is_tidy()


def test_a_deploy_and_its_rollback_in_one_run(tmp_path: Path) -> None:
    """As a playbook of the operator's has it, which looks in between whether the site is well."""
    before = on(WEB[0], f"readlink {DIRECTORY}/static/current")
    both = tmp_path / "both.yml"
    both.write_text(json.dumps([{"import_playbook": str(ROOT / "playbooks" / f"{name}.yml")} for name in ("deploy", "rollback")]))
    run = playbook(name=str(both), variables={"django_uwsgi_source": str(version("tried"))})
    assert run.rc == 0, run.told
    audit = [json.loads(line) for line in on(WEB[0], f"cat {DIRECTORY}/django_uwsgi/releases.jsonl").splitlines()]
    tried, again = [each["release"] for each in audit if each["outcome"] == "serves"][-2:]
    assert tried != before and again == before and served() == {"good"}, run.told
    is_tidy()


def test_a_rollback_after_a_run_that_was_killed_goes_to_the_release_before_it() -> None:
    killed = start(
        {"django_uwsgi_source": str(version("killed-bad")), "django_uwsgi_pause": 20}, "Switch to the release", "playbooks/deploy.yml"
    )
    until(lambda: "killed-bad" in {served_by(host) for host in WEB}, 30, "the first host has switched")
    kill(killed)
    with losses(URL, *FEW) as counted:
        run = rollback()
    assert run.rc == 0, run.told
    assert served() == {"good"} and counted["lost"] == 0, counted
    is_tidy()


def test_static_files_of_a_release_are_on_every_host_before_any_serves_it() -> None:
    """A page comes from one host, what it names from another."""
    source = version("styled", **{"songs/static/songs/new.css": "p { color: red }\n"})
    run = start({"django_uwsgi_source": str(source), "django_uwsgi_pause": 6}, "Switch to the release", "playbooks/deploy.yml")
    newest = f"/srv/berth/{PROJECT}/static/kept/0"
    name = on(WEB[0], f"cd {newest} && ls songs/new.*.css | head -1")
    assert {request(f"/static/{name}", host, 8000).status for host in WEB} == {200}
    assert run.stdout
    told = run.stdout.read()
    assert run.wait() == 0, told


@pytest.mark.parametrize("number", [1, 0], ids=["the second", "the first, which has the lock"])
def test_a_host_that_is_lost_during_the_switch_brings_the_release_before_back_on_the_others(number: int) -> None:
    lost, other = WEB[number], WEB[1 - number]
    variables = {"django_uwsgi_source": str(version("half")), "django_uwsgi_pause": 10}
    with losses(f"http://{HOSTS[other]['address']}:8000/api/music/", *FEW) as counted:
        run = start(variables, "Switch to the release", "playbooks/deploy.yml")
        until(lambda: "half" in {served_by(host) for host in WEB}, 30, "the first host has switched")
        subprocess.run(["docker", "kill", HOSTS[lost]["machine"]], check=True, capture_output=True)
        assert run.stdout
        told = run.stdout.read()
    assert run.wait() != 0 and "was taken back" in " ".join(told.split()), told
    assert served_by(other) == "good" and counted["lost"] == 0, counted
    subprocess.run(["docker", "start", HOSTS[lost]["machine"]], check=True, capture_output=True)
    until(lambda: served_by(lost) in ("good", "half"), 120, "the machine and what ran on it come back by themselves")


def served_by(host: str) -> str:
    return request("/api/music/", host, 8000).headers.get("x-version", "none")


def test_a_full_disk_on_one_host_leaves_all_as_they_were() -> None:
    """Docker keeps there what it has pulled so far."""
    full, source, before = WEB[1], version("full"), processes()
    on(full, "mount -t tmpfs -o size=4k tmpfs /var/lib/docker/tmp")
    try:
        with losses(URL, *FEW) as counted:
            run = deploy(source)
    finally:
        on(full, "umount /var/lib/docker/tmp")
    assert run.rc != 0 and "no space left on device" in said(run), run.told
    assert processes() == before and served() == {"good"} and counted["lost"] == 0, counted
    is_tidy()
    assert deploy(source).rc == 0
    assert served() == {"full"}
    assert deploy(source).unchanged


def test_a_release_that_has_crashed_can_be_rolled_back() -> None:
    """Also when a migration came with it that the one before does not know: its image is asked in the place of its container."""
    assert deploy(migrating("crashed", "migrations.AddField('song', 'note', models.TextField(null=True))")).rc == 0
    for host in WEB:
        on(host, f"docker stop {container(host, 'django_uwsgi')}")
    run = rollback()
    assert run.rc == 0, run.told
    assert served() == {"good"}


def test_a_source_that_is_edited_during_its_deploy_is_another_release() -> None:
    """Also when the one that was begun has to be taken back."""
    source = version("edited")
    run = start(
        {"django_uwsgi_source": str(source), "django_uwsgi_after_switch": [{"command": "no_such_command"}]},
        "Start the release beside",
        "playbooks/deploy.yml",
    )
    (source / "songs" / "later.py").write_text("# saved while it was deployed\n")
    assert run.stdout
    told = " ".join(run.stdout.read().split())
    assert run.wait() != 0 and "no_such_command" in told and "was taken back" in told, told
    assert served() == {"good"}
    is_tidy()


@pytest.mark.parametrize(
    ("lives", "words"), [(False, "this one takes over"), (True, "another deploy of this project runs")], ids=["that ended", "that goes on"]
)
def test_the_lock_of_a_run_on_another_machine(lives: bool, words: str) -> None:
    """Judged by its SSH connection, and by when it was heard of."""
    session = on(WEB[0], "p=$(pgrep -o -x sshd); echo $p:$(cut -d' ' -f22 /proc/$p/stat)") if lives else "1:1"
    long_ago = time.time() - 8000
    held = {"run": "another boot/pid:[1]/1/1", "who": "bob@laptop", "since": long_ago, "seen": long_ago, "session": session}
    lock = f"{DIRECTORY}/django_uwsgi/deploy-lock.json"
    on(WEB[0], f"echo {shlex.quote(json.dumps(held))} > {lock}")
    try:
        run = deploy(version("locked"), django_uwsgi_deploy_wait=1)
        assert (run.rc == 0) is not lives and words in " ".join(run.out.split()), run.told
        assert served() == {"good" if lives else "locked"}
    finally:
        on(WEB[0], f"grep -q bob {lock} && rm {lock}", check=False)


def test_a_run_whose_lock_was_taken_and_given_back_stops() -> None:
    """It slept, and another one has deployed in between."""
    run = start({"django_uwsgi_source": str(version("slept")), "django_uwsgi_bake": 8}, "Start the release beside", "playbooks/deploy.yml")
    on(WEB[0], f"rm {DIRECTORY}/django_uwsgi/deploy-lock.json")
    assert run.stdout
    told = " ".join(run.stdout.read().split())
    assert run.wait() != 0 and "this deploy lost its lock to another one, which has finished" in told, told
    assert served() == {"good"}
    is_tidy()


def test_kept_releases_are_kept_and_others_pruned() -> None:
    for name in ("p1", "p2", "p3"):
        assert deploy(version(name), django_uwsgi_keep_releases=2).rc == 0
    for host in WEB:
        images = on(host, f"docker image ls --format '{{{{.Repository}}}}' | grep -c /{PROJECT}-app")
        directories = on(host, f"find /srv/berth/{PROJECT}/static -mindepth 1 -maxdepth 1 -type d -not -name kept").split()
        assert (int(images), len(directories)) == (2, 2), (images, directories)
    assert playbook(name="playbooks/rollback.yml").rc == 0
    assert served() == {"p2"}


def test_restarted_hosts_come_back_without_a_run() -> None:
    for host in (*WEB, BALANCER):
        subprocess.run(["docker", "restart", HOSTS[host]["machine"]], check=True, capture_output=True)
    until(lambda: served() == {"good"} and request("/api/music/").status == 200, 180, "the site serves")
    run = deploy(version("good"))
    assert run.unchanged, run.told
