# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases that go wrong at every step: what serves, what is lost, and that the next run ends where a clean run ends."""

from __future__ import annotations

import subprocess
import time
import typing as t
from typing import Any

import pytest
from fleet import GROUPS, HOSTS, PROJECT, Run, container, kill, on, playbook, processes, request, start, until
from losses import losses
from versions import BALANCER, URL, WEB, deploy, is_tidy, log, rollback, served, version

pytestmark = pytest.mark.long

# Enough to see a loss, and little enough to leave the processors to the playbooks.
FEW = ("--keep-alive", "3", "--new", "3", "--pause", "0.05")
DATABASE = GROUPS.get("postgres", [""])[0]
CRASHES_LATER = """
import os, threading
threading.Timer(2, lambda: os.kill(1, 2)).start()
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


@pytest.fixture(autouse=True)
def good() -> t.Iterator[None]:
    if served() != {"good"}:
        run = deploy(version("good"))
        assert run.rc == 0, run.told
    yield
    # Migrations of this test, which no other release knows.
    sql("SET lock_timeout = '5s'; ALTER TABLE songs_song DROP COLUMN IF EXISTS note")
    sql("DELETE FROM django_migrations WHERE app = 'songs' AND name LIKE '0002_%'")


def said(run: Run) -> str:
    """Its errors in one line: Ansible breaks long ones."""
    return " ".join(run.errors.split())


def psql() -> str:
    return f"docker exec {container(DATABASE, 'postgres')} psql -X -h /var/run/postgresql -U postgres -d {PROJECT}"


def sql(statement: str) -> None:
    on(DATABASE, f'{psql()} -c "{statement}"')


def migrating(name: str, operation: str) -> Any:
    return version(name, **{f"songs/migrations/0002_{name}.py": MIGRATION.format(operation)})


@pytest.mark.parametrize(
    ("name", "changes", "variables", "words"),
    [
        ("crashing", {"site_settings/wsgi.py": CRASHES_LATER}, {"django_uwsgi_bake": 6}, ["was healthy and then"]),
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
    again = deploy(version("good"))
    assert again.unchanged, again.told


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


def test_a_rollback_is_refused_when_the_schema_has_passed_the_release() -> None:
    dropping = migrating("dropping", "migrations.RemoveField('song', 'play_count')")
    text = (dropping / "songs" / "models.py").read_text()
    (dropping / "songs" / "models.py").write_text(text.replace("    play_count =", "    # play_count ="))
    assert deploy(dropping).rc != 0
    sql("ALTER TABLE songs_song ADD spare int")
    spare = migrating("spare", "migrations.RunSQL('ALTER TABLE songs_song DROP COLUMN spare')")
    assert deploy(spare, allow_unsafe_migrations=True).rc == 0
    before = processes()
    run = rollback()
    assert run.rc != 0 and "songs.0002_spare" in said(run), run.told
    assert processes() == before and served() == {"spare"}
    is_tidy()


STEPS = [
    "Ship the release",
    "Let no other deploy run beside this one",
    "Migrate the database",
    "Collect static files",
    "Start the release beside",
    "Make sure that no other deploy has begun",
    "Switch to the release",
    "Stop the release before",
    "Let others deploy",
]


@pytest.mark.parametrize(("number", "heading"), enumerate(STEPS), ids=STEPS)
def test_a_run_that_is_killed_at_any_step_is_completed_by_the_next(number: int, heading: str) -> None:
    source = version(f"killed-{number}")
    variables = {"django_uwsgi_source": str(source)}
    with losses(URL, *FEW) as counted:
        killed = start(variables, heading, "playbooks/deploy.yml")
        time.sleep(0.5)
        kill(killed)
        run = deploy(source)
    assert run.rc == 0, run.told
    assert served() == {f"killed-{number}"}, [log(host) for host in WEB]
    assert counted["sent"] > 100 and counted["lost"] == 0, counted
    is_tidy()
    again = deploy(source)
    assert again.unchanged, again.told


def test_two_operators_at_once_deploy_one_after_the_other() -> None:
    one, two = version("operator-1"), version("operator-2")
    with losses(URL, *FEW) as counted:
        first = start({"django_uwsgi_source": str(one), "django_uwsgi_bake": 10}, "Prepare the database", "playbooks/deploy.yml")
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
    first = start({"django_uwsgi_source": str(source), "django_uwsgi_bake": 15}, "Start the release beside", "playbooks/deploy.yml")
    second = deploy(source, django_uwsgi_deploy_wait=1)
    assert first.stdout
    told = first.stdout.read()
    assert first.wait() == 0, told
    assert second.rc != 0 and "another deploy of this project runs" in said(second), second.told
    assert served() == {"patient"}
    is_tidy()


def test_a_rollback_after_a_run_that_was_killed_goes_to_the_release_before_it() -> None:
    killed = start(
        {"django_uwsgi_source": str(version("killed-bad")), "django_uwsgi_pause": 20}, "Switch to the release", "playbooks/deploy.yml"
    )
    time.sleep(4)
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


def test_a_host_that_is_lost_during_the_switch_brings_the_release_before_back_on_the_others() -> None:
    lost, other = WEB[1], WEB[0]
    assert deploy(version("good")).rc == 0
    variables = {"django_uwsgi_source": str(version("half")), "django_uwsgi_pause": 8}
    run = start(variables, "Switch to the release", "playbooks/deploy.yml")
    time.sleep(3)
    subprocess.run(["docker", "kill", HOSTS[lost]["machine"]], check=True, capture_output=True)
    assert run.stdout
    told = run.stdout.read()
    assert run.wait() != 0 and "was taken back" in " ".join(told.split()), told
    assert served_by(other) == "good"
    subprocess.run(["docker", "start", HOSTS[lost]["machine"]], check=True, capture_output=True)
    until(lambda: served_by(lost) in ("good", "half"), 120, "the machine and what ran on it come back by themselves")
    final = deploy(version("good"))
    assert final.rc == 0, final.told
    assert served() == {"good"}
    is_tidy()


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
