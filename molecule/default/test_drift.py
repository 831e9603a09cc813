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
IN_THE_PROJECT = {
    "a static file": (WEB, f"rm {HOME}/static/current/songs/site.*.css", "static files are not"),
    "a migration": (DATABASE, "UPDATE django_migrations SET name = '0000_other' WHERE app = 'songs'", "songs.0001_initial"),
    "the superuser": (DATABASE, "UPDATE auth_user SET password = 'another'", "the superuser differs: password"),
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
    found = differences()
    missed = {what: words for what, (host, _, words) in ON_HOSTS.items() if not any(told(line, host, words) for line in found)}
    assert not missed, found
    comes_back()


def told(line: str, host: str, words: str) -> bool:
    return line.startswith(f"{host} differs: ") and words in line


@pytest.mark.long
def test_a_server_that_is_drained_by_hand_is_found_and_brought_back() -> None:
    over_socket(BALANCER, ADMIN, f"set server django/{WEB} state drain\n")
    assert any(told(line, BALANCER, WEB) for line in differences())
    comes_back()


@pytest.mark.parametrize("what", [what if what == "a migration" else pytest.param(what, marks=pytest.mark.long) for what in IN_THE_PROJECT])
def test_what_differs_in_the_project_is_found(what: str) -> None:
    host, command, words = IN_THE_PROJECT[what]
    (sql if host == DATABASE else lambda shell: on(host, shell))(command)
    try:
        assert any(told(line, WEB, words) for line in differences()), f"nothing tells of {what}"
    finally:
        if what == "a migration":  # it is there, and would be applied a second time
            sql("UPDATE django_migrations SET name = '0001_initial' WHERE app = 'songs'")
    if what != "a migration":
        comes_back()
