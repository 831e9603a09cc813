# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Static files of releases, packed on one host and unpacked on another."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from ansible_collections.berth.django.plugins.module_utils import _static_release


def archive_of(tmp_path: Path, files: dict[str, str]) -> str:
    source = tmp_path / "source"
    for name, text in files.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (1_000_000_000, 1_000_000_000))
    archive = tmp_path / "archive.tar.gz"
    with archive.open("wb") as file:
        _static_release.pack(str(source), file)
    return str(archive)


def test_files_arrive_with_their_times_readable_for_all(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, {"admin/css/base.css": "body {}", "favicon.ico": "icon"})
    target = tmp_path / "static" / "r1"
    _static_release.unpack(archive, str(target))
    css = target / "admin/css/base.css"
    assert css.read_text() == "body {}" and css.stat().st_mtime == 1_000_000_000
    assert (css.stat().st_mode & 0o777, css.parent.stat().st_mode & 0o777) == (0o644, 0o755)
    assert [item.name for item in target.parent.iterdir()] == ["r1"], "something was left over"


def test_names_that_lead_elsewhere_are_left_out(tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("../outside", "/absolute", "a/../../outside", "inside"):
            member = tarfile.TarInfo(name)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"x"))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    _static_release.unpack(str(archive), str(tmp_path / "static" / "r1"))
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file() or path.is_symlink())
    assert found == ["archive.tar.gz", "static/r1/absolute", "static/r1/inside"]


@pytest.mark.parametrize(
    ("names", "first", "stay", "go"),
    [
        ({"a": 1.0}, ["a", ""], ["a"], []),
        ({"a": 1.0, "b": 2.0, "c": 3.0}, ["a", ""], ["a", "c"], ["b"]),
        ({"a": 1.0, "b": 1.0, "c": 2.0}, ["c", "gone"], ["c", "a"], ["b"]),
        ({"serves": 1.0, "failed": 2.0, "new": 3.0}, ["new", "serves"], ["new", "serves"], ["failed"]),
    ],
)
def test_order(names: dict[str, float], first: list[str], stay: list[str], go: list[str]) -> None:
    assert _static_release.order(names, first, keep=2) == (stay, go)


def test_same_release_with_more_files_is_completed(tmp_path: Path) -> None:
    target = tmp_path / "static" / "r1"
    _static_release.unpack(archive_of(tmp_path, {"a.css": "old"}), str(target))
    _static_release.unpack(archive_of(tmp_path, {"a.css": "new", "deep/b.css": "b"}), str(target))
    assert {str(path.relative_to(target)): path.read_text() for path in target.rglob("*") if path.is_file()} == {
        "a.css": "new",
        "deep/b.css": "b",
    }
    assert [item.name for item in target.parent.iterdir()] == ["r1"], "something was left over"


def test_a_umask_of_a_hardened_host_hides_nothing(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        _static_release.unpack(archive_of(tmp_path, {"deep/er/a.css": "a"}), str(tmp_path / "static" / "r1"))
        _static_release.arrange(str(tmp_path / "static"), "r1", "", keep=2)
    finally:
        os.umask(before)
    for name in ("static", "static/r1", "static/r1/deep", "static/r1/deep/er", "static/r1/deep/er/a.css", "static/kept"):
        assert (tmp_path / name).stat().st_mode & 0o004, name


def test_what_serves_is_never_pruned(tmp_path: Path) -> None:
    """Nor what is no release."""
    a, b, c = (letter * 16 for letter in "abc")
    for number, name in enumerate((a, b, c, "uploads")):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (number, number))
    (tmp_path / "current").symlink_to(a)
    _static_release.arrange(str(tmp_path), c, a, keep=1)
    assert sorted(item.name for item in tmp_path.iterdir()) == [a, c, "current", "kept", "uploads"]
    assert {link.name: os.readlink(link) for link in (tmp_path / "kept").iterdir()} == {"0": f"../{c}", "1": f"../{a}"}


def test_what_was_brought_and_never_served_goes_before_what_is_kept(tmp_path: Path) -> None:
    old, serves, failed, new = (letter * 16 for letter in "abcd")
    for number, name in enumerate((old, serves, failed, new)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (number, number))
    _static_release.arrange(str(tmp_path), new, serves, keep=3, kept=[serves, old])
    assert sorted(item.name for item in tmp_path.iterdir()) == [old, serves, new, "kept"]
