# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong in a fleet, done to a running one: nothing that ran is stopped, the error is one clear sentence, and it heals."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Any

import pytest
from fleet import (
    GROUPS,
    HOSTS,
    PROJECT,
    ROOT,
    container,
    containers,
    inspect,
    on,
    playbook,
    playbook_command,
    playbook_environment,
    processes,
    request,
    restart_engine,
    under_load,
    until,
)
from losses import losses

SITE = "/api/music/"
WEB = GROUPS.get("nginx", [""])[0]
DATABASE = GROUPS.get("postgres", [""])[0]

# What an operator gets wrong -> what the answer must say. `nothing that ran is stopped` is checked for each.
REFUSED: list[tuple[str, dict[str, Any], list[str]]] = [
    ("nginx directive", {"nginx_extra_config": "no_such_directive on;"}, ["no_such_directive", "nginx.conf:"]),
    ("haproxy directive", {"haproxy_extra_config": "backend x\n  no-such-keyword"}, ["no-such-keyword", "haproxy.cfg:"]),
    ("uwsgi option", {"django_uwsgi_options": {"processes": "many"}}, ["processes"]),
    ("unknown uwsgi option", {"django_uwsgi_options": {"no-such-option": True}}, ["no-such-option"]),
    ("postgres setting", {"postgres_settings": {"shared_buffers": "500GB"}}, ["shared"]),
    ("unknown postgres setting", {"postgres_settings": {"no_such_setting": 1}}, ["no_such_setting"]),
    ("pg_hba", {"postgres_hba": ["host all all 10.0.0.0/33 scram-sha-256"]}, ["10.0.0.0/33"]),
    ("missing image", {"nginx_image": "127.0.0.1:1/no/such:image"}, ["127.0.0.1:1/no/such:image"]),
    ("never healthy", {"django_uwsgi_health_path": "/no/such/page/"}, ["healthy"]),
    ("missing WSGI module", {"django_uwsgi_wsgi_module": "no_such_module.wsgi"}, ["no_such_module"]),
    ("failing manage.py", {"django_uwsgi_settings_module": "no_such_settings"}, ["no_such_settings"]),
]

# What inventory_check refuses before anything is touched.
BAD_INVENTORIES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("weak secret", {"postgres_password": "password"}, ["postgres_password", "is weak"]),
    ("slug", {"berth_project": "My Music"}, ["berth_project", "My Music"]),
    ("address", {"berth_address": "web1.example.org"}, ["berth_address", "not an IP address"]),
    ("type", {"nginx_port": "eight thousand"}, ["nginx_port"]),
]


@pytest.fixture(autouse=True)
def site_stands_before() -> None:
    until(lambda: request(SITE).status == 200, what="the site answers before the fault")


# With every `make test`; the rest of the table is for `make test-faults`.
SHORT = ("haproxy directive", "never healthy")


@pytest.mark.parametrize(
    ("variables", "words"),
    [pytest.param(*case[1:], id=case[0], marks=[] if case[0] in SHORT else [pytest.mark.long]) for case in REFUSED],
)
def test_refused_and_nothing_stopped(variables: dict[str, Any], words: list[str]) -> None:
    before = processes()
    with under_load(SITE, clients=2, pause=0.05) as load:
        run = playbook(variables=variables)
    assert run.rc != 0, run.told
    assert all(word in run.errors for word in words), run.errors
    assert processes() == before, "something that ran was restarted"
    assert load.sent > 10 and not load.lost, load.lost[:5]


@pytest.mark.parametrize(("variables", "words"), [case[1:] for case in BAD_INVENTORIES], ids=[case[0] for case in BAD_INVENTORIES])
def test_inventory_refused_before_anything_is_touched(variables: dict[str, Any], words: list[str]) -> None:
    run = playbook(variables=variables)
    assert run.rc != 0 and not any(run.changed.values()), run.told
    assert all(word in run.errors for word in words), run.errors
    assert not set(run.changed) - {"localhost"}, f"hosts were touched: {run.changed}"


@pytest.mark.long
def test_port_already_taken() -> None:
    on(WEB, f"docker run -d --name f-squatter --network host --entrypoint sleep {image(WEB, 'nginx')} 600")
    on(WEB, "nohup python3 -m http.server 8765 --bind $(hostname -i | cut -d' ' -f1) >/dev/null 2>&1 & echo $! > /run/squatter")
    before = processes()
    try:
        run = playbook(variables={"nginx_port": 8765, "haproxy_server_port": 8765})
        assert run.rc != 0 and "8765" in run.errors, run.told
        assert {name: line for name, line in processes().items() if name.startswith(f"{WEB}/")} == {
            name: line for name, line in before.items() if name.startswith(f"{WEB}/")
        }
    finally:
        on(WEB, "kill $(cat /run/squatter); docker rm -f f-squatter", check=False)
        assert playbook().rc == 0


def image(host: str, service: str) -> str:
    return str(inspect(host, container(host, service))["Config"]["Image"])


