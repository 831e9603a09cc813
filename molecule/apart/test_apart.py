# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx apart from the project: the same promises as on one host, and a way in to uWSGI for nginx alone."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import over_uwsgi
import pytest
from fleet import HOSTS, PROJECT, ROOT, container, inspect, kill, on, one_more, playbook, processes, request, restart_engine, start, until
from losses import losses, pause
from versions import NGINX, URL, WEB, deploy, is_tidy, log, rollback, served, version

PORT = 8001
LOAD = ("--keep-alive", "4", "--new", "4", "--slow", "1", "--uploads", "1", *pause(0.03))
STATIC = f"/srv/berth/{PROJECT}/static"


def way_in(host: str) -> str:
    return f"{HOSTS[host]['address']}:{PORT}"


def ask_from(host: str, target: str) -> str:
    """What another host gets from uWSGI: an answer, or why there is none."""
    program = (ROOT / "molecule/shared/over_uwsgi.py").read_text()
    return on(host, f"python3 -c {shlex.quote(program)} {way_in(target)} localhost /health/ 2>&1 | tail -n 1")


def gateway(host: str) -> str:
    return container(host, "uwsgi_gateway")


def test_the_site_answers_through_every_host_of_the_project() -> None:
    assert served() == {"none"}, [log(host) for host in WEB]
    assert request("/api/music/").status == 200


def test_static_files_come_from_the_web_server() -> None:
    name = on(NGINX[0], f"cd {STATIC}/current && ls admin/css/base.*.css | head -1")
    answer = request(f"/static/{name}", headers={"Accept-Encoding": "gzip"})
    assert answer.status == 200 and answer.headers["content-encoding"] == "gzip" and "x-served-by" not in answer.headers
    assert f"/static/{name}" in request("/admin/login/").text, "the page names another file"
    assert on(NGINX[0], f"sha256sum < {STATIC}/current/{name}") == on(WEB[0], f"sha256sum < {STATIC}/current/{name}")


def nobody_else_gets_in() -> None:
    for target in WEB:
        assert ask_from(NGINX[0], target).startswith("[200, ")
        for stranger in (host for host in WEB if host != target):
            answer = ask_from(stranger, target)
            assert "200" not in answer and ("Error" in answer), answer
        with pytest.raises(OSError):  # closed before a word was said
            over_uwsgi.ask(way_in(target), "localhost", "/health/")


def test_uwsgi_is_reached_by_the_web_server_and_by_nobody_else() -> None:
    """Whoever speaks to uWSGI can have it run any code."""
    nobody_else_gets_in()
    for host in WEB:
        app = container(host, "django_uwsgi")
        # All but Docker's own resolver, 127.0.0.11.
        listening = on(host, f"docker exec {app} cat /proc/net/tcp /proc/net/tcp6 | awk '$4 == \"0A\" && $2 !~ /^0B00007F/ {{print $2}}'")
        assert listening == "", f"uWSGI listens on the network: {listening}"
        assert not inspect(host, app)["HostConfig"]["PortBindings"]


def test_a_deploy_and_a_rollback_lose_nothing() -> None:
    assert deploy(version("one")).rc == 0
    gateways = {host: gateway(host) for host in WEB}
    with losses(URL, *LOAD) as counted:
        run = deploy(version("two"))
        assert run.rc == 0, run.told
        assert served() == {"two"}, [log(host) for host in WEB]
        back = rollback()
    assert back.rc == 0 and served() == {"one"}, back.told
    assert counted["sent"] > 500 and counted["lost"] == 0, counted
    assert {host: gateway(host) for host in WEB} == gateways, "a release touches the way in"
    is_tidy()


def test_the_naive_way_loses_something() -> None:
    with losses(URL, *LOAD) as counted:
        for host in WEB:
            on(host, f"docker restart {container(host, 'django_uwsgi')}")
    assert counted["lost"] > 0, counted


@pytest.mark.long
def test_static_files_of_a_new_release_are_beside_those_of_the_one_before() -> None:
    source = version("styled", **{"songs/static/songs/new.css": "p { color: red }\n"})
    run = deploy(source)
    assert run.rc == 0, run.told
    page = request("/admin/login/").text
    names = on(NGINX[0], f"cd {STATIC}/current && ls songs/new.*.css").split()
    assert names and all(request(f"/static/{name}").status == 200 for name in names)
    assert page and len(on(NGINX[0], f"ls {STATIC}/kept").split()) >= 2
    assert rollback().rc == 0
    assert request(f"/static/{names[0]}").status == 200, "pages of the release that was taken back are still open in browsers"
    again = deploy(source)
    assert again.rc == 0, again.told
    assert deploy(source).unchanged


@pytest.mark.long
def test_a_release_that_fails_after_the_switch_is_taken_back() -> None:
    assert deploy(version("fine")).rc == 0
    before, current = processes(), on(NGINX[0], f"readlink {STATIC}/current")
    was = served()
    with losses(URL, *LOAD) as counted:
        run = deploy(version("hooked"), django_uwsgi_after_switch=[{"command": "no_such_command"}])
    assert run.rc != 0 and "was taken back" in " ".join(run.errors.split()), run.told
    assert served() == was and processes() == before and counted["lost"] == 0, counted
    assert on(NGINX[0], f"readlink {STATIC}/current") == current, "the web server looks into files of a release that does not serve"
    is_tidy()


