# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator is promised of a release. Lost means: asked once, and not answered."""

from __future__ import annotations

import time

from fleet import container, on, playbook, processes, request
from losses import losses
from versions import URL, WEB, deploy, log, rollback, served, state, version

DROPPING = """
from django.db import migrations

class Migration(migrations.Migration):
    dependencies = [("songs", "0001_initial")]
    operations = [migrations.RemoveField("song", "artist")]
"""
LOAD = ("--keep-alive", "4", "--new", "4", "--slow", "1", "--uploads", "1", "--pause", "0.03")


def test_a_deploy_loses_nothing() -> None:
    assert deploy(version("one")).rc == 0
    with losses(URL, *LOAD) as counted:
        run = deploy(version("two"))
    assert run.rc == 0 and "[WARNING]" not in run.out, run.told
    assert served() == {"two"}, [log(host) for host in WEB]
    assert counted["sent"] > 500 and counted["lost"] == 0, counted


def test_the_naive_way_loses_something() -> None:
    with losses(URL, *LOAD) as counted:
        for host in WEB:
            on(host, f"docker restart {container(host, 'django_uwsgi')}")
    assert counted["lost"] > 0, counted


def test_deploying_the_same_again_changes_nothing() -> None:
    before, run = processes(), deploy(version("two"))
    assert run.unchanged, run.told
    assert processes() == before


def test_check_mode_names_the_release_and_changes_nothing() -> None:
    """Also which migrations come, what is not safe about them, and their SQL, although nothing is built."""
    images, before = on(WEB[0], "docker image ls --quiet"), state()
    source = version("three", **{"songs/migrations/0002_three.py": DROPPING, "songs/static/songs/new.css": "p { color: red }\n"})
    run = deploy(source, "--check", "--diff")
    assert run.rc == 0 and all(run.changed[host] for host in WEB), run.told
    serving = on(WEB[0], "readlink /srv/berth/music/static/current")
    assert f"-{serving}" in run.out, run.out
    for words in ("songs.0002_three", "-- not safe while the release before serves", 'DROP COLUMN "artist"', "new requirements"):
        assert words in run.out, f"{words!r} is missing in {run.out}"
    assert state() == before and on(WEB[0], "docker image ls --quiet") == images
    assert on(WEB[0], "ls /var/tmp") == "", "something was left"
    assert served() == {"two"}


def test_a_rollback_loses_nothing_and_builds_nothing() -> None:
    with losses(URL, *LOAD) as counted:
        run = rollback()
    assert run.rc == 0, run.told
    assert served() == {"one"}, [log(host) for host in WEB]
    assert counted["sent"] > 200 and counted["lost"] == 0, counted
    began = time.monotonic()
    again = rollback()
    seconds = time.monotonic() - began
    assert again.rc == 0 and served() == {"two"}, again.told
    print(f"a rollback without load took {seconds:.0f} s; the last third of it is the end of the release before")
    assert seconds < 40, "on a busy machine, too"


def test_the_releases_are_told() -> None:
    run = playbook(name="playbooks/releases.yml")
    assert run.rc == 0, run.told
    assert run.out.count("serves since") >= 4 * len(WEB), run.out


def test_broken_settings_leave_the_old_release_serving() -> None:
    before = processes()
    with losses(URL, *LOAD) as counted:
        run = deploy(version("broken", **{"site_settings/settings.py": "raise RuntimeError('a typo of mine')\n"}))
    assert run.rc != 0 and "a typo of mine" in run.errors, run.told
    assert processes() == before, "something that ran was restarted, or something new was left"
    assert served() == {"two"} and counted["lost"] == 0, counted


def test_static_files_of_the_release_before_are_still_there() -> None:
    old = on(WEB[0], "ls /srv/berth/music/static/kept/1/admin/css | grep -m1 'base.*css$'")
    assert request(f"/static/admin/css/{old}").status == 200
