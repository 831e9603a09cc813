# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong in a fleet, done to a running one: nothing that ran is stopped, the error is one clear sentence, and it heals."""

from __future__ import annotations

import re
import subprocess
import time
from typing import Any

import pytest
from fleet import (
    FLEET,
    GROUPS,
    HOSTS,
    PROJECT,
    container,
    containers,
    inspect,
    kill,
    on,
    playbook,
    processes,
    request,
    restart_engine,
    start,
    under_load,
    until,
)
from losses import losses, pause

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
    (
        "shared uploads on the host's own disk",
        {"django_uwsgi_media": [{"url": "/media/", "root": "/srv/media", "path": "/srv/uploads", "shared": True}]},
        ["/srv/uploads is to be shared", "Mount what they share"],
    ),
    ("never healthy", {"django_uwsgi_health_path": "/no/such/page/", "django_uwsgi_start_wait": 10}, ["healthy"]),
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
    assert load.sent > 20 and not load.lost, load.lost[:5]
    assert processes() == before
    assert playbook().unchanged


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({"django_uwsgi_processes": 3}, id="the app beside the old one", marks=pytest.mark.long),
        pytest.param({"nginx_memory": "200m"}, id="nginx, host by host", marks=pytest.mark.long),
        pytest.param({"haproxy_memory": "200m"}, id="HAProxy beside the old one"),
    ],
)
def test_replaced_under_load_without_loss(variables: dict[str, Any]) -> None:
    """Two web hosts, clients that keep their connections and clients that do not, none of which asks twice."""
    with losses(f"http://{HOSTS[GROUPS['haproxy'][0]]['address']}{SITE}", *pause(0.02)) as load:
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
        pytest.param(1, "Start the release beside", 1.5, id="while the app starts"),
        pytest.param(2, "Converge nginx", 0.7, id="while nginx is replaced", marks=pytest.mark.long),
        pytest.param(3, "Converge HAProxy", 0.4, id="while HAProxy is reloaded", marks=pytest.mark.long),
    ],
)
def test_killed_run_is_completed_by_the_next(number: int, heading: str, seconds: float) -> None:
    """SIGKILL to the run and its workers: the module on the host goes on, and the next run ends where a clean one ends."""
    variables = {"django_uwsgi_harakiri": 60 + number, "nginx_memory": f"{250 + number}m", "haproxy_maxconn": 4000 + number}
    with under_load(SITE, clients=2) as load:
        killed = start(variables, until_told=heading)
        time.sleep(seconds)
        kill(killed)
        run = playbook(variables=variables)
        assert run.rc == 0, run.told
        again = playbook(variables=variables)
        assert again.unchanged, again.told
    assert not load.lost, load.lost[:5]
    for host in GROUPS["nginx"]:
        assert inspect(host, container(host, "nginx"))["HostConfig"]["Memory"] == (250 + number) * 1024 * 1024
    for host in HOSTS:
        assert containers(host, everything=True) == containers(host), f"{host} kept containers that do not run"


@pytest.mark.long
def test_next_run_waits_for_the_module_of_a_killed_one() -> None:
    """The module goes on without its run. The next run says for whom it waits, and ends where a run ends that nobody killed."""
    variables = {"django_uwsgi_harakiri": 75}
    # Twice: the oldest versions of files are pruned, and which ones those are depends on what was tried before.
    for wanted in (variables, {}, variables):
        assert playbook(variables=wanted).rc == 0
    clean = state()
    assert playbook().rc == 0
    assert state() != clean, "the change left no trace, so this would prove nothing"
    with under_load(SITE, clients=2) as load:
        killed = start(variables, until_told="Start the release beside")
        module = until(lambda: module_of(killed), 60, "the run's module works on the host")
        # It is held up in the middle of its work, so that the next run is sure to meet it.
        on(WEB, f"kill -STOP {module}")
        kill(killed)
        assert on(WEB, f"flock --nonblock {LOCK} true || echo held") == "held", "the module ended with its run"
        try:
            following = start(variables)
            until(lambda: waits(following), 300, "the next run waits")
        finally:
            on(WEB, f"kill -CONT {module}")
        said = " ".join(following.communicate(timeout=300)[0].split())
    assert following.returncode == 0, said
    assert re.search(rf"waited \d+ s for \S+ \(ansible process {killed.pid}\), process {module} on the host", said), said
    ended = state()
    assert ended == clean, {host: sorted(set(ended[host]) ^ set(clean[host])) for host in HOSTS}
    again = playbook(variables=variables)
    assert again.unchanged, again.told
    assert load.sent > 100 and not load.lost, load.lost[:5]