@pytest.mark.parametrize("service", ["nginx", "django_uwsgi"])
def test_killed_container_comes_back_without_a_run(service: str) -> None:
    name = container(WEB, service)
    before = inspect(WEB, name)["State"]["Pid"]
    on(WEB, f"kill -KILL {before}")
    until(lambda: inspect(WEB, name)["State"]["Pid"] not in (0, before), 30, "the restart policy brings it back")
    until(lambda: request(SITE, WEB, 8000).status == 200, 60, "the web host answers")


def test_stopped_and_removed_containers_are_healed_by_a_run() -> None:
    on(WEB, f"docker rm --force {container(WEB, 'nginx')}")
    run = playbook()
    assert run.rc == 0 and run.changed[WEB] and not any(count for host, count in run.changed.items() if host != WEB), run.told
    assert request(SITE, WEB, 8000).status == 200


def test_restart_of_the_docker_daemon_stops_nothing() -> None:
    before = processes()
    with under_load(SITE) as load:
        restart_engine(WEB)
    assert not load.lost, load.lost[:5]
    assert processes() == before
    assert not any(playbook().changed.values())


@pytest.mark.parametrize(
    "variables",
    [{"django_uwsgi_processes": 3}, {"nginx_memory": "200m"}, {"haproxy_memory": "200m"}],
    ids=["the app beside the old one", "nginx, host by host", "HAProxy beside the old one"],
)
def test_replaced_under_load_without_loss(variables: dict[str, Any]) -> None:
    """Two web hosts, clients that keep their connections and clients that do not, none of which asks twice."""
    with losses(f"http://{HOSTS[GROUPS['haproxy'][0]]['address']}{SITE}", "--pause", "0.02") as load:
        run = playbook(variables=variables)
    assert run.rc == 0 and any(run.changed.values()), run.told
    assert load["sent"] > 200 and load["lost"] == 0, load


def test_songs_survive_the_database_container() -> None:
    titles = [f"kept {time.time_ns()}" for _ in range(2)]
    for title in titles:
        answer = request(SITE, method="POST", body=f'{{"title": "{title}", "artist": "us"}}', headers={"Content-Type": "application/json"})
        assert answer.status == 201, answer.text
    on(DATABASE, f"docker rm --force {container(DATABASE, 'postgres')}")
    assert playbook().rc == 0
    kept = until(lambda: request(SITE).text, 30)
    assert all(title in kept for title in titles)


@pytest.mark.parametrize(
    ("number", "heading", "seconds"),
    [
        pytest.param(1, "Start the new version", 1.5, id="while the app starts"),
        pytest.param(2, "Converge nginx", 0.7, id="while nginx is replaced", marks=pytest.mark.long),
        pytest.param(3, "Converge HAProxy", 0.4, id="while HAProxy is reloaded", marks=pytest.mark.long),
    ],
)
def test_killed_run_is_completed_by_the_next(number: int, heading: str, seconds: float) -> None:
    """SIGKILL to the run and its workers: the module on the host goes on, and the next run ends where a clean one ends."""
    variables = {"django_uwsgi_harakiri": 60 + number, "nginx_memory": f"{250 + number}m", "haproxy_maxconn": 4000 + number}
    with under_load(SITE, clients=2) as load:
        kill_at(heading, seconds, variables)
        run = playbook(variables=variables)
        assert run.rc == 0, run.told
        again = playbook(variables=variables)
        assert not any(again.changed.values()), again.told
    assert not load.lost, load.lost[:5]
    for host in GROUPS["nginx"]:
        assert inspect(host, container(host, "nginx"))["HostConfig"]["Memory"] == (250 + number) * 1024 * 1024
    for host in HOSTS:
        assert containers(host, everything=True) == containers(host), f"{host} kept containers that do not run"


def kill_at(heading: str, seconds: float, variables: dict[str, Any]) -> None:
    """Start a run, and kill it some time after the heading of a task was shown."""
    running = subprocess.Popen(
        playbook_command(variables=variables),
        cwd=ROOT,
        env=playbook_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert running.stdout
    assert any(heading in line for line in running.stdout), f"the run ended before {heading!r}"
    time.sleep(seconds)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    running.stdout.close()


@pytest.mark.long
def test_lost_host_is_made_again() -> None:
    """The machine is gone, its disk too: the site goes on, and the next run makes it anew."""
    subprocess.run(["docker", "rm", "--force", "--volumes", HOSTS[WEB]["machine"]], check=True, capture_output=True)
    with under_load(SITE, clients=2) as load:
        time.sleep(1)
        run = playbook()
    assert run.rc == 0, run.told
    assert not any(playbook().changed.values())
    assert request(SITE, WEB, 8000).status == 200
    # HAProxy needs its checks to see a host that vanished; after that nothing may be lost.
    assert len(load.lost) < load.sent / 5, load.lost[:5]
    assert f"{PROJECT}-nginx" in " ".join(containers(WEB))
