# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy that is changed, broken, killed and replaced: nothing of it costs a request, and what is wrong is refused."""

from __future__ import annotations

import time
import typing as t

import pytest
from balancer import ADDRESS, HOST, SITE, STATS_PORT, all_up, converge, generations, get, name, server, states, stats, workers
from fleet import FLEET, on, playbook, request, until
from losses import losses

TAKEN = 8099
HTTP = {"name": "http", "bind": [f"{ADDRESS}:80"], "backend": "django"}


@pytest.fixture(scope="module", autouse=True)
def as_in_the_inventory_afterwards() -> t.Iterator[None]:
    all_up()
    listener = f"import socket, time; s = socket.create_server(('{ADDRESS}', {TAKEN})); time.sleep(3600)"
    on(HOST, f'setsid --fork timeout 3600 python3 -c "{listener}" > /dev/null 2>&1 < /dev/null')
    yield
    run = converge()
    assert run.rc == 0, run.out
    assert converge().unchanged


def reloads(times: int) -> None:
    for number in range(times):
        run = converge(haproxy_retries=4 + number)
        assert run.rc == 0 and run.changed[HOST] == 1, run.out
        said, current = generations()
        assert said == current


def test_ten_reloads_lose_nothing_and_a_restart_does() -> None:
    """The restart is there to show that these clients would notice."""
    before = server()
    with losses(SITE) as load:
        reloads(3)
        for _ in range(7):
            on(HOST, f"docker exec {name()} sh -c 'kill -USR2 1'")
            time.sleep(0.5)
    assert server() == before
    assert load["lost"] == 0 and load["sent"] > 500, load
    assert restart()["lost"] > 0


def restart() -> dict[str, t.Any]:
    """The naive way to a new configuration."""
    with losses(SITE) as naive:
        on(HOST, f"docker restart --time 20 {name()}")
    all_up()
    return naive


@pytest.mark.long
def test_hundred_changes_in_a_row_lose_nothing() -> None:
    before = server()
    many = ("--keep-alive", "22", "--new", "22", "--slow", "3", "--uploads", "3", "--pause", "0.1")
    with losses(SITE, *many, "--seconds", "1500") as load:
        run = playbook(name="molecule/haproxy/many_changes.yml", variables={"changes": 100})
    assert run.rc == 0 and run.changed[HOST] == 100, run.told
    said, current = generations()
    assert said == current and server() == before
    naive = restart()
    print(f"100 changes in a row: {load['lost']} of {load['sent']} lost; one restart: {naive['lost']} of {naive['sent']}")
    assert load["lost"] == 0 and load["sent"] > 10_000 and naive["lost"] > 0, (load, naive)


def test_replacement_loses_nothing() -> None:
    """Another memory limit, three times: a new container beside the old one, which hands its sockets over and finishes."""
    with losses(SITE, "--new", "8") as load:
        for memory in ("300m", "301m", "302m"):
            before = name()
            run = converge(haproxy_memory=memory)
            assert run.rc == 0 and run.changed[HOST] == 1 and name() != before, run.out
    assert load["lost"] == 0 and load["sent"] > 500, load
    assert on(HOST, f"docker exec {name()} readlink /run/haproxy/current") == name().rsplit("-", 1)[1]
    assert "Failed to get the sockets" not in on(HOST, f"docker logs {name()} 2>&1"), "it listened anew"


def test_new_password_replaces_the_old_one_without_loss() -> None:
    user, old = FLEET["stats"]
    new = "another long enough password"
    with losses(SITE) as load:
        run = converge(haproxy_stats_password=new)
    assert run.rc == 0 and load["lost"] == 0, load
    assert stats("/stats", (user, old)).status == 401 and stats("/stats", (user, new)).status == 200
    assert new not in run.out


def test_several_frontends_and_backends() -> None:
    frontends = [
        {**HTTP, "routes": [{"backend": "api", "hosts": ["api.test"], "paths": ["/v1/", "/v2/"]}, {"backend": "api", "paths": ["/api/"]}]},
        {"name": "inside", "bind": [f"{ADDRESS}:8081"], "backend": "api", "extra_config": "http-response set-header X-Inside yes"},
    ]
    backends = [{"name": "django"}, {"name": "api", "port": 8001, "balance": "leastconn", "extra_config": "http-check expect status 200"}]
    assert converge().rc == 0
    before = server()
    run = converge(haproxy_frontends=frontends, haproxy_backends=backends, haproxy_log="plain")
    assert run.rc == 0 and server() == before, run.out
    until(lambda: set(states("api").values()) == {"UP"}, 15, "the second backend is up")

    def port(path: str, host: str = "localhost:80", **more: t.Any) -> str:
        return request(path, HOST, headers={"Host": host}, **more).headers["x-served-by"].split(":")[1]

    assert [port("/"), port("/api/"), port("/v1/"), port("/v1/", "api.test"), port("/v2/", "API.test:80")] == [
        "8000",
        "8001",
        "8000",
        "8001",
        "8001",
    ]
    assert port("/", port=8081) == "8001" and request("/", HOST, 8081).headers["x-inside"] == "yes"
    claims = {"X-Forwarded-Proto": "https"}
    assert request("/", HOST, 8081, headers=claims).json()["headers"]["x-forwarded-proto"] == "http"


