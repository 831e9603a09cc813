# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The static files of a release: collected, completed by the project's own commands, or brought by the image; and when nobody is asked."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.berth.django.plugins.module_utils import _manage, _observe, _static_copy
from ansible_collections.berth.django.plugins.module_utils._shell import Outcome
from ansible_collections.berth.django.plugins.module_utils._spec_parse import parse
from ansible_collections.berth.django.plugins.modules.django_collectstatic import collectstatic
from test_spec import spec

DEFAULTS = dict(
    clear=False, root="/srv/static", directory=None, from_image=False, commands=[], compress=True, unless_collected=False, ignore=[]
)
PACK = dict(command="pack", args=["--all"], when=True)
CSS = "body { color: red }\n" * 40


class Project:
    """One that has a style sheet, and a command that packs it."""

    def __init__(self, release: Path, check_mode: bool = False, serves: bool = False, collects_to: str = "/srv/static") -> None:
        self.service = parse(spec(image="shop:1", mounts=[dict(source=str(release), target="/srv/static")]))
        self.release, self.check_mode, self.serves, self.collects_to = release, check_mode, serves, collects_to
        self.chdir, self.settings = "/app", "shop.settings"
        self.asked: list[tuple[str, ...]] = []

    def manage(self, command: str, words: list[str], writable: list[str]) -> Outcome:
        self.asked.append((command, *words, *(f"writes {path}" for path in writable)))
        copied = 0 if (self.release / "site.css").exists() else 1
        if not self.check_mode:
            (self.release / {"collectstatic": "site.css", "pack": "packed.css"}[command]).write_text(CSS)
        out = f"{copied} static files copied to '{self.collects_to}', {1 - copied} unmodified.\n"
        return Outcome((), 0, out, "")


@pytest.fixture
def release(tmp_path: Path) -> Path:
    (tmp_path / "release").mkdir()
    return tmp_path / "release"


def run(project: Project, **params: Any) -> dict[str, Any]:
    return collectstatic(SimpleNamespace(params={**DEFAULTS, **params}, check_mode=project.check_mode), project)  # type: ignore[arg-type]


def test_commands_complete_what_was_collected(release: Path) -> None:
    project = Project(release)
    done = run(project, commands=[PACK, {**PACK, "command": "never", "when": False}])
    assert [asked[0] for asked in project.asked] == ["collectstatic", "pack"]
    assert project.asked[1] == ("pack", "--all", "writes /srv/static")
    assert (done["changed"], done["copied"], done["compressed"]) == (True, 1, 2), "their files get a compressed copy, too"
    assert sorted(path.name for path in release.iterdir()) == ["packed.css", "packed.css.gz", "site.css", "site.css.gz"]
    again = Project(release, serves=True)
    known = run(again, commands=[PACK])
    assert not again.asked and not known["changed"] and known["contents"] == done["contents"], "what serves is not asked again"
    run(again, commands=[{**PACK, "args": ["--none"]}])
    assert len(again.asked) == 2, "another command is another question"


def test_commands_are_not_known_beforehand(release: Path) -> None:
    told = run(Project(release, check_mode=True), commands=[PACK])
    assert told["changed"] and "what manage.py pack would do" in told["unknown"] and list(release.iterdir()) == []


def test_a_command_that_fails(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(release)
    collected = project.manage
    failing = lambda command, *rest, **more: Outcome((), 1, "", "no sheet") if command == "pack" else collected(command, *rest, **more)  # noqa: E731
    monkeypatch.setattr(project, "manage", failing)
    with pytest.raises(_manage.CommandFailed, match=r"manage.py pack failed: no sheet"):
        run(project, commands=[PACK])
    assert not list(release.parent.glob(".collected-*")), "the next run has to ask again"


def test_collected_elsewhere(release: Path) -> None:
    with pytest.raises(_manage.CommandFailed, match=r"set django_uwsgi_static_root to /tmp/static"):
        run(Project(release, collects_to="/tmp/static"))


def test_brought_by_the_image(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, calls = {"shop:1": "sha256:1"}, []

    def copy(image: str, path: str, directory: str, name: str) -> tuple[int, int]:
        calls.append((image, path, directory))
        (release / "site.css").write_text(CSS)
        return 1, 0

    monkeypatch.setattr(_observe, "image_id", lambda image: ids[image])
    monkeypatch.setattr(_static_copy, "copy", copy)
    options = dict(from_image=True, root="/app/assets", directory=str(release))
    with pytest.raises(ValueError, match="leave one of the two out"):
        run(Project(release), **options, commands=[PACK])
    predicted = run(Project(release, check_mode=True), **options)
    assert predicted["changed"] and predicted["unknown"] and not calls
    project = Project(release)
    done = run(project, **options)
    assert (done["changed"], done["copied"], done["compressed"]) == (True, 1, 1) and not project.asked
    assert not run(project, **options)["changed"] and calls == [("shop:1", "/app/assets", str(release))], "once per release"
    ids["shop:1"] = "sha256:2"
    run(project, **options)
    assert len(calls) == 2, "the same tag, and another image"
