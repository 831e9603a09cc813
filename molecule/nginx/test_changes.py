# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx that is changed, broken, killed and replaced: what that interrupts, what is refused, and that it heals."""

from __future__ import annotations

import http.client
import threading
import typing as t

import pytest
from fleet import HOSTS, container, inspect, on, until
from losses import losses
from web import CONTAINER, DIRECTORY, HOST, OTHER, PORT, PROJECT_DIRECTORY, converge, generations, get, server, workers

SITE = f"http://{HOSTS[HOST]['address']}:{PORT}/"


@pytest.fixture(scope="module", autouse=True)
def as_in_the_inventory_afterwards() -> t.Iterator[None]:
    yield
    run = converge()
    assert run.rc == 0, run.out
    assert converge().unchanged


def test_reload_where_that_suffices() -> None:
    before = server(), server(OTHER)
    with losses(SITE, "--keep-alive", "0", "--new", "4") as load:
        for size in ("2m", "3m"):
            run = converge(nginx_client_max_body_size=size)
            assert run.rc == 0 and run.changed[HOST] == 1, run.out
            said, current = generations()
            assert said == current
    assert load["lost"] == 0 and load["sent"] > 100, load
    assert (server(), server(OTHER)) == before
    assert get("/", method="POST", body=b"x" * 2_500_000).status == 200


def test_check_mode_predicts_and_changes_nothing() -> None:
    before = server(), workers(), generations()
    run = converge("--check", "--diff", nginx_client_max_body_size="4m")
    assert run.rc == 0 and run.changed[HOST] == 1, run.out
    assert "+    client_max_body_size 4m;" in run.out
    assert (server(), workers(), generations()) == before


FILE = "/etc/berth/current/nginx.conf:"
# Those that `make test` tries; the others are for `make test-faults`.
SHORT = ("duration", "verbatim, server", "port of another", "too many connections", "zone of another key", "socket that is taken")
REFUSED: list[tuple[str, dict[str, t.Any], list[str]]] = [
    ("duration", {"nginx_read_timeout": "soon"}, ['"uwsgi_read_timeout" directive invalid value', FILE]),
    ("size", {"nginx_client_max_body_size": "lots"}, ['"client_max_body_size" directive invalid value', FILE]),
    ("number of workers", {"nginx_worker_processes": "many"}, ['"worker_processes" directive invalid', FILE]),
    ("address", {"nginx_trusted_addresses": ["lb1"]}, ["lb1", "forwarded.conf:"]),
    ("path", {"nginx_media": [{"url": "/a b/", "path": "/srv/berth"}]}, ['invalid number of arguments in "location" directive', FILE]),
    ("names", {"nginx_server_names": ["~(unclosed"]}, ["missing closing parenthesis", FILE]),
    ("choice", {"nginx_upstream": "udp"}, ["nginx_upstream", "unix", "tcp"]),
    ("empty group", {"nginx_upstream": "tcp", "nginx_upstream_group": "nobody"}, ["no servers are inside upstream", FILE]),
    ("verbatim, server", {"nginx_extra_config": "location /a {"}, ["unexpected end of file", FILE]),
    ("verbatim, http", {"nginx_http_extra_config": "no_such_directive on;"}, ['unknown directive "no_such_directive"', FILE]),
    ("verbatim, main", {"nginx_main_extra_config": "load_module no_such.so;"}, ["no_such.so", FILE]),
    ("port of another", {"nginx_port": 22}, ["port 22 on ", "is taken by"]),
    ("missing image", {"nginx_image": "127.0.0.1:1/no/such:image"}, ["127.0.0.1:1/no/such:image"]),
    # What follows passes `nginx -t`. The first is caught before anything is touched, since its workers do not live in the memory limit ...
    ("too many connections", {"nginx_worker_connections": 100_000_000}, ["exited on signal 9"]),
    # ... the others can only be seen by the process that runs: the proof of the reload catches them.
    (
        "zone of another key",
        {"nginx_http_extra_config": "limit_req_zone $uri zone=asked:1m rate=1000r/s;"},
        ["did not take its new configuration", 'limit_req "asked" uses the "$uri" key while previously it used'],
    ),
    (
        "socket that is taken",
        {"nginx_http_extra_config": "server { listen unix:/run/nginx/taken.sock; }"},
        ["did not take its new configuration", "bind() to unix:/run/nginx/taken.sock failed (98: "],
    ),
]


