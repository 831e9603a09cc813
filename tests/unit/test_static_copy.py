# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Static files that an image brings: which are copied, and what a web server sees of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.berth.django.plugins.module_utils import _static_copy
from ansible_collections.berth.django.plugins.module_utils._shell import EngineError, Outcome

Engine = Callable[[Callable[[Path], object], int], list[str]]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Answers `docker cp` with what `fill` makes of the directory that it is to fill; gives the commands that were run."""

    def answering(fill: Callable[[Path], object], rc: int) -> list[str]:
        calls: list[str] = []

        def run(argv: list[str], timeout: float | None = None) -> Outcome:
            calls.append(argv[1])
            if argv[1] == "cp":
                fill(Path(argv[-1]))
            failed = rc and argv[1] == "cp"
            return Outcome(tuple(argv), rc if failed else 0, "", "Error: No such container:path" if failed else "")

        monkeypatch.setattr(_static_copy, "run", run)
        monkeypatch.setattr(_static_copy, "must", lambda argv, what: run(argv).out)
        return calls

    return answering


def ready(folder: Path) -> None:
    (folder / "css").mkdir()
    (folder / "css" / "site.css").write_text("body {}")
    (folder / "css" / "site.css").chmod(0o600)
    (folder / "logo.svg").write_text("<svg/>")
    (folder / "icon.svg").symlink_to("logo.svg")
    (folder / "passwd").symlink_to("/etc/passwd")
    for path in (folder / "css" / "site.css", folder / "logo.svg"):
        os.utime(path, ns=(10**18, 10**18))


def copied(directory: Path) -> tuple[int, int]:
    return _static_copy.copy("shop:1", "/app/assets", str(directory), "shop-static")


def test_copied_once_for_everybody_to_read(engine: Engine, tmp_path: Path) -> None:
    calls, release = engine(ready, 0), tmp_path / "release"
    assert copied(release) == (3, 0)
    assert calls == ["create", "cp", "rm"]
    found = {str(path.relative_to(release)): path.stat().st_mode & 0o777 for path in release.rglob("*") if path.is_file()}
    assert found == {"css/site.css": 0o644, "logo.svg": 0o644, "icon.svg": 0o644}, "a link leads nowhere else"
    assert (release / "css").stat().st_mode & 0o777 == 0o755 and not (release / "icon.svg").is_symlink()
    assert (release / "logo.svg").stat().st_mtime_ns == 10**18, "the same on all hosts"
    assert copied(release) == (0, 3)
    (release / "logo.svg").write_text("<svg>mine</svg>")
    assert copied(release) == (1, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


@pytest.mark.parametrize(("fill", "rc"), [(lambda folder: None, 1), (lambda folder: (folder / "empty").mkdir(), 0)], ids=["none", "empty"])
def test_nothing_to_copy(engine: Engine, tmp_path: Path, fill: Callable[[Path], object], rc: int) -> None:
    calls = engine(fill, rc)
    with pytest.raises(EngineError, match=r"shop:1 has no static files in /app/assets.*django_uwsgi_static_root"):
        copied(tmp_path / "release")
    assert calls[-1] == "rm" and list(tmp_path.iterdir()) == []
