# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a backup is made, by the program as it is, with a pgBackRest that only notes what it is asked."""

from __future__ import annotations

import datetime
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from _paths import ROOT

PROGRAM = ROOT / "roles" / "pgbackrest" / "files" / "image" / "berth-backups"
UTC = datetime.timezone.utc
PGBACKREST = """#!/bin/sh
echo "$*" >> "$BERTH_REPOSITORY/asked"
case "$*" in
    *backup) [ ! -e "$BERTH_REPOSITORY/broken" ] ;;
    *info) [ -e "$BERTH_REPOSITORY/empty" ] && echo '[{"backup":[],"name":"music"}]' || echo '[{"backup":[{"label":"20261122"}]}]' ;;
esac
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    program = tmp_path / "bin" / "pgbackrest"
    program.parent.mkdir()
    program.write_text(PGBACKREST)
    program.chmod(0o755)
    return tmp_path


def environment(repository: Path, when: str = "02:30", days: str = "Sunday") -> dict[str, str]:
    path = f"{repository / 'bin'}:{os.environ['PATH']}"
    own = {"BERTH_REPOSITORY": str(repository), "TMPDIR": str(repository), "BERTH_BACKUP_TIME": when, "BERTH_BACKUP_FULL_DAYS": days}
    return {"PATH": path, **own}


def run(repository: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", PROGRAM, *words], env=environment(repository), capture_output=True, text=True, timeout=30, check=False)


def asked(repository: Path) -> list[str]:
    """What makes something, or fails to."""
    notes = repository / "asked"
    return [line for line in notes.read_text().splitlines() if not line.endswith("info")] if notes.exists() else []


def begun(repository: Path, seconds: float = 3.0, **more: str) -> list[str]:
    """What it asks pgBackRest when it starts, within so many seconds."""
    process = subprocess.Popen(["sh", PROGRAM], env=environment(repository, **more), stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        time.sleep(seconds)
        assert process.poll() is None, "it has ended"
        assert run(repository, "healthy").returncode == 0
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return asked(repository)


def made(repository: Path, ago: datetime.timedelta) -> None:
    newest = repository / ".berth-newest"
    newest.touch()
    when = time.time() - ago.total_seconds()
    os.utime(newest, (when, when))


def at(ago: datetime.timedelta) -> str:
    return f"{datetime.datetime.now(UTC) - ago:%H:%M}"


def test_one_is_made_at_once_where_there_is_none(repository: Path) -> None:
    today = f"{datetime.datetime.now(UTC):%A}"
    assert begun(repository, days=f"Nonesday {today}") == ["stanza-create", "--type=full backup"]
    assert (repository / ".berth-newest").exists()


def test_one_is_made_at_once_in_another_repository(repository: Path) -> None:
    """Whatever is in the one before."""
    made(repository, datetime.timedelta(minutes=1))
    (repository / "empty").touch()
    assert begun(repository, days="Nonesday") == ["stanza-create", "--type=incr backup"]


@pytest.mark.parametrize(
    ("due", "newest", "expected"),
    [
        pytest.param(1, 0.5, [], id="made since it was due"),
        pytest.param(1, 2, ["--type=incr backup"], id="due since the newest"),
        pytest.param(1, 72, ["--type=incr backup"], id="off for days: one makes up for all"),
        pytest.param(-1, 22, [], id="due later today, made since it was due yesterday"),
        pytest.param(-1, 24, ["--type=incr backup"], id="due later today, and missed yesterday"),
    ],
)
def test_what_was_missed_is_made_up_for(repository: Path, due: float, newest: float, expected: list[str]) -> None:
    made(repository, datetime.timedelta(hours=newest))
    assert begun(repository, when=at(datetime.timedelta(hours=due)), days="Nonesday")[1:] == expected


def test_one_that_fails_is_no_backup(repository: Path) -> None:
    (repository / "broken").touch()
    outcome = run(repository, "now", "diff")
    assert outcome.returncode == 1 and "backup: diff failed" in outcome.stdout
    assert asked(repository) == ["--type=diff backup"] and not (repository / ".berth-newest").exists()


def test_one_more_now(repository: Path) -> None:
    assert run(repository, "now", "full").returncode == 0
    assert asked(repository) == ["--type=full backup"] and (repository / ".berth-newest").exists()


def test_a_clock_that_nobody_looks_at_is_not_healthy(repository: Path) -> None:
    assert run(repository, "healthy").returncode == 1
    (repository / "berth-backups").touch()
    assert run(repository, "healthy").returncode == 0
    old = time.time() - 300
    os.utime(repository / "berth-backups", (old, old))
    assert "has not looked at its clock" in run(repository, "healthy").stdout
