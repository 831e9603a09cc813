# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maintenance: visitors get the page, who is allowed gets the site, what runs goes on, and it holds until it is switched off."""

from __future__ import annotations

import http.client
import threading
import time
import typing as t

import pytest
from balancer import ADDRESS, DIRECTORY, HOST, SITE, WEB, all_up, converge, get, name, server, states, stats, workers
from fleet import HOSTS, Answer, Run, container, on, playbook, restart_engine, until
from losses import losses

PAGE = "<h1>Back at noon, 100 % sure</h1>"
VARIABLES: dict[str, t.Any] = {
    "haproxy_maintenance_page": PAGE,
    "haproxy_maintenance_retry_after": 77,
    "haproxy_maintenance_allow": [HOSTS[WEB[0]]["address"], "192.0.2.0/24"] if HOSTS else [],
    "haproxy_trusted_proxies": [HOSTS[WEB[1]]["address"]] if HOSTS else [],
    # A kept connection, and the worker that it keeps, wait as long as the slowest machine needs for a playbook.
    "haproxy_timeouts": {"http-keep-alive": "120s", "client": "120s"},
    "haproxy_hard_stop_after": 120,
}
MAP = f"{DIRECTORY}/config/maintenance.map"
# A request that asks to wait for this file is running until the test makes it.
GO = "/root/go"


def maintenance(state: object, *more: str) -> Run:
    return playbook(*more, name="playbooks/maintenance.yml", variables={"state": state})


@pytest.fixture(scope="module", autouse=True)
def as_in_the_inventory_afterwards() -> t.Iterator[None]:
    assert converge(**VARIABLES).rc == 0
    yield
    assert maintenance("off").rc == 0
    run = converge()
    assert run.rc == 0, run.out


@pytest.fixture(autouse=True)
def off_before() -> None:
    run = maintenance("off")
    assert run.rc == 0, run.out
    all_up()
    assert get().status == 200


def is_the_page(answer: Answer) -> bool:
    return (answer.status, answer.text.strip(), answer.headers["retry-after"]) == (503, PAGE, "77")


def as_seen_from(host: str, forwarded: str = "") -> int:
    """The status that a client on another host gets, or one that a proxy there asks for."""
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    ask = f"import http.client; c = http.client.HTTPConnection('{ADDRESS}'); c.request('GET', '/', headers={headers})"
    return int(on(host, f'python3 -c "{ask}; print(c.getresponse().status)"'))


def test_on_and_off() -> None:
    before, processes = server(), set(workers())
    slow: list[Answer] = []
    for host in WEB:
        on(host, f"rm -f {GO}")
    running = threading.Thread(target=lambda: slow.append(get(f"/?until={GO}", timeout=60)))
    running.start()
    time.sleep(1)
    with losses(SITE, "--keep-alive", "2", "--new", "2", "--pause", "0.05") as load:
        run = maintenance("on")
    assert run.rc == 0 and run.changed[HOST] == 1, run.out
    assert load["by_error"].keys() == {"503"} and load["ok"] > 10, f"connections were lost: {load}"
    assert is_the_page(get()) and not slow
    for host in WEB:
        on(host, f"touch {GO}")
    running.join(20)
    assert [answer.status for answer in slow] == [200]
    assert is_the_page(get("/any/path", method="POST", body=b"x" * 100_000))
    assert get().headers["cache-control"] == "no-store"
    assert (as_seen_from(WEB[0]), as_seen_from(WEB[1])) == (200, 503), "only the first one is allowed"
    assert get(headers={"X-Forwarded-For": "192.0.2.1"}).status == 503, "a client talked its way in"
    asked_by_the_proxy = [
        as_seen_from(WEB[1], forwarded) for forwarded in ("192.0.2.1", "203.0.113.9, 192.0.2.1", "192.0.2.1, 203.0.113.9")
    ]
    assert asked_by_the_proxy == [200, 200, 503]
    assert set(states().values()) == {"UP"} and stats("/stats").status == 200
    assert get("/berth/health", headers={"Host": "localhost"}).status == 200

    again = maintenance("on")
    assert again.unchanged, again.out
    predicted = maintenance("off", "--check", "--diff")
    assert predicted.rc == 0 and predicted.changed[HOST] == 1 and "-when HAProxy starts: on" in predicted.out, predicted.out
    assert is_the_page(get()) and on(HOST, f"cat {MAP}"), "check mode changed something"

    run = maintenance("off")
    assert run.rc == 0 and run.changed[HOST] == 1, run.out
    assert get().status == 200 and as_seen_from(WEB[1]) == 200
    assert server() == before and set(workers()) <= processes, "it was reloaded"
    assert maintenance("off").unchanged


