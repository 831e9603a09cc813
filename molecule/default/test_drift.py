# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody changes by hand is found by one question to each host, and brought back by the next run: what is not asked stays broken."""

from __future__ import annotations

import pytest
from fleet import GROUPS, PROJECT, on, playbook, processes, request
from over_socket import over_socket

WEB = GROUPS.get("django_uwsgi", [""])[0]
DATABASE, BALANCER, BUILDER = (GROUPS.get(group, [""])[0] for group in ("postgres", "haproxy", "builder"))
HOME = f"/srv/berth/{PROJECT}"
ADMIN = f"{HOME}/haproxy/run/current/admin.sock"

# By which command, on which host, and the words that tell of it.
ON_HOSTS = {
    "a kernel setting's file": (WEB, "echo '# mine' >> /etc/sysctl.d/60-berth.conf", "/etc/sysctl.d/60-berth.conf"),
    "a config file": (WEB, f"echo >> {HOME}/nginx/config/current/nginx.conf", "nginx: "),
    "the release's link": (WEB, f"ln -sfn nowhere {HOME}/django_uwsgi/run/current.sock", "django_uwsgi: "),
    "a container": (GROUPS.get("nginx", [""])[-1], f"docker stop {PROJECT}-nginx", "nginx: "),
    "the login at the registry": (BALANCER, "rm /etc/berth/docker/config.json", "/etc/berth/docker/config.json"),
    "the database's role": (
        DATABASE,
        f"docker exec {PROJECT}-postgres psql -U postgres -c 'ALTER ROLE {PROJECT} CREATEDB'",
        f"database: take CREATEDB from role {PROJECT}",
    ),
    "an image in the registry": (
        BUILDER,
        "rm -r /srv/berth/*/registry/data/docker/registry/v2/repositories/berth-haproxy/_manifests/tags",
        "berth-haproxy",
    ),
}


def sql(statement: str) -> str:
    return on(DATABASE, f'docker exec {PROJECT}-postgres psql -U postgres -d {PROJECT} -c "{statement}"')


def differences() -> list[str]:
    """What the question finds, a line each. Asking restarts nothing."""
    before = processes()
    run = playbook(name="playbooks/drift.yml")
    assert run.unchanged and processes() == before, run.out
    return [line for line in run.out.splitlines() if " differs: " in line]


def comes_back() -> None:
    run = playbook()
    assert run.rc == 0 and not run.unchanged, run.told
    assert differences() == []
    assert playbook().unchanged
    assert {request("/api/music/", host, 8000).status for host in GROUPS["nginx"]} == {200}


@pytest.fixture(scope="module", autouse=True)
def converged() -> None:
    """Whatever was tried before."""
    run = playbook()
    assert run.rc == 0, run.told


def test_nothing_differs_on_a_converged_fleet() -> None:
    assert differences() == []


def test_what_differs_on_the_hosts_is_found_and_brought_back() -> None:
    for host, command, _words in ON_HOSTS.values():
        on(host, command)
    over_socket(BALANCER, ADMIN, f"set server django/{WEB} state drain\n")
    found = differences()
    wanted = [(host, words) for host, _, words in ON_HOSTS.values()] + [(BALANCER, f"haproxy: take {WEB}")]
    missed = [each for each in wanted if not is_told(found, *each)]
    assert not missed, found
    comes_back()


def is_told(lines: list[str], host: str, words: str) -> bool:
    return any(line.startswith(f"{host} differs: ") and words in line for line in lines)


def test_what_differs_in_the_project_is_found_and_brought_back() -> None:
    on(WEB, f"rm {HOME}/static/current/songs/site.*.css")
    sql("UPDATE django_migrations SET name = '0000_other' WHERE app = 'songs'")
    sql("UPDATE auth_user SET password = 'another'")
    found = differences()
    assert is_told(found, WEB, "static files are not") and is_told(found, WEB, "songs.0001_initial"), found
    # Its table is there: it would be made a second time.
    sql("UPDATE django_migrations SET name = '0001_initial' WHERE app = 'songs'")
    assert is_told(differences(), WEB, "the superuser differs: password")
    comes_back()