@pytest.mark.long
def test_a_rollback_goes_on_while_a_web_server_is_away() -> None:
    """The inventory has it, and nobody answers there: the bad release is left all the same."""
    was = served()
    assert deploy(version("bad")).rc == 0
    with one_more("front2", "nginx"):
        run = rollback()
    assert run.rc == 0 and served() == was, run.told
    assert "front2 does not answer" in " ".join(run.out.split()), run.out


@pytest.mark.long
@pytest.mark.parametrize(
    "heading",
    ["Fetch the static files", "Bring them to the web servers", "Have them look into the release's static files first"],
)
def test_a_run_that_is_killed_while_it_brings_static_files_is_completed_by_the_next(heading: str) -> None:
    name = heading.split()[0].lower()
    source = version(f"killed-{name}", **{"songs/static/songs/new.css": f"p {{ content: '{name}' }}\n"})
    with losses(URL, "--keep-alive", "3", "--new", "3", "--pause", "0.05") as counted:
        kill(start({"django_uwsgi_source": str(source)}, heading, "playbooks/deploy.yml"))
        run = deploy(source)
    assert run.rc == 0, run.told
    assert served() == {f"killed-{name}"} and counted["sent"] > 100 and counted["lost"] == 0, counted
    newest = on(NGINX[0], f"cd {STATIC}/current && ls songs/new.*.css").split()
    assert newest and all(request(f"/static/{name}").status == 200 for name in newest)
    is_tidy()


@pytest.mark.long
def test_settings_of_the_way_in_are_reloaded_and_its_container_replaced_without_loss() -> None:
    source = version("gateway")
    assert deploy(source).rc == 0
    before = {host: gateway(host) for host in WEB}
    with losses(URL, *LOAD) as counted:
        reloaded = deploy(source, django_uwsgi_client_addresses=["192.0.2.9"])
        assert reloaded.rc == 0 and {host: gateway(host) for host in WEB} == before, reloaded.told
        replaced = deploy(source, haproxy_memory="200m")
        assert replaced.rc == 0, replaced.told
    assert all(gateway(host) != before[host] for host in WEB)
    assert counted["sent"] > 500 and counted["lost"] == 0, counted
    nobody_else_gets_in()


@pytest.mark.long
def test_it_is_there_again_after_a_restart_and_as_closed_as_before() -> None:
    for host in WEB:
        restart_engine(host)
    until(lambda: served(), 90, "the project is reached again")
    nobody_else_gets_in()
    on(WEB[0], f"kill -9 $(docker inspect --format '{{{{.State.Pid}}}}' {gateway(WEB[0])})")
    until(lambda: ask_from(NGINX[0], WEB[0]).startswith("[200, "), 30, "the way in comes back without a run")
    nobody_else_gets_in()


@pytest.mark.long
def test_a_host_of_the_project_comes_and_goes_under_load() -> None:
    """The database does not know it any more before nginx has its configuration: until then, nobody may ask it."""
    with losses(URL, "--keep-alive", "3", "--new", "3", "--pause", "0.05") as counted:
        with one_more("app3", "web"):
            run = playbook()
            assert run.rc == 0 and run.changed["app3"], run.told
            until(lambda: any("app3/" in request("/api/music/").headers["x-served-by"] for _ in range(6)), 30, "app3 is asked")
        run = playbook()
    assert run.rc == 0, run.told
    assert counted["sent"] > 500 and counted["lost"] == 0, counted
    assert playbook().unchanged


@pytest.mark.long
def test_it_goes_when_the_project_listens_on_its_socket_alone(tmp_path: Path) -> None:
    """By the role alone: site.yml refuses it as long as a web server on another host needs the way in."""
    source, host = version("socket"), WEB[0]
    assert deploy(source).rc == 0
    refused = deploy(source, django_uwsgi_listen="socket")
    assert refused.rc != 0 and "django_uwsgi_listen" in refused.errors and gateway(host)
    role = tmp_path / "role.yml"
    role.write_text(json.dumps([{"hosts": host, "gather_facts": False, "roles": ["berth.django.django_uwsgi"]}]))
    closed = {"django_uwsgi_source": str(source), "django_uwsgi_listen": "socket"}
    run = playbook(name=str(role), variables=closed)
    assert run.rc == 0 and run.changed[host], run.told
    assert "uwsgi_gateway" not in on(host, "docker ps --all --format '{{.Names}}'")
    assert not playbook(name=str(role), variables=closed).changed[host]
    assert deploy(source).changed[host]
    nobody_else_gets_in()


@pytest.mark.long
def test_it_goes_with_the_project() -> None:
    run = playbook(name="playbooks/remove.yml", variables={"remove": PROJECT})
    assert run.rc == 0, run.told
    assert all(on(host, "docker ps --all --quiet") == "" for host in WEB)
    with pytest.raises(OSError):
        over_uwsgi.ask(way_in(WEB[0]), "localhost", "/health/")