@pytest.fixture(scope="module")
def prepared() -> None:
    """A zone that the running nginx knows, and a socket in its run directory that somebody left."""
    run = converge("--limit", HOST, nginx_http_extra_config="limit_req_zone $binary_remote_addr zone=asked:1m rate=1000r/s;")
    assert run.rc == 0, run.out
    on(HOST, f"python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('{DIRECTORY}/run/taken.sock')\"")


@pytest.mark.parametrize(
    ("variables", "words"),
    [pytest.param(*case[1:], id=case[0], marks=[] if case[0] in SHORT else [pytest.mark.long]) for case in REFUSED],
)
def test_refused_while_the_site_answers(variables: dict[str, t.Any], words: list[str], prepared: None) -> None:
    before = server(), workers(), generations()
    with losses(SITE, "--keep-alive", "0", "--new", "1", "--pause", "0.05") as load:
        run = converge("--limit", HOST, **variables)
    assert run.rc != 0 and all(word in run.out for word in words), run.out
    assert (server(), workers(), generations()) == before
    assert load["lost"] == 0 and load["sent"] > 10, load


def test_what_was_refused_does_not_stand_in_the_way() -> None:
    before = server()
    run = converge()
    assert run.rc == 0 and server() == before, run.out


def test_new_socket_of_the_application_is_used_at_once() -> None:
    """A release renames a symlink; nginx is not even told."""
    before, run_directory = workers(), f"{PROJECT_DIRECTORY}/django_uwsgi/run"
    on(HOST, f"setsid --fork python3 /root/uwsgi_echo.py {run_directory}/second.sock > /dev/null 2>&1 < /dev/null")
    until(lambda: on(HOST, f"test -S {run_directory}/second.sock && echo yes", check=False))
    with losses(SITE) as load:
        on(HOST, f"ln -s second.sock {run_directory}/next && mv -T {run_directory}/next {run_directory}/current.sock")
    assert get().headers["x-served-by"].endswith("/second.sock") and load["lost"] == 0, load
    on(HOST, f"ln -s first.sock {run_directory}/next && mv -T {run_directory}/next {run_directory}/current.sock")
    assert get().headers["x-served-by"].endswith("/first.sock") and workers() == before


@pytest.mark.long
def test_application_on_other_hosts() -> None:
    """TCP upstreams, by the group; the one on nginx's own host by its socket."""
    run = converge(nginx_upstream="tcp", nginx_upstream_group="nginx")
    assert run.rc == 0, run.out
    served = {get().headers["x-served-by"].split(" ")[1].rsplit("/", 1)[-1] for _ in range(8)}
    assert served == {"first.sock", f"{HOSTS[OTHER]['address']}:8001"}
    run = converge(nginx_upstream="tcp", nginx_upstream_group="builder")
    assert run.rc == 0 and "/run/uwsgi" not in on(HOST, f"docker inspect {CONTAINER}"), "a socket that is not needed is mounted"
    assert converge().rc == 0


def test_killed_nginx_comes_back_without_a_run() -> None:
    """Also after a reload: Docker must not take that for a stop by hand. It finds its own stale socket."""
    assert converge(nginx_client_max_body_size="5m").rc == 0
    master = server()[1]
    on(HOST, f"kill -9 {master}")
    until(lambda: get().status == 200, 30, "nginx answers again")
    assert server()[1] != master and get("/berth/health").status == 200
    assert converge(nginx_client_max_body_size="5m").unchanged


