# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""collectstatic is left out only where it would find nothing to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.berth.django.plugins.module_utils import _static_record

COUNTS = {"copied": 0, "unmodified": 2}
KEY = "5b1d0c2f7a90 --no-input"


@pytest.fixture
def static(tmp_path: Path) -> Path:
    (tmp_path / "release" / "admin").mkdir(parents=True)
    (tmp_path / "release" / "admin" / "base.css").write_text("body {}")
    (tmp_path / "release" / "staticfiles.json").write_text("{}")
    _static_record.keep(str(tmp_path / "release"), KEY, COUNTS)
    return tmp_path / "release"


def test_nothing_happened(static: Path) -> None:
    assert _static_record.recall(str(static), KEY) == COUNTS
    assert _static_record.recall(f"{static}/", KEY) == COUNTS
    assert [path.name for path in static.iterdir() if path.name.startswith(".")] == [], "nothing of ours where a web server looks"


CHANGES: dict[str, Callable[[Path], object]] = {
    "a file went": lambda static: (static / "staticfiles.json").unlink(),
    "a file came": lambda static: (static / "admin" / "new.css").write_text(""),
    "a file changed": lambda static: (static / "admin" / "base.css").write_text("body { color: red }"),
    "a file was touched": lambda static: os.utime(static / "admin" / "base.css", (1, 1)),
    "a file moved": lambda static: (static / "staticfiles.json").rename(static / "admin" / "staticfiles.json"),
    "the directory went": lambda static: static.rename(static.with_name("elsewhere")),
    "the record is broken": lambda static: Path(_static_record.path_of(str(static))).write_text("{"),
    "the record is of another kind": lambda static: Path(_static_record.path_of(str(static))).write_text("{}"),
    "the record went": lambda static: Path(_static_record.path_of(str(static))).unlink(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_something_happened(static: Path, change: Callable[[Path], object]) -> None:
    change(static)
    assert _static_record.recall(str(static), KEY) is None


def test_another_instance(static: Path) -> None:
    assert _static_record.recall(str(static), "another") is None
