# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compressed copies of static files: beside the right ones, current, and nobody else's archives touched."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from ansible_collections.berth.django.plugins.module_utils._precompress import compress, ours

TEXT = "body { color: red }\n" * 50


@pytest.fixture
def static(tmp_path: Path) -> Path:
    directory = tmp_path / "release"
    (directory / "admin" / "css").mkdir(parents=True)
    (directory / "admin" / "css" / "base.css").write_text(TEXT)
    (directory / "tiny.js").write_text("x")
    (directory / "noise.js").write_bytes(os.urandom(5000))
    (directory / "photo.png").write_text(TEXT)
    (directory / "dataset.json.gz").write_bytes(gzip.compress(b"[]", mtime=0))  # a download of the project: there is no dataset.json
    (directory / "linked.css").symlink_to("/etc/passwd")
    return directory


def copies(static: Path) -> list[str]:
    return sorted(str(path.relative_to(static)) for path in static.rglob("*.gz"))


def test_what_compresses_gets_a_copy(static: Path) -> None:
    original = static / "admin" / "css" / "base.css"
    original.chmod(0o640)
    assert compress(str(static)) == 1
    assert copies(static) == ["admin/css/base.css.gz", "dataset.json.gz"]
    copy = original.with_name("base.css.gz")
    assert gzip.decompress(copy.read_bytes()).decode() == TEXT
    assert copy.read_bytes()[4:8] == bytes(4), "the time would make the same file differ between two hosts"
    seen, wanted = copy.stat(), original.stat()
    assert (seen.st_mode, seen.st_uid, seen.st_gid, seen.st_mtime_ns) == (wanted.st_mode, wanted.st_uid, wanted.st_gid, wanted.st_mtime_ns)
    assert [path.name for path in static.parent.iterdir()] == ["release"], "something was left beside it"


def test_second_time_changes_nothing(static: Path) -> None:
    compress(str(static))
    before = {path: path.stat().st_ino for path in static.rglob("*.gz")}
    assert compress(str(static)) == 0
    assert {path: path.stat().st_ino for path in static.rglob("*.gz")} == before


def test_file_that_was_only_written_again_keeps_its_copy(static: Path) -> None:
    """Post-processing does that on every run of collectstatic."""
    compress(str(static))
    original = static / "admin" / "css" / "base.css"
    os.utime(original, (1, 1))
    assert compress(str(static)) == 0
    assert original.with_name("base.css.gz").stat().st_mtime == 1, "it would be unpacked again each time"


def test_changed_file_gets_a_new_copy_or_none(static: Path) -> None:
    compress(str(static))
    original = static / "admin" / "css" / "base.css"
    original.write_text(TEXT + "p {}")
    assert compress(str(static)) == 1
    assert gzip.decompress(original.with_name("base.css.gz").read_bytes()).decode() == TEXT + "p {}"
    original.write_text("p")
    assert compress(str(static)) == 1
    assert copies(static) == ["dataset.json.gz"]


def test_copy_goes_with_its_original(static: Path) -> None:
    compress(str(static))
    before = ours(str(static))
    (static / "admin" / "css" / "base.css").unlink()
    assert compress(str(static), before, check=True) == 1 and len(copies(static)) == 2
    assert compress(str(static), before) == 1
    assert copies(static) == ["dataset.json.gz"]


def test_copy_that_the_project_brought_is_left_when_it_is_right(static: Path) -> None:
    copy = static / "admin" / "css" / "base.css.gz"
    copy.write_bytes(gzip.compress(TEXT.encode(), 1))
    before = copy.read_bytes()
    assert compress(str(static)) == 0 and copy.read_bytes() == before
    broken = static / "tiny.js.gz"
    broken.write_bytes(b"no gzip")
    assert compress(str(static)) == 1 and not broken.exists(), "nginx would send that for tiny.js"


def test_check_mode_counts_and_changes_nothing(static: Path) -> None:
    assert compress(str(static), check=True) == 1
    assert copies(static) == ["dataset.json.gz"]