def test_check_mode_predicts_and_changes_nothing() -> None:
    assert converge().rc == 0
    before = server(), workers(), generations()
    run = converge("--check", "--diff", haproxy_balance="leastconn")
    assert run.rc == 0 and run.changed[HOST] == 1, run.out
    assert "+    balance leastconn" in run.out
    assert (server(), workers(), generations()) == before


FILE = "/etc/berth/current/haproxy.cfg:"
# Those that `make test` tries; the others are for `make test-faults`.
SHORT = ("timeout", "backend that is not there", "unknown key", "descriptors", "port of another")
REFUSED: list[tuple[str, dict[str, t.Any], list[str]]] = [
    ("timeout", {"haproxy_timeouts": {"server": "soon"}}, ["unexpected character 's' in 'timeout server'", FILE]),
    ("name of a timeout", {"haproxy_timeouts": {"sever": "5s"}}, ["sever", FILE]),
    ("balance", {"haproxy_balance": "fastest"}, ["balance only supports", FILE]),
    ("interval", {"haproxy_check_interval": "often"}, ["unexpected character 'o'", FILE]),
    ("number", {"haproxy_retries": "many"}, ["haproxy_retries"]),
    ("choice", {"haproxy_log": "xml"}, ["haproxy_log", "json", "plain"]),
    ("address", {"haproxy_frontends": [{**HTTP, "bind": ["300.0.0.1:80"]}]}, ["300.0.0.1", FILE]),
    (
        "backend that is not there",
        {"haproxy_frontends": [{**HTTP, "backend": "djangoo"}]},
        ["unable to find required default_backend: 'djangoo'"],
    ),
    ("unknown key", {"haproxy_frontends": [{**HTTP, "bakend": "django"}]}, ["bakend", "haproxy_frontends"]),
    ("unknown key of a route", {"haproxy_frontends": [{**HTTP, "routes": [{"backend": "django", "host": "a"}]}]}, ["host", "routes"]),
    ("group that is not there", {"haproxy_server_group": "ngnix"}, ["ngnix"]),
    ("verbatim, global", {"haproxy_global_extra_config": "no-such-keyword 1"}, ["no-such-keyword", FILE]),
    ("verbatim, defaults", {"haproxy_defaults_extra_config": "timeout nothing 1s"}, ["nothing", FILE]),
    ("verbatim, frontend", {"haproxy_frontends": [{**HTTP, "extra_config": "http-request nothing"}]}, ["nothing", FILE]),
    ("verbatim, whole", {"haproxy_extra_config": "listen twice\n    bind unbound:80:80"}, ["unbound", FILE]),
    ("missing image", {"haproxy_image": "127.0.0.1:1/no/such:image"}, ["127.0.0.1:1/no/such:image"]),
    # What follows passes `haproxy -c`. The first ones are caught before anything is touched: HAProxy would notice in the middle of a reload
    # and stop listening while it tries again, or end the running workers ...
    (
        "port of another",
        {"haproxy_frontends": [{**HTTP, "bind": [f"{ADDRESS}:80", f"{ADDRESS}:{TAKEN}"]}]},
        [f"{TAKEN}: Address already in use", FILE],
    ),
    ("port of the statistics", {"haproxy_stats_port": TAKEN}, [f"{TAKEN}: Address already in use", FILE]),
    ("privileged port", {"haproxy_frontends": [{**HTTP, "bind": [f"{ADDRESS}:79"]}]}, [f"{ADDRESS}:79: Permission denied", FILE]),
    ("address of another host", {"haproxy_frontends": [{**HTTP, "bind": ["192.0.2.1:80"]}]}, ["192.0.2.1:80: Cannot assign", FILE]),
    ("descriptors", {"haproxy_maxconn": 5_000_000}, ["does not start"]),
    ("chroot", {"haproxy_global_extra_config": "chroot /nonexistent"}, ["does not start", "Cannot chroot(/nonexistent)"]),
    # ... and this only the live process can know: the answer of the reload carries it.
    (
        "socket",
        {"haproxy_frontends": [{**HTTP, "bind": [f"{ADDRESS}:80", "unix@/etc/berth/no.sock"]}]},
        ["did not take its new configuration", "UNIX socket", "/etc/berth/no.sock"],
    ),
]


