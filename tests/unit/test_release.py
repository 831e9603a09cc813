# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on record of releases, and the lock of a deploy."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.berth.django.plugins.filter import release_before
from ansible_collections.berth.django.plugins.module_utils import _deploy_lock, _release
from ansible_collections.berth.django.plugins.plugin_utils import _runs


def record(release: str, outcome: str = _release.SERVES) -> _release.Record:
    return _release.Record("2026-01-01T00:00:00+0000", release, f"registry:5000/app:{release}", f"i-{release}", "alice", outcome)


def test_a_record_is_read_back_and_a_torn_line_is_left_out() -> None:
    text = _release.to_line(record("a")) + _release.to_line(record("b"))
    assert _release.to_records(text + '{"at": "2026') == (record("a"), record("b"))


@pytest.mark.parametrize(
    ("releases", "keep", "kept"),
    [
        ([], 2, []),
        (["a"], 2, ["a"]),
        (["a", "b", "c"], 2, ["c", "b"]),
        (["a", "b", "a"], 2, ["a", "b"]),  # rolled back to, so newest again
        (["a", "b", "b", "b"], 2, ["b", "a"]),  # settings changed: one release
    ],
)
def test_kept(releases: list[str], keep: int, kept: list[str]) -> None:
    assert [item.release for item in _release.kept(map(record, releases), keep)] == kept


def test_what_was_taken_back_never_served() -> None:
    records = [record("a"), record("b", _release.ROLLED_BACK)]
    assert [item.release for item in _release.kept(records, 5)] == ["a"]


def test_choose() -> None:
    records = [record("a"), record("b"), record("c")]
    assert _release.choose(records, 5).release == "b"
    assert _release.choose(records, 5, "a").release == "a"
    with pytest.raises(ValueError, match="the release a is not kept; kept are: c, b"):
        _release.choose(records, 2, "a")
    with pytest.raises(ValueError, match="there is no release before"):
        _release.choose(records[:1], 5)
    assert _release.choose(records, 5, unfinished="d").release == "c"
    assert _release.choose(records, 5, unfinished="c").release == "b", "finished on some hosts"


def test_what_all_hosts_have_on_record_counts() -> None:
    """The first one was made anew, and the second has a release that the third was not there for."""
    a, b, c = (dataclasses.replace(record(name), at=f"2026-01-0{day}T00:00:00+0000") for day, name in enumerate("abc", 1))
    hosts = [{"audit": [dataclasses.asdict(line) for line in lines], "unfinished": ""} for lines in ([c], [a, b, c], [a, c])]
    assert release_before.release_before(hosts, 5)["release"] == "b"
    assert release_before.release_before(hosts, 5, "a")["release"] == "a"
    with pytest.raises(AnsibleFilterError, match="there is no release before"):
        release_before.release_before(hosts[:1], 5)


def test_a_rollback_that_did_not_finish_is_repeated() -> None:
    """It would be undone by going to the release before the one that it was about."""
    a, b, c = (dataclasses.replace(record(name), at=f"2026-01-0{day}T00:00:00+0000") for day, name in enumerate("abc", 1))
    began = dataclasses.replace(b, at="2026-01-04T00:00:00+0000", outcome=_release.BEGAN)

    def chosen(*there: _release.Record, back: bool = True) -> str:
        host = {"audit": [dataclasses.asdict(line) for line in (a, b, c, began)], "unfinished": "b", "back": back}
        other = {"audit": [dataclasses.asdict(line) for line in (a, b, c, *there)], "unfinished": "", "back": False}
        return str(release_before.release_before([host, other], 5)["release"])

    assert chosen() == "b"
    assert chosen(back=False) == "c", "a deploy of what had served before is undone"
    assert chosen(dataclasses.replace(b, at="2026-01-05T00:00:00+0000")) == "b", "finished on the other host"
    later = dataclasses.replace(record("d"), at="2026-01-06T00:00:00+0000")
    assert chosen(later) == "c", "the host was away when another release was deployed"


def test_what_serves_of_a_run_that_did_not_finish() -> None:
    began = record("b", _release.BEGAN)
    under_way = _release.UnderWay("i-b", {}, "run", "b", "image", switched=True)
    told = _release.now([record("a"), began], under_way)
    assert told is not None
    assert _release.to_words(told).startswith("b serves, and is not finished: began at 2026")


@pytest.mark.parametrize(
    ("image", "name"),
    [("10.0.0.1:5000/music-app:0a1b", "10.0.0.1:5000/music-app"), ("music-app", ""), ("10.0.0.1:5000/app", ""), ("app@sha256:0a1b", "")],
)
def test_repository(image: str, name: str) -> None:
    assert _release.repository(image) == name


def test_one_run_holds_the_lock_until_it_gives_it_back(tmp_path: Path) -> None:
    lock = f"{tmp_path}/deploy-lock.json"
    assert _deploy_lock.take(lock, "one", "alice") is None
    assert _deploy_lock.take(lock, "one", "alice") is None
    other = _deploy_lock.take(lock, "two", "bob")
    assert other is not None
    assert other.who == "alice"
    assert not _deploy_lock.give_back(lock, "two")
    assert _deploy_lock.give_back(lock, "one")
    assert _deploy_lock.take(lock, "two", "bob") is None


def test_only_the_run_that_was_judged_loses_its_lock(tmp_path: Path) -> None:
    lock = f"{tmp_path}/deploy-lock.json"
    _deploy_lock.take(lock, "one", "alice")
    assert _deploy_lock.take(lock, "two", "bob", break_run="zero") is not None
    assert _deploy_lock.take(lock, "two", "bob", break_run="one") is None
    assert _deploy_lock.take(lock, "one", "alice") is not None


def test_a_lock_that_has_gone_is_lost(tmp_path: Path) -> None:
    """Another one took it over, deployed, and gave it back."""
    lock = f"{tmp_path}/deploy-lock.json"
    _deploy_lock.take(lock, "one", "alice")
    assert _deploy_lock.holds(lock, "one") and not _deploy_lock.holds(lock, "two")
    _deploy_lock.give_back(lock, "one")
    assert not _deploy_lock.holds(lock, "one")


def held_by(run: str, session_ended: bool = False, unseen: int = 0) -> dict[str, object]:
    return dict(run=run, session_ended=session_ended, unseen=unseen)


def test_a_run_on_this_machine_is_judged_by_its_process() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    run = f"{_runs.place()}/{child.pid}/{_deploy_lock.started(child.pid)}"
    assert not _runs.is_dead(held_by(run, session_ended=True, unseen=10**6))
    child.kill()
    child.wait()
    assert _runs.is_dead(held_by(run))
    # The number is somebody else's by now.
    assert _runs.is_dead(held_by(f"{_runs.place()}/{os.getpid()}/1"))


@pytest.mark.parametrize(
    ("session_ended", "unseen", "dead"), [(False, 10**6, False), (True, 60, False), (True, 601, False), (True, 3601, True)]
)
def test_a_run_elsewhere_is_dead_when_its_connection_and_its_time_are_over(session_ended: bool, unseen: int, dead: bool) -> None:
    assert _runs.is_dead(held_by("another-boot/pid:[1]/17/4711", session_ended, unseen)) is dead


def test_a_release_names_the_commit_that_it_was_made_from() -> None:
    made = dataclasses.replace(record("a"), version="0123456789abcdef0123456789abcdef01234567")
    assert _release.to_words(made).startswith("a (commit 0123456789ab) serves since ")
    (older,) = _release.to_records('{"at": "now", "release": "a", "image": "i", "instance": "x", "by": "me"}\n')
    assert older.version == "" and "commit" not in _release.to_words(older)
