# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A converged HAProxy, asked from outside: how it balances, what it passes on, who may see what."""

from __future__ import annotations

import collections
import json
import socket
from pathlib import Path

import pytest
from balancer import ADDRESS, DIRECTORY, HOST, SITE, WEB, all_up, get, name, redispatched, states, stats
from fleet import FLEET, HOSTS, inspect, on, playbook, request, until
from losses import losses

TO_COME = "X-Forwarded-For X-Forwarded-Host X-Forwarded-Port X-Forwarded-Proto".lower().split()


def test_every_web_host_answers_in_turn() -> None:
    all_up()
    served = collections.Counter(get().headers["x-served-by"] for _ in range(10))
    assert sorted(served.values()) == [5, 5], served


def test_forwarded_headers_are_made_anew() -> None:
    claims = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.test",
        "x-forwarded-port": "4443",
        "X-FORWARDED-SSL": "on",
        "X-Forwarded-Whatever-Comes": "evil",
        "X-Real-IP": "203.0.113.9",
        "Forwarded": "for=203.0.113.9;proto=https",
        "Proxy": "http://evil.test/",
        "X_Forwarded_Proto": "https",
        "X-Harmless": "stays",
    }
    headers = get("/", headers={**claims, "Host": "localhost:8080"}).json()["headers"]
    assert [header for header in headers if header.startswith(("x-forwarded", "x_"))] == sorted(TO_COME), headers
    assert headers["x-forwarded-proto"] == "http" and headers["x-forwarded-host"] == headers["host"] == "localhost:8080"
    assert headers["x-forwarded-port"] == "80" and headers["x-harmless"] == "stays"
    assert not {"forwarded", "x-real-ip", "proxy"} & set(headers)
    assert not any(word in json.dumps(headers) for word in ("203.0.113.9", "evil", "https"))


def test_client_keeps_its_connection_and_the_servers_do_not() -> None:
    """What goes to a server that is about to stop must not wait in a kept connection."""
    with socket.create_connection((ADDRESS, 80), timeout=10) as connection:
        for _ in range(3):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 ") and b"onnection: close" not in answer
            if b"\r\n\r\n{" not in answer:
                answer += connection.recv(65536)
            assert b'"connection": "close"' in answer


def test_host_out_of_rotation_finishes_and_gets_nothing_new() -> None:
    all_up()
    try:
        with losses(f"{SITE}?sleep=0.3", "--pause", "0") as load:
            on(WEB[0], "rm /root/in-rotation")
            until(lambda: states()[WEB[0]].startswith("NOLB"), 10, "drained")
            served = {get().headers["x-served-by"].split(":")[0] for _ in range(6)}
        assert len(served) == 1 and load["lost"] == 0, (served, load)
    finally:
        on(WEB[0], "touch /root/in-rotation")
    all_up()


def test_sick_host_is_left_out() -> None:
    all_up()
    try:
        on(WEB[1], "echo 503 > /root/in-rotation")
        until(lambda: states()[WEB[1]].startswith("DOWN"), 15, "seen to be sick")
        assert len({get().headers["x-served-by"] for _ in range(6)}) == 1
    finally:
        on(WEB[1], ": > /root/in-rotation")
    all_up()


def test_dead_host_costs_no_request() -> None:
    """Refused connections are tried again with the other host, before the health check has noticed."""
    all_up()
    before = redispatched()
    try:
        on(WEB[1], "pkill -f '[h]ttp_echo.py .* 8000'")
        with losses(SITE) as load:
            until(lambda: states()[WEB[1]].startswith("DOWN"), 15, "seen to be dead")
    finally:
        command = f"python3 /root/http_echo.py {HOSTS[WEB[1]]['address']} 8000 /root/in-rotation"
        on(WEB[1], f"setsid --fork {command} > /dev/null 2>&1 < /dev/null")
    assert load["sent"] > 50 and load["lost"] == 0, load
    assert redispatched() > before, "HAProxy knew already"
    all_up()


def test_statistics_ask_for_the_password() -> None:
    user, password = FLEET["stats"]
    for path in ("/stats", "/metrics", "/stats;csv"):
        assert request(path, HOST, 9080).status == 401
        assert stats(path, (user, "admin")).status == stats(path, (user, "")).status == 401
        assert stats(path).status == 200
    assert password not in stats("/stats").text
    assert get("/stats").json()["path"] == "/stats", "the site's own page of that name"


def test_metrics_name_every_server() -> None:
    metrics = stats("/metrics").text
    assert all(f'haproxy_server_status{{proxy="django",server="{web}",state="UP"}} 1' in metrics for web in WEB)


def test_log_is_json() -> None:
    get("/logged/?a=1", headers={"User-Agent": "x", "Host": "localhost:8080"})
    line = until(lambda: on(HOST, f"docker logs --since 1m {name()} 2>/dev/null | grep /logged/ | tail -n 1"))
    entry = json.loads(line)
    assert (entry["status"], entry["method"], entry["uri"], entry["host"]) == (200, "GET", "/logged/?a=1", "localhost:8080")
    assert entry["server"] in WEB and entry["request_ms"] >= 0
    assert "/berth/health" not in on(HOST, f"docker logs {name()} 2>/dev/null")


def test_container_is_confined_and_listens_on_one_address() -> None:
    seen = inspect(HOST, name())
    limits = seen["HostConfig"]
    assert seen["Config"]["User"] == "10003:10003" and seen["Config"]["StopSignal"] == "SIGUSR1"
    assert limits["ReadonlyRootfs"] and limits["CapDrop"] == ["ALL"] and not limits["CapAdd"] and limits["NetworkMode"] == "host"
    listening = on(HOST, "awk 'FNR > 1 && $4 == \"0A\" {print $2}' /proc/net/tcp /proc/net/tcp6").split()
    addresses = {entry.split(":")[0] for entry in listening if int(entry.split(":")[1], 16) in (80, 9080)}
    assert addresses == {"".join(f"{int(part):02X}" for part in reversed(ADDRESS.split(".")))}


def test_password_is_nowhere_but_in_its_file() -> None:
    password = FLEET["stats"][1]
    core = password.split(" ")[1]
    shown = on(HOST, f"docker inspect {name()}; ps -eo args; docker logs {name()} 2>&1; cat {DIRECTORY}/config/current/*")
    assert len(core) >= 24 and core not in shown
    assert on(HOST, f"stat -c '%u %a' {DIRECTORY}/secrets/*/stats.cfg") == "10003 400"


def test_second_run_changes_nothing_in_one_module_execution(tmp_path: Path) -> None:
    counts = tmp_path / "counts.json"
    counting = {
        "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).resolve().parents[2] / "tests" / "callback"),
        "ANSIBLE_CALLBACKS_ENABLED": "count_executions",
        "BERTH_EXECUTIONS_FILE": str(counts),
    }
    run = playbook(name="molecule/haproxy/role.yml", environment=counting)
    assert run.unchanged, run.out
    assert json.loads(counts.read_text())["per_host"][HOST] == 1


@pytest.mark.parametrize("path", ["/a%20b/", "/?q=%3Cscript%3E", "/long/" + "x" * 4000])
def test_paths_come_through_as_they_were_sent(path: str) -> None:
    assert get(path).json()["path"] == path