@pytest.mark.parametrize(
    ("variables", "words"),
    [pytest.param(*case[1:], id=case[0], marks=[] if case[0] in SHORT else [pytest.mark.long]) for case in REFUSED],
)
def test_refused_while_the_site_answers(variables: dict[str, t.Any], words: list[str]) -> None:
    before = server(), workers(), generations()
    with losses(SITE, "--keep-alive", "1", "--new", "1", "--pause", "0.05") as load:
        run = converge(**variables)
    assert run.rc != 0 and all(word in run.out for word in words), run.out
    assert (server(), workers(), generations()) == before
    assert load["lost"] == 0 and load["sent"] > 10, load


def test_proof_sees_a_worker_that_runs_something_else() -> None:
    """The reload succeeds, and still the worker does not say what it should: nobody may believe that."""
    before = server(), generations()
    with losses(SITE) as load:
        run = converge(haproxy_global_extra_config="setenv BERTH_GENERATION 000000000000")
    assert run.rc != 0 and "did not take its new configuration" in run.out, run.out
    assert (server(), generations()) == before and load["lost"] == 0, load


def test_what_was_refused_does_not_stand_in_the_way() -> None:
    before = server()
    run = converge()
    assert server() == before and run.unchanged, run.out


def test_replacement_that_cannot_start_leaves_the_old_one() -> None:
    """It would be another container. It cannot have the memory that HAProxy needs, and goes without a trace."""
    before = server(), workers(), generations()
    with losses(SITE) as load:
        run = converge(haproxy_memory="6m")
    assert run.rc != 0, run.out
    assert (server(), workers(), generations()) == before and load["lost"] == 0, load
    assert len(on(HOST, "docker ps --all --quiet --filter label=berth.service=haproxy").split()) == 1


@pytest.mark.parametrize("process", ["haproxy", "worker"])
def test_killed_haproxy_comes_back_without_a_run(process: str) -> None:
    assert converge(haproxy_retries=8).rc == 0  # after a reload, too
    identity, master, _started = server()
    victim = master if process == "haproxy" else next(pid for pid in workers() if pid != str(master))
    on(HOST, f"kill -9 {victim}")
    until(lambda: get().status == 200 and server()[1] != master, 30, "HAProxy answers again")
    assert server()[0] == identity
    until(lambda: request("/stats", HOST, STATS_PORT).status == 401, 10)
    assert converge(haproxy_retries=8).unchanged


def test_removed_container_is_made_again() -> None:
    on(HOST, f"docker rm --force {name()}")
    predicted = converge("--check")
    assert predicted.rc == 0 and predicted.changed[HOST] == 1, predicted.out
    run = converge()
    assert run.rc == 0 and run.changed[HOST] == 1, run.out
    all_up()
    assert get().status == 200


@pytest.mark.long
def test_look_alike_of_the_official_image() -> None:
    """HAProxy under /usr/local/sbin, another uid, an entry point that puts words in front, `STOPSIGNAL SIGUSR1`."""
    image = on(HOST, f"docker inspect --format '{{{{.Config.Image}}}}' {name()}")
    script = (
        "mv /usr/sbin/haproxy /usr/local/sbin/haproxy && usermod -u 99 haproxy"
        ' && echo "#!/bin/sh" > /docker-entrypoint.sh && echo "shift; exec haproxy -W -db \\"\\$@\\"" >> /docker-entrypoint.sh'
    )
    on(HOST, f"docker run --name official --user 0 --entrypoint sh {image} -c '{script}'")
    changes = '--change \'ENTRYPOINT ["sh", "/docker-entrypoint.sh"]\' --change \'CMD ["haproxy", "-f", "/nowhere"]\' --change \'USER 99\''
    on(HOST, f"docker commit {changes} official berth-official:1 && docker rm official")
    with losses(SITE) as load:
        run = converge(haproxy_image="berth-official:1")
        assert run.rc == 0, run.out
        assert converge(haproxy_image="berth-official:1", haproxy_balance="leastconn").rc == 0
    assert load["lost"] == 0 and generations()[0] == generations()[1], load
