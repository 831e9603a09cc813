# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maintenance, with something that answers on the socket like HAProxy's master."""

from __future__ import annotations

import re
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.berth.django.plugins.module_utils import _maintenance
from ansible_collections.berth.django.plugins.module_utils._shell import EngineError
from ansible_collections.berth.django.plugins.modules.haproxy_maintenance import maintain

PATH = _maintenance.IN_CONTAINER
# From HAProxy 3.0.11.
PROCESSES = """#<PID>          <type>          <reloads>       <uptime>        <version>
1               master          1 [failed: 0]   0d00h00m03s     3.0.11-1+deb13u5
# workers
13              worker          0               0d00h00m00s     3.0.11-1+deb13u5
# old workers
8               worker          1               0d00h00m03s     3.0.11-1+deb13u5
# programs

"""
MAPS = f"""# id (file) description
0 ({PATH}) pattern loaded from file 'opt@{PATH}' used by acl at file '/etc/haproxy.cfg' line 41. curr_ver=0 next_ver=0 entry_cnt=0
2 (/etc/berth/other.map) pattern loaded from file '/etc/berth/other.map' used by map at file '/x' line 1. curr_ver=0 next_ver=0 entry_cnt=0
3 ({PATH}) pattern loaded from file 'opt@{PATH}' used by acl at file '/etc/haproxy.cfg' line 61. curr_ver=0 next_ver=0 entry_cnt=0

"""


class Master:
    """Two workers, the older one with one map less, and what each holds. `deaf` ones say yes and change nothing."""

    def __init__(self, directory: Path) -> None:
        self.held = {"13": {"0": "", "3": ""}, "8": {"0": ""}}
        self.deaf: set[str] = set()
        self.sent: list[str] = []
        (directory / "run" / "1bdde453da7b").mkdir(parents=True)
        (directory / "run" / "current").symlink_to("1bdde453da7b")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(directory / "run" / "1bdde453da7b" / "master.sock"))
        self.listener.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                *commands, last = connection.recv(65536).decode().strip().split(";")
                assert last == "quit", "the master keeps the connection open otherwise"
                connection.sendall("".join(self.answer(command) for command in commands).encode())

    def answer(self, command: str) -> str:
        if command == "show proc":
            return PROCESSES
        found = re.fullmatch(r"@!(\d+) (.*)", command)
        assert found, command
        pid, words = found.groups()
        held = self.held[pid]
        if words == "show map":
            return "".join(line for line in MAPS.splitlines(True) if not re.match(r"\d", line) or line[0] in held)
        verb, _map, number, *more = words.split(" ")
        number = number.removeprefix("#")
        if verb == "get":
            return f'type=str, case=sensitive, found={"yes" if held[number] else "no"}, key="state", value="{held[number]}", type="str"\n\n'
        self.sent.append(command)
        if pid not in self.deaf:
            held[number] = more[1] if verb == "add" else ""
        return "\n"


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as short:  # a socket's path has 108 bytes at most
        yield Path(short)


@pytest.fixture
def master(directory: Path) -> Iterator[Master]:
    master = Master(directory)
    yield master
    master.listener.close()


def test_every_process_takes_it_and_the_file_holds_it(directory: Path, master: Master) -> None:
    result = maintain(str(directory), on=True, check=False)
    assert result["changed"] and result["processes"] == 2
    assert master.held == {"13": {"0": "on", "3": "on"}, "8": {"0": "on"}}
    assert "state on" in (directory / "config" / "maintenance.map").read_text().splitlines()
    assert (directory / "config" / "maintenance.map").stat().st_mode & 0o777 == 0o644, "HAProxy is another user"
    master.sent.clear()
    assert not maintain(str(directory), on=True, check=False)["changed"] and not master.sent

    assert maintain(str(directory), on=False, check=False)["changed"]
    assert master.held == {"13": {"0": "", "3": ""}, "8": {"0": ""}}
    assert list((directory / "config").iterdir()) == []
    assert not maintain(str(directory), on=False, check=False)["changed"]


def test_one_process_that_differs_is_a_change(directory: Path, master: Master) -> None:
    maintain(str(directory), on=True, check=False)
    master.held["13"]["3"] = ""
    result = maintain(str(directory), on=True, check=False)
    assert result["changed"] and master.held["13"]["3"] == "on"


def test_check_mode_tells_and_leaves(directory: Path, master: Master) -> None:
    result = maintain(str(directory), on=True, check=True)
    assert result["changed"] and not master.sent and not (directory / "config").exists()
    assert result["diff"] == {
        "before_header": f"maintenance of {directory}",
        "after_header": f"maintenance of {directory}",
        "before": "when HAProxy starts: off\nprocess 13 of 1bdde453da7b: off\nprocess 8 of 1bdde453da7b: off\n",
        "after": "when HAProxy starts: on\nprocess 13 of 1bdde453da7b: on\nprocess 8 of 1bdde453da7b: on\n",
    }


def test_process_that_does_not_take_it_is_named(directory: Path, master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_maintenance, "PROOF_TIMEOUT", 0.3)
    master.deaf.add("13")
    with pytest.raises(EngineError, match=r"process 13 in its container.* did not switch maintenance on"):
        maintain(str(directory), on=True, check=False)


def test_older_configuration_is_refused_and_nothing_written(directory: Path, master: Master) -> None:
    master.held["13"] = {}
    with pytest.raises(EngineError, match=r"run site.yml"):
        maintain(str(directory), on=True, check=False)
    assert not (directory / "config").exists() and not master.sent


def test_old_worker_that_knows_no_maintenance_is_left_to_finish(directory: Path, master: Master) -> None:
    master.held["8"] = {}
    assert maintain(str(directory), on=True, check=False)["processes"] == 1


def test_process_that_does_not_answer_has_not_taken_it(directory: Path, master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_maintenance, "PROOF_TIMEOUT", 0)
    monkeypatch.setattr(master, "answer", lambda command: PROCESSES if command == "show proc" else "Can't find the target PID\n")
    for on in (True, False):
        with pytest.raises(EngineError, match=r"process 13 in its container"):
            maintain(str(directory), on=on, check=False)


def test_haproxy_that_does_not_run(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was killed, and its socket lies there."""
    monkeypatch.setattr(_maintenance, "START_PATIENCE", 0.1)
    Master(directory).listener.shutdown(socket.SHUT_RDWR)
    result = maintain(str(directory), on=True, check=False)
    assert result["changed"] and result["processes"] == 0
    assert _maintenance.in_file(str(directory))