def test_holds_through_a_reload_and_in_a_worker_that_leaves() -> None:
    until(lambda: len(workers()) == 2, 60, "one master and one worker")
    kept = http.client.HTTPConnection(ADDRESS, timeout=60)
    kept.request("GET", "/")
    assert kept.getresponse().read()
    on(HOST, f"docker exec {name()} sh -c 'kill -USR2 1'")
    until(lambda: len(workers()) == 3, 20, "a new worker, and the one before waits for the kept connection")
    assert maintenance("on").rc == 0
    kept.request("GET", "/")
    assert kept.getresponse().status == 503, "the worker before still let it through"
    with losses(SITE) as load:
        run = converge(**VARIABLES, haproxy_retries=9)
    assert run.rc == 0 and run.changed[HOST] == 1, run.out
    assert load["by_error"].keys() == {"503"} and load["ok"] == 0, load


def test_state_is_asked_for() -> None:
    for variables in ({}, {"state": "onn"}, {"state": 2}):
        run = playbook(name="playbooks/maintenance.yml", variables=variables)
        assert run.rc != 0 and "add -e state=on or -e state=off" in run.errors and not any(run.changed.values()), run.out
    assert get().status == 200


@pytest.mark.long
def test_holds_through_replacement_crash_and_restarts() -> None:
    assert maintenance("on").rc == 0
    before = name()
    with losses(SITE) as load:
        assert converge(**VARIABLES, haproxy_memory="310m").rc == 0
    assert name() != before and load["by_error"].keys() == {"503"} and load["ok"] == 0, load
    master = server()[1]
    on(HOST, f"kill -9 {master}")
    until(lambda: server()[1] not in (0, master) and is_the_page(get()), 30, "the next process has it on")
    restart_engine(HOST)
    until(lambda: is_the_page(get()), 30, "on with another engine")
    on(HOST, f"docker restart --time 2 {name()}")
    until(lambda: is_the_page(get()), 30, "a restarted container has it on")
    assert maintenance("off").rc == 0
    assert get().status == 200


@pytest.mark.long
def test_switched_while_haproxy_does_not_run() -> None:
    stopped = name()
    on(HOST, f"docker stop --time 1 {stopped}")
    run = maintenance("on")
    assert run.rc == 0 and run.changed[HOST] == 1 and "will be on when it starts" in run.out, run.out
    on(HOST, f"docker start {stopped}")
    until(lambda: is_the_page(get()), 30, "on after the start")
    assert maintenance("on").unchanged


@pytest.mark.long
def test_removed_with_haproxy() -> None:
    assert maintenance("on").rc == 0
    assert converge(haproxy_state="absent").rc == 0
    assert on(HOST, f"ls {MAP} 2>/dev/null || echo gone") == "gone"
    assert converge(**VARIABLES).rc == 0
    all_up()
    assert get().status == 200 and container(HOST, "haproxy")


@pytest.mark.long
def test_a_page_that_haproxy_cannot_send_is_refused() -> None:
    before = server(), workers()
    run = converge(**{**VARIABLES, "haproxy_maintenance_page": "x" * 20_000})
    assert run.rc != 0 and "exceeds the buffer size" in run.out, run.out
    run = converge(**{**VARIABLES, "haproxy_maintenance_allow": ["10.0.0.0/33"]})
    assert run.rc != 0 and "10.0.0.0/33" in run.out, run.out
    assert (server(), workers()) == before and get().status == 200
