# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role alone: Django under uWSGI behind its socket, with its database on another host."""

from __future__ import annotations

import re

import pytest
from app import HOSTS, SOCKET, ask
from fleet import FLEET, PROJECT, container, inspect, on

every_host = pytest.mark.parametrize("host", HOSTS)


@every_host
def test_answers_through_its_socket(host: str) -> None:
    answer = ask(host, "/api/music/")
    assert answer.status == 200 and answer.headers["x-served-by"].startswith(host)
    assert ask(host, "/api/music/", name="evil.example").status == 400, "ALLOWED_HOSTS is not set"


@every_host
def test_socket_is_of_one_group_only(host: str) -> None:
    assert on(host, f"stat -L -c '%a %u %g' {SOCKET}") == "660 10001 10010"
    assert on(host, f"stat -c '%a %g' $(dirname {SOCKET})") == "2770 10010"
    assert re.fullmatch("[0-9a-f]+/uwsgi.sock", on(host, f"readlink {SOCKET}")), "the link is relative, and of one instance"


@every_host
def test_secrets_are_files_of_the_app(host: str) -> None:
    name = container(host, "django_uwsgi")
    modes = on(host, f"docker exec {name} sh -c \"stat -L -c '%a %u %n' /run/secrets/*\"").splitlines()
    assert modes and all(line.startswith("400 10001 ") for line in modes), modes
    assert not [value for value in inspect(host, name)["Config"]["Env"] if value.startswith(("SECRET_KEY=", "DATABASE_PASSWORD="))]


@every_host
def test_image_is_small_in_what_it_can_do(host: str) -> None:
    """No compiler, no pip cache, no shell for its user, and nothing to write but what is mounted."""
    name = container(host, "django_uwsgi")
    assert on(host, f"docker exec {name} sh -c 'command -v gcc cc make || echo none'") == "none"
    assert "Read-only file system" in on(host, f"docker exec {name} sh -c 'touch /app/x 2>&1 || true'")
    assert on(host, f"docker exec {name} id -u") == "10001"


@every_host
def test_static_files_are_there_for_nginx(host: str) -> None:
    static = f"{FLEET['directory']}/{PROJECT}/static"
    assert on(host, f"ls {static}/current/admin/css/ | grep -c '^base.*css$'") != "0"
    assert on(host, f"find {static}/current/ -type f ! -perm -o=r | wc -l") == "0", "nginx runs as another user"


def test_migrated_once() -> None:
    command = "python3 -IS /etc/berth/current/berth-entrypoint python manage.py showmigrations --plan"
    applied = {host: on(host, f"docker exec {container(host, 'django_uwsgi')} {command}") for host in HOSTS}
    assert all("[X]  songs.0001_initial" in shown and "[ ]" not in shown for shown in applied.values()), applied