def test_removed_container_is_made_again() -> None:
    on(HOST, f"docker rm --force {CONTAINER}")
    predicted = converge("--check", nginx_client_max_body_size="5m")
    assert predicted.rc == 0 and predicted.changed[HOST] == 1 and predicted.changed[OTHER] == 0, predicted.out
    run = converge(nginx_client_max_body_size="5m")
    assert run.rc == 0 and run.changed[HOST] == 1 and run.changed[OTHER] == 0, run.out
    assert get().status == 200


def test_hosts_are_replaced_one_after_the_other() -> None:
    """Another memory limit replaces both containers. At every moment one of the two hosts is in rotation."""
    ended, gaps = threading.Event(), []

    def in_rotation(host: str) -> bool:
        try:
            return get("/berth/health", host, timeout=5).status == 200
        except (OSError, http.client.HTTPException):
            return False

    def watch() -> None:
        while not ended.wait(0.1):
            if not in_rotation(HOST) and not in_rotation(OTHER) and not in_rotation(HOST):
                gaps.append("no host in rotation")

    watcher = threading.Thread(target=watch)
    before = server(), server(OTHER)
    watcher.start()
    try:
        run = converge(nginx_memory="300m")
    finally:
        ended.set()
        watcher.join()
    assert run.rc == 0 and run.changed[HOST] == run.changed[OTHER] == 1, run.out
    assert not gaps
    assert server()[0] != before[0][0] and server(OTHER)[0] != before[1][0]


def test_host_that_fails_keeps_the_other_as_it_was() -> None:
    """A container that starts and never becomes healthy: its host takes the old one back, and the other host is not touched."""
    before = server(), server(OTHER)
    run = converge(nginx_image=broken_image())
    assert run.rc != 0 and "did not become healthy" in run.out and "so nginx was left as it was" in run.out, run.out
    after = server(), server(OTHER)
    assert [now[0] for now in after] == [then[0] for then in before], "another container serves"
    assert any(now == then for now, then in zip(after, before)), "both hosts were interrupted"
    assert get("/berth/health").status == get("/berth/health", OTHER).status == 200


def broken_image() -> str:
    """Passes both checks, since they run it under another name; started as the service, it sleeps."""
    return derived_image("berth-broken", "printf '#!/bin/sh\\nexec sleep 600\\n' > /usr/local/bin/rm && chmod 755 /usr/local/bin/rm")


def derived_image(name: str, script: str, *changes: str) -> str:
    """The role's image with something done to it, on both hosts."""
    for host in (HOST, OTHER):
        image = inspect(host, container(host, "nginx"))["Config"]["Image"]
        if name in image:
            continue
        words = " ".join(f"--change '{change}'" for change in changes)
        on(host, f"docker rm --force {name} 2> /dev/null; docker run --name {name} --user 0 --entrypoint sh {image} -c '{quoted(script)}'")
        on(host, f"docker commit {words} {name} {name}:1 && docker rm {name}")
    return f"{name}:1"


def quoted(script: str) -> str:
    return script.replace("'", "'\\''")


@pytest.mark.long
def test_look_alike_of_the_official_image() -> None:
    """Another uid, an entry point that edits /etc/nginx, `STOPSIGNAL SIGQUIT`, a CMD with `daemon off`."""
    entry = (
        "printf '#!/bin/sh\\nset -e\\necho touched > /etc/nginx/conf.d/default.conf\\nexec \"$@\"\\n' > /docker-entrypoint.sh"
        " && chmod 755 /docker-entrypoint.sh && mkdir -p /etc/nginx/conf.d && usermod -u 101 www-data"
    )
    image = derived_image(
        "berth-official",
        entry,
        'ENTRYPOINT ["/docker-entrypoint.sh"]',
        'CMD ["nginx", "-g", "daemon off;"]',
        "USER 0",
        "STOPSIGNAL SIGQUIT",
    )
    run = converge(nginx_image=image)
    assert run.rc == 0, run.out
    assert inspect(HOST, CONTAINER)["Config"]["Image"] == image and get().status == 200
    assert converge(nginx_image=image, nginx_client_max_body_size="6m").rc == 0
    assert generations()[0] == generations()[1]
