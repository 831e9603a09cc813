# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a service: who waits for whom, and that nobody else on the host can make root write where they want."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible_collections.berth.django.plugins.module_utils import _manage, _shell


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "berth"
    monkeypatch.setattr(_shell, "LOCK_DIRECTORY", str(path))
    return path


def test_not_where_everybody_may_write() -> None:
    assert Path(_shell.LOCK_DIRECTORY).parent == Path("/run"), "others could be there first"


def test_lock_is_for_its_owner_only_and_says_who_has_it(directory: Path) -> None:
    with _shell.service_lock("music", "nginx", "alice@laptop") as waited:
        assert waited == ""
        assert directory.stat().st_mode & 0o777 == 0o700
        assert (directory / "music-nginx.lock").stat().st_mode & 0o777 == 0o600
        assert (directory / "music-nginx.lock").read_text().startswith("alice@laptop, process ")


def test_second_run_is_told_for_whom_it_waits(directory: Path) -> None:
    still = r"^music-nginx on this host is still being changed by alice@laptop, process \d+"
    first, second = _shell.service_lock("music", "nginx", "alice@laptop"), _shell.service_lock("music", "nginx", "bob", timeout=0)
    with first, pytest.raises(_shell.EngineError, match=still), second:
        pass


def test_another_service_is_not_waited_for(directory: Path) -> None:
    """Maintenance can be switched on during a long migration."""
    with (
        _shell.service_lock("music", "django_uwsgi", "alice@laptop"),
        _shell.service_lock("music", "haproxy", "bob", timeout=0) as waited,
    ):
        assert waited == ""


def test_shorter_words_than_those_before(directory: Path) -> None:
    for holder in ("somebody with a long name", "bob"):
        with _shell.service_lock("music", "nginx", holder):
            assert (directory / "music-nginx.lock").read_text().startswith(f"{holder}, process ")


@pytest.mark.parametrize("trap", ["a link to a directory", "a file", "a directory of everybody", "a link to a file"])
def test_trap_of_somebody_else_is_refused(directory: Path, tmp_path: Path, trap: str) -> None:
    precious = tmp_path / "precious" / "music-nginx.lock"
    precious.parent.mkdir()
    precious.write_text("precious")
    if trap == "a link to a directory":
        directory.symlink_to(precious.parent)
    elif trap == "a file":
        directory.write_text("")
    else:
        directory.mkdir()
        directory.chmod(0o777 if trap == "a directory of everybody" else 0o700)
        (directory / "music-nginx.lock").symlink_to(precious)
    with (
        pytest.raises(_shell.EngineError, match=rf"{directory} on this host.*(the next run makes it anew|if it is in the way)\."),
        _shell.service_lock("music", "nginx", "alice"),
    ):
        pass
    assert precious.read_text() == "precious"


def test_directory_of_another_user_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory.mkdir(mode=0o700)
    monkeypatch.setattr(_shell.os, "geteuid", lambda: directory.stat().st_uid + 1)
    with pytest.raises(_shell.EngineError, match="others than root may write"), _shell.service_lock("music", "nginx", "alice"):
        pass


class Locked(Exception):
    """Carries what a module locked before it did anything."""


SERVICE = {"project": "music", "name": "django_uwsgi", "fleet": "f", "image": "i:1", "user": "1:1", "directory": "/d", "memory": "1g"}
LOCKS: list[tuple[str, dict[str, Any], tuple[str, str]]] = [
    ("container_service", {"service": {**SERVICE, "health": {"command": ["true"]}}}, ("music", "django_uwsgi")),
    ("postgres_database", {}, ("music", "postgres")),
    ("haproxy_maintenance", {"state": "on"}, ("music", "haproxy")),
    ("haproxy_drain", {}, ("music", "haproxy")),
    ("deploy_lock", {"directory": "/d"}, ("music", "deploy")),
]


@pytest.mark.parametrize(("name", "parameters", "expected"), LOCKS, ids=[row[0] for row in LOCKS])
def test_what_each_module_locks(monkeypatch: pytest.MonkeyPatch, name: str, parameters: dict[str, Any], expected: tuple[str, str]) -> None:
    module = importlib.import_module(f"ansible_collections.berth.django.plugins.modules.{name}")

    def lock(project: str, service: str, holder: str, timeout: float = 0) -> None:
        raise Locked(project, service)

    monkeypatch.setattr(module if hasattr(module, "service_lock") else _shell, "service_lock", lock)
    wanted = MagicMock(params={"project": "music", "holder": "alice", **parameters}, check_mode=False)
    monkeypatch.setattr(module, "AnsibleModule", lambda **_: wanted)
    with pytest.raises(Locked) as locked:
        module.main()
    assert locked.value.args == expected


def test_commands_of_the_project_lock_its_service(monkeypatch: pytest.MonkeyPatch) -> None:
    def lock(project: str, service: str, holder: str) -> None:
        raise Locked(project, service)

    monkeypatch.setattr(_manage, "service_lock", lock)
    service = MagicMock(project="music")
    service.name = "django_uwsgi"
    monkeypatch.setattr(_manage, "project_of", lambda *_: MagicMock(service=service))
    with pytest.raises(Locked) as locked:
        _manage.execute(MagicMock(check_mode=False), lambda _: {})
    assert locked.value.args == ("music", "django_uwsgi")
