# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases that go wrong at every step: what serves, what is lost, and that the next run ends where a clean run ends."""

from __future__ import annotations

import pytest
from fleet import PROJECT, on, playbook, processes
from losses import losses
from versions import URL, WEB, deploy, served, state, version

pytestmark = pytest.mark.long
CRASHES_LATER = """
import os, threading
threading.Timer(2, lambda: os.kill(1, 9)).start()
from django.core.wsgi import get_wsgi_application
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings.settings")
application = get_wsgi_application()
"""


def test_healthy_then_crashing_is_taken_back() -> None:
    deploy(version("good"))
    before = processes()
    with losses(URL) as counted:
        run = deploy(version("crashing", **{"site_settings/wsgi.py": CRASHES_LATER}), django_uwsgi_bake=6)
    assert run.rc != 0 and "was healthy and then" in run.errors, run.told
    assert processes() == before
    assert served() == {"good"} and counted["lost"] == 0, counted


def test_a_hook_that_fails_after_the_switch_brings_the_release_before_back() -> None:
    deploy(version("good"))
    before = served()
    with losses(URL) as counted:
        run = deploy(version("hooked"), django_uwsgi_after_switch=[{"command": "no_such_command"}])
    assert run.rc != 0 and "no_such_command" in run.errors, run.told
    assert "was taken back" in run.errors, run.errors
    assert served() == before and counted["lost"] == 0, counted
    again = deploy(version("good"))
    assert again.rc == 0 and not any(again.changed.values()), again.told


def test_kept_releases_are_kept_and_others_pruned() -> None:
    for name in ("p1", "p2", "p3"):
        assert deploy(version(name), django_uwsgi_keep_releases=2).rc == 0
    for host in WEB:
        images = on(host, f"docker image ls --format '{{{{.Repository}}}}' | grep -c /{PROJECT}-app")
        assert int(images) == 2
        assert len(on(host, f"ls -d /srv/berth/{PROJECT}/static/*/ | grep -v kept").split()) - 1 == 2  # and `current`
    assert playbook(name="playbooks/rollback.yml").rc == 0
    assert served() == {"p2"} and state()