LOCK = f"/run/berth/{PROJECT}-django_uwsgi.lock"


def module_of(run: subprocess.Popen[str]) -> str:
    """The process on the host that works for a run: it holds the service's lock, and says so there."""
    held = on(WEB, f"flock --nonblock {LOCK} true || cat {LOCK}")
    found = re.search(rf"\(ansible process {run.pid}\), process (\d+) on the host", held)
    return found[1] if found else ""


def waits(run: subprocess.Popen[str]) -> bool:
    """Whether somebody besides the holder has the service's lock open."""
    assert run.poll() is None, f"the run ended: {run.communicate()[0]}"
    users = on(WEB, f"ls -l /proc/[0-9]*/fd 2>/dev/null | grep {LOCK}", check=False).splitlines()
    return len(users) > 1


def state() -> dict[str, list[str]]:
    """Host -> its containers with the hashes of what they are made from, and each link, socket and file of the project with its content."""
    directory = f"{FLEET['directory']}/{PROJECT}"
    show = "docker ps --all --quiet | xargs --no-run-if-empty docker inspect --format '{{.Name}} {{.State.Status}} {{json .Config.Labels}}'"
    # What services write themselves differs from run to run, and so do the times that are noted.
    noted = "-name '*.log' -prune -o -name '.collected-*' -prune -o -name releases.jsonl -prune"
    find = f"find {directory} -path '*/data' -prune -o -path '*/tmp' -prune -o {noted}"
    listed = f"{find} -o -type l -printf '%p -> %l\\n' -o -type s -print; {find} -o -type f -exec sha256sum {{}} +"
    return {host: sorted(on(host, f"{show}; {listed}").splitlines()) for host in HOSTS}


@pytest.mark.long
def test_lost_host_is_made_again() -> None:
    """The machine is gone, its disk too: the site goes on, and the next run makes it anew and touches nobody else."""
    assert playbook().rc == 0
    others = {name: line for name, line in processes().items() if not name.startswith(f"{WEB}/")}
    with under_load(SITE, clients=2) as load:
        machine = HOSTS[WEB]["machine"]
        subprocess.run(["docker", "rm", "--force", "--volumes", machine], check=True, capture_output=True)
        subprocess.run(["docker", "volume", "rm", f"{machine}-docker"], check=True, capture_output=True)
        run = playbook()
    assert run.rc == 0, run.told
    # What was on its way to the host when it went cannot be answered: one request of each client, and no other.
    assert load.sent > 200 and len(load.lost) <= 2, load.lost[:5]
    assert {name: line for name, line in processes().items() if not name.startswith(f"{WEB}/")} == others
    assert request(SITE, WEB, 8000).status == 200
    until(
        lambda: WEB in {request(SITE).headers["x-served-by"].split("/")[0] for _ in range(4)}, 20, f"HAProxy sends requests to {WEB} again"
    )
    again = playbook()
    assert again.unchanged, again.told


@pytest.mark.long
def test_builder_made_again_on_its_disk_builds_nothing() -> None:
    """As the next scenario finds it: another machine, and the disk with all that was built."""
    builder = GROUPS["builder"][0]
    show = "docker image ls --no-trunc --format '{{.ID}} {{.Repository}}:{{.Tag}} {{.CreatedAt}}' | sort"
    before = on(builder, show)
    subprocess.run(["docker", "rm", "--force", HOSTS[builder]["machine"]], check=True, capture_output=True)
    run = playbook()
    assert run.rc == 0 and run.changed["localhost"], run.told
    assert on(builder, show) == before
    assert not re.search(r"^building \S+ \(\d+ of \d+\)", run.out, re.MULTILINE), run.out
    again = playbook()
    assert again.unchanged, again.told
