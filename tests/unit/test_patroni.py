# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Patroni says of its cluster, and what the collection makes of it."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.berth.django.plugins.module_utils import _patroni, _patroni_api, _patroni_converge
from ansible_collections.berth.django.plugins.module_utils._shell import EngineError
from ansible_collections.berth.django.plugins.plugin_utils import _certificates

# As Patroni 4.0 answers GET /cluster.
CLUSTER: dict[str, Any] = {
    "members": [
        {"name": "db1", "role": "leader", "state": "running", "api_url": "https://10.0.0.1:8008/patroni", "timeline": 1},
        {"name": "db2", "role": "sync_standby", "state": "streaming", "api_url": "https://10.0.0.2:8008/patroni", "lag": 0},
        {"name": "db3", "role": "replica", "state": "starting", "api_url": "https://10.0.0.3:8008/patroni", "pending_restart": True},
    ],
    "scope": "music",
}


def test_members_and_leader() -> None:
    found = _patroni.members(CLUSTER)
    assert _patroni.leader(found) == "db1"
    assert [(member.name, member.well, member.pending_restart) for member in found] == [
        ("db1", True, False),
        ("db2", True, False),
        ("db3", False, True),
    ]


FOLLOWERS = [
    {"name": "db1", "role": "leader", "state": "running"},
    {"name": "db2", "role": "replica", "state": "streaming"},
    {"name": "db3", "role": "sync_standby", "state": "streaming"},
]


def test_who_is_next() -> None:
    """Who has everything, before who may not; never one that does not follow."""
    assert _patroni.successor(_patroni.members({"members": FOLLOWERS})) == "db3"
    assert _patroni.successor(_patroni.members({"members": FOLLOWERS[:2]})) == "db2"
    assert _patroni.successor(_patroni.members({"members": FOLLOWERS[:1]})) == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("db1", ""),
        ("db3", ""),
        ("db2", "db2 does not follow synchronously, and may lack what was acknowledged: name db3."),
        ("db9", "'db9' is no member of the cluster: db1, db2, db3."),
    ],
)
def test_who_can_lead(name: str, words: str) -> None:
    assert _patroni.cannot_lead(_patroni.members({"members": FOLLOWERS}), name) == words


def test_who_does_not_follow_cannot_lead() -> None:
    assert "db3 is starting" in _patroni.cannot_lead(_patroni.members(CLUSTER), "db3")


@pytest.mark.parametrize(
    ("members", "wanted", "expected"),
    [
        (CLUSTER["members"], ["db1", "db2"], []),
        (CLUSTER["members"], ["db1", "db2", "db3", "db4"], ["db3 (replica) is starting", "db4 has not joined"]),
        (CLUSTER["members"][1:2], ["db2"], ["there is no primary"]),
        ([{"name": "db1", "role": "leader", "state": "stopped"}], ["db1"], ["there is no primary", "db1 (leader) is stopped"]),
    ],
)
def test_what_is_missing(members: list[dict[str, Any]], wanted: list[str], expected: list[str]) -> None:
    assert _patroni.missing(_patroni.members({"members": members}), wanted) == expected


@pytest.mark.parametrize(
    ("current", "wanted", "expected"),
    [
        ({"ttl": 20, "own": 1}, {"ttl": 20}, {}),
        ({"ttl": 30}, {"ttl": 20}, {"ttl": 20}),
        ({}, {"postgresql": {"parameters": {"max_connections": 100}}}, {"postgresql": {"parameters": {"max_connections": 100}}}),
        ({"postgresql": {"own": {"a": 1}}}, {"postgresql": {"own": {}, "use_slots": True}}, {"postgresql": {"use_slots": True}}),
        ({"tags": 1}, {"tags": None, "never": None}, {"tags": None}),
    ],
)
def test_patch(current: dict[str, Any], wanted: dict[str, Any], expected: dict[str, Any]) -> None:
    assert _patroni.patch(current, wanted) == expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"db1": {"leader": "db1"}, "db2": {"leader": "db1"}, "db3": {}}, ["db2", "db3", "db1"]),
        ({"db1": {"leader": ""}, "db2": {"leader": "", "data": True}}, ["db2", "db1"]),
        ({"db1": {}, "db2": {}}, ["db1", "db2"]),
        # --limit leaves the primary out.
        ({"db2": {"leader": "db1"}, "db3": {"leader": "db1"}}, ["db2", "db3"]),
    ],
    ids=["a cluster", "one server becomes a cluster", "new", "without the primary"],
)
def test_order(asked: dict[str, Any], expected: list[str]) -> None:
    assert _patroni.in_order(asked) == expected


class FakePatroni(BaseHTTPRequestHandler):
    settings: dict[str, Any]
    requests: list[tuple[str, str, Any, str]]

    def answer(self, value: Any, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.answer({"/cluster": CLUSTER, "/config": self.settings}[self.path])

    def change(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.requests.append((self.command, self.path, body, self.headers["Authorization"]))
        if self.path == "/switchover":
            self.answer("candidate does not follow", 412)
        else:
            self.settings.update(body)
            self.answer(self.settings)

    do_PATCH = do_POST = change

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def patroni(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A server with a certificate of an authority, as the members have; no database behind it."""
    ca = _certificates.make_ca("test")
    pair = _certificates.issue(ca, ["127.0.0.1"])
    (tmp_path / "pair.pem").write_text(pair.certificate + pair.key)
    FakePatroni.settings, FakePatroni.requests = {"ttl": 30, "loop_wait": 0}, []
    server = HTTPServer(("127.0.0.1", 0), FakePatroni)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pair.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {
        **{name: spec.get("default") for name, spec in _patroni_converge.ARGUMENT_SPEC.items()},
        "project": "music",
        "url": f"https://127.0.0.1:{server.server_port}",
        "ca": ca.certificate,
        "password": "secret",
    }
    server.shutdown()
    server.server_close()


def test_settings_are_patched_with_the_password(patroni: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_patroni_converge, "restart_pending", lambda *_: [])
    monkeypatch.setattr(_patroni_converge, "wait_whole", lambda api, *_: api.members())
    wanted = {**patroni, "settings": {"ttl": 20, "loop_wait": 0}}
    assert _patroni_converge.converge(wanted, check_mode=True)["actions"] == ["set ttl to 20"]
    assert FakePatroni.requests == []
    assert _patroni_converge.converge(wanted, check_mode=False)["changed"]
    assert FakePatroni.requests == [("PATCH", "/config", {"ttl": 20}, "Basic cGF0cm9uaTpzZWNyZXQ=")]
    assert not _patroni_converge.converge(wanted, check_mode=False)["changed"]


def test_what_patroni_refuses_is_told_in_its_words(patroni: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match="candidate does not follow"):
        _patroni_converge.converge({**patroni, "primary": "db2"}, check_mode=False)


def test_another_authority_is_no_answer(patroni: dict[str, Any]) -> None:
    """Nobody says who is primary in the place of the members."""
    other = _certificates.make_ca("other").certificate
    with pytest.raises(_patroni_api.NoAnswer, match="certificate verify failed"):
        _patroni_api.Api(patroni["url"], other).members()


def test_without_a_member_check_mode_says_what_it_cannot_know(patroni: dict[str, Any]) -> None:
    nobody = {**patroni, "url": "https://127.0.0.1:1", "settings": {"ttl": 20}}
    assert _patroni_converge.converge(nobody, check_mode=True)["unknown"] != []
    with pytest.raises(EngineError, match="does not answer"):
        _patroni_converge.converge(nobody, check_mode=False)
