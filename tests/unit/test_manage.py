# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How manage.py is run: in a container that runs already, with a limit that holds inside, too, and in one of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.berth.django.plugins.module_utils import _manage
from ansible_collections.berth.django.plugins.module_utils._shell import Outcome
from ansible_collections.berth.django.plugins.module_utils._spec_parse import parse
from test_spec import spec

NO_TIMEOUT = 'OCI runtime exec failed: exec: "timeout": executable file not found in $PATH: unknown'
PLAIN = "docker exec --interactive web berth-entrypoint python3 manage.py check --no-color"
LIMITED = "docker exec --interactive web timeout -k 5 30 berth-entrypoint python3 manage.py check --no-color"
ENTRYPOINT = ["python3", "-IS", "/etc/berth/current/berth-entrypoint"]


def project(timeout: int | None = None, **changes: Any) -> _manage.Project:
    values: dict[str, Any] = dict(
        service=None, container="web", entrypoint=("berth-entrypoint",), chdir="", working_directory="", python="python3", settings=""
    )
    return _manage.Project(**{**values, **changes}, timeout=timeout, check_mode=False)


@pytest.mark.parametrize(
    ("timeout", "error", "expected"),
    [
        (None, "", [(PLAIN, None)]),
        (30, "", [(LIMITED, 40)]),
        (30, NO_TIMEOUT, [(LIMITED, 40), (PLAIN, 30)]),
    ],
    ids=["no limit", "the image's own timeout", "an image without one"],
)
def test_limit_holds_inside(
    monkeypatch: pytest.MonkeyPatch, timeout: int | None, error: str, expected: list[tuple[str, int | None]]
) -> None:
    calls: list[tuple[str, float | None]] = []

    def run(argv: list[str], stdin: str | None = None, timeout: float | None = None) -> Outcome:
        calls.append((" ".join(argv), timeout))
        failed = bool(error) and "timeout" in argv
        return Outcome(tuple(argv), 127 if failed else 0, "", error if failed else "")

    monkeypatch.setattr(_manage, "run", run)
    assert project(timeout).manage("check").rc == 0
    assert calls == expected


@pytest.mark.parametrize(
    ("chdir", "working_directory", "expected"),
    [
        ("", "", "docker exec --interactive web python3 manage.py check"),
        ("/app/src", "", "docker exec --workdir /app/src --interactive web python3 /app/src/manage.py check"),
        ("/app/src", "/app", "docker exec --workdir /app --interactive web python3 /app/src/manage.py check"),
    ],
)
def test_where_it_is_started(monkeypatch: pytest.MonkeyPatch, chdir: str, working_directory: str, expected: str) -> None:
    monkeypatch.setattr(_manage, "run", lambda argv, *_rest: Outcome(tuple(argv), 0, "", ""))
    outcome = project(entrypoint=(), chdir=chdir, working_directory=working_directory).manage("check")
    assert " ".join(outcome.argv) == f"{expected} --no-color"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"Entrypoint": ["python3"], "Labels": {"berth.spec": '{"entrypoint": ["python3", "-IS", "start"]}'}}, ("python3", "-IS", "start")),
        ({"Entrypoint": ["berth-entrypoint"], "Labels": {"berth.spec": "{}"}}, ("berth-entrypoint",)),
        ({"Entrypoint": ["tini", "--"], "Labels": None}, ("tini", "--")),
        ({"Entrypoint": None}, ()),
    ],
    ids=["ours", "the image's", "a stranger's", "none"],
)
def test_entry_point_of_a_running_container(config: dict[str, Any], expected: tuple[str, ...]) -> None:
    """Docker takes one word for it, and the rest of ours stands in front of the command."""
    assert _manage.entrypoint_of({"Config": config}) == expected


def test_check_mode_has_the_config_that_is_not_there_yet(tmp_path: Path) -> None:
    files = {"berth-entrypoint": "import os", "settings/operator.py": "DEBUG = False"}
    values = spec(
        directory=str(tmp_path / "app"),
        user=f"{os.getuid() or 10001}:{os.getgid() or 10001}",
        entrypoint=ENTRYPOINT,
        config=dict(files=files),
        directories=[dict(path=str(tmp_path / "static"))],
        mounts=[dict(source=str(tmp_path / "static"), target="/srv/static"), dict(source="/etc", target="/host")],
    )
    service = parse(values)
    with _manage.as_far_as_there(service) as there:
        *mounts, config = there.mounts
        assert [item.source for item in mounts] == ["/etc"], "a directory that a run would make is left out"
        assert (config.target, config.read_only, there.config) == ("/etc/berth/current", True, None)
        assert {name: Path(config.source, name).read_text() for name in files} == files
        assert (there.instance, there.entrypoint) == (service.instance, tuple(ENTRYPOINT))
        assert not Path(service.config_root).exists(), "check mode leaves nothing of it on the host"
    assert not Path(config.source).exists()
    _manage._files.write_version(service.config_directory, service.config_texts, service)
    with _manage.as_far_as_there(service) as there:
        assert there.config == service.config and [item.source for item in there.mounts] == ["/etc"]
