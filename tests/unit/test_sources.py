# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a project's source comes from: a directory, or one commit of a git repository, fetched with the real git."""

from __future__ import annotations

import base64
import multiprocessing
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from _paths import ROOT
from _render import RoleValues
from ansible import constants
from ansible_collections.berth.django.plugins.module_utils import _inventory
from ansible_collections.berth.django.plugins.plugin_utils import _sources
from ansible_collections.berth.django.plugins.plugin_utils._sources import Repository

FULL = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/me/shop", None),
        ("~/shop", None),
        ("git+https://git.example.com/shop.git", Repository("https://git.example.com/shop.git")),
        ("git+https://git.example.com/shop.git@v1.2", Repository("https://git.example.com/shop.git", "v1.2")),
        (
            "git+https://h.example.com/s.git@feature/x#subdirectory=back/end",
            Repository("https://h.example.com/s.git", "feature/x", "back/end"),
        ),
        ("git+https://h.example.com/s.git#egg=shop&subdirectory=a", Repository("https://h.example.com/s.git", "", "a")),
        ("git+ssh://git@h.example.com:2222/s.git@main", Repository("ssh://git@h.example.com:2222/s.git", "main")),
        ("git+https://me:s%40t@h.example.com/s.git@main", Repository("https://h.example.com/s.git", "main", "", "me:s%40t")),
        ("git+https://token@h.example.com/s.git", Repository("https://h.example.com/s.git", "", "", "token")),
        ("git+file:///srv/git/shop.git@v1", Repository("file:///srv/git/shop.git", "v1")),
    ],
)
def test_what_a_source_names(text: str, expected: Repository | None) -> None:
    assert _sources.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("https://me:secret@h.example.com/s.git", "https://h.example.com/s.git is neither a directory nor written as git+https://"),
        ("git@h.example.com:shop.git", "is neither a directory nor written as git+https://"),
        ("git+svn://h.example.com/s", "is not written as git+https://"),
        ("git+https://h.example.com/", "is not written as"),
        ("git+https://h.example.com/s.git#subfolder=a", "is not written as"),
        ("git+https://h.example.com/s.git@", "names no branch, tag or commit"),
        ("git+https://h.example.com/s.git@--upload-pack=x", "names no branch, tag or commit"),
        ("git+https://h.example.com/s.git#subdirectory=../x", "its subdirectory is not inside of the repository"),
    ],
)
def test_what_names_no_source(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as refused:
        _sources.parse(text)
    assert "secret" not in str(refused.value)


def test_a_login_goes_by_the_environment() -> None:
    environment = _sources._environment(Repository("https://h.example.com/s.git", login="me:s%40t"))
    number = int(environment["GIT_CONFIG_COUNT"]) - 1
    assert environment[f"GIT_CONFIG_KEY_{number}"] == "http.https://h.example.com/.extraHeader"
    assert environment[f"GIT_CONFIG_VALUE_{number}"] == "Authorization: Basic " + base64.b64encode(b"me:s@t").decode()
    assert "GIT_CONFIG_COUNT" not in _sources._environment(Repository("ssh://git@h.example.com/s.git")) or "GIT_CONFIG_COUNT" in os.environ


# --- with git -------------------------------------------------------------------------------------------------------------------------


class Remote:
    """A repository with two commits: v1 (an annotated tag) and main."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"git+file://{path}"
        path.mkdir()
        self.git("init", "--quiet", "--initial-branch=main", ".")
        self.first = self.commit("one")
        self.git("tag", "--annotate", "--message=v1", "v1")
        self.second = self.commit("two")

    def git(self, *words: str) -> str:
        settings = ["-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "protocol.file.allow=always"]
        return subprocess.run(["git", *settings, *words], cwd=self.path, capture_output=True, text=True, check=True).stdout.strip()

    def commit(self, text: str) -> str:
        (self.path / "backend").mkdir(exist_ok=True)
        (self.path / "backend" / "manage.py").write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", f"--message={text}")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    return Remote(tmp_path / "remote")


@pytest.fixture
def find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A run of its own, which keeps sources in tmp_path/state."""
    new_run(tmp_path / "run", monkeypatch)
    return lambda text: _sources.find(text, lambda: str(tmp_path / "state"))


def new_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.mkdir()
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(path))


def test_a_directory(tmp_path: Path, find: Any) -> None:
    assert find(str(tmp_path)) == _sources.Checkout(tmp_path.resolve(), "")
    with pytest.raises(ValueError, match=r"^there is no directory /nonexistent on the controller\.$"):
        find("/nonexistent")


@pytest.mark.parametrize(("ref", "text"), [("", "two"), ("@main", "two"), ("@v1", "one"), ("@refs/heads/main", "two"), ("@FIRST", "one")])
def test_a_checkout_is_one_commit_and_nothing_else(remote: Remote, find: Any, ref: str, text: str) -> None:
    found = find(remote.url + ref.replace("FIRST", remote.first) + "#subdirectory=backend")
    assert found.version == {"one": remote.first, "two": remote.second}[text]
    assert found.path.name == "backend" and (found.path / "manage.py").read_text() == text
    assert sorted(path.name for path in found.path.parent.iterdir()) == ["backend"]


def test_submodules_come_along(remote: Remote, find: Any, tmp_path: Path) -> None:
    library = Remote(tmp_path / "library")
    remote.git("submodule", "--quiet", "add", f"file://{library.path}", "library")
    remote.git("commit", "--quiet", "--message=three")
    path = find(remote.url).path
    assert (path / "library" / "backend" / "manage.py").read_text() == "two"
    assert not list(path.rglob(".git"))


def test_a_branch_is_looked_up_once_in_a_run(remote: Remote, find: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find(remote.url).version == remote.second
    third = remote.commit("three")
    assert find(remote.url).version == remote.second, "another commit in the middle of a run"
    new_run(tmp_path / "other-run", monkeypatch)
    assert find(remote.url).version == third


def test_many_processes_fetch_once(remote: Remote, find: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, programs = tmp_path / "log", tmp_path / "bin"
    programs.mkdir()
    (programs / "git").write_text(f'#!/bin/sh\necho "$@" >>{log}\nexec {shutil.which("git")} "$@"\n')
    (programs / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    workers = [multiprocessing.get_context("fork").Process(target=find, args=(remote.url,)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    calls = log.read_text()
    assert (calls.count("ls-remote"), calls.count(" fetch ")) == (1, 1)


def test_a_commit_that_is_there_needs_no_repository(remote: Remote, find: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = f"{remote.url}@{remote.first}"
    before = find(wanted)
    shutil.rmtree(remote.path)
    new_run(tmp_path / "other-run", monkeypatch)
    assert find(wanted) == before
    with pytest.raises(ValueError, match=r"^file:\S+ cannot be fetched: fatal: "):
        find(f"{remote.url}@v1")


def test_what_cannot_be_fetched(remote: Remote, find: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text, said in (
        (f"{remote.url}@v9", r"has no branch or tag 'v9' \(a commit is named by all of its digits\)\.$"),
        (f"{remote.url}@{FULL}", rf"has no commit {FULL}, or not all of it"),
        (f"{remote.url}@v1#subdirectory=nope", r"has no directory nope at v1\.$"),
        (f"git+file://{tmp_path}/nothing", r"nothing cannot be fetched: fatal: .*does not appear to be a git repository"),
        ("git+ssh://git@127.0.0.1:9/shop.git", r"cannot be fetched: .*"),
    ):
        with pytest.raises(ValueError, match=said):
            find(text)
    assert not list((tmp_path / "state").rglob(".??*")), "half of a checkout was left"
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=r"is fetched with git, which the controller does not have: install it there\.$"):
        find(f"{remote.url}@main")


def test_a_source_needs_a_place(remote: Remote, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="berth_state, which is not set"):
        _sources.find(remote.url, lambda: "")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot be kept below berth_state .*Not a directory"):
        _sources.find(remote.url, lambda: str(tmp_path / "file"))


def test_checkouts_that_nobody_asks_for_go(remote: Remote, find: Any) -> None:
    old, recent = find(f"{remote.url}@v1").path, find(f"{remote.url}@main").path
    os.utime(old, (1, 1))
    third = find(f"{remote.url}@{remote.commit('three')}").path
    assert [path.is_dir() for path in (old, recent, third)] == [False, True, True]


# --- in an inventory --------------------------------------------------------------------------------------------------------------------


def role(**values: Any) -> RoleValues:
    known = {
        "berth_project": "shop",
        "berth_fleet": "lab",
        "berth_directory": "/srv/berth",
        "berth_address": "10.0.0.1",
        "berth_registry": "",
    }
    project = {"django_uwsgi_wsgi_module": "shop.wsgi", "django_uwsgi_allowed_hosts": ["x"], "django_uwsgi_requirements": []}
    return RoleValues(ROOT / "roles" / "django_uwsgi", {**known, **project, "groups": {}, "hostvars": {}, **values})


LOOKUP = "lookup('berth.django.build', 'django_uwsgi')"


def test_the_lookup_tells_the_commit_and_digests_the_files(remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new_run(tmp_path / "run", monkeypatch)
    state = {"berth_state": str(tmp_path / "state")}
    tagged = role(django_uwsgi_source=f"{remote.url}@v1", **state).value(LOOKUP)
    assert (tagged["version"], Path(tagged["source"]).name) == (remote.first, remote.first)
    branch = role(django_uwsgi_source=f"{remote.url}@main", **state).value(LOOKUP)
    remote.git("commit", "--quiet", "--allow-empty", "--message=nothing changed")
    same = role(django_uwsgi_source=f"{remote.url}@{remote.git('rev-parse', 'HEAD')}", **state).value(LOOKUP)
    assert tagged["reference"] != branch["reference"] == same["reference"]
    assert branch["version"] != same["version"]
    assert role(django_uwsgi_source=str(remote.path)).value(LOOKUP)["version"] == ""


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "django_uwsgi_source is not set: name the project's directory or git repository, or a ready image in django_uwsgi_image."),
        ({"django_uwsgi_source": "/nonexistent"}, "django_uwsgi_source: there is no directory /nonexistent on the controller."),
        ({"django_uwsgi_source": "git@h.example.com:s.git"}, "django_uwsgi_source: git@h.example.com:s.git is neither a directory nor"),
    ],
)
def test_what_the_lookup_refuses(values: dict[str, Any], said: str) -> None:
    with pytest.raises(Exception, match=r".") as refused:
        role(**values).value(LOOKUP)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("values", "missing"),
    [({}, True), ({"django_uwsgi_source": "/a"}, False), ({"django_uwsgi_image": "registry.example.com/shop@sha256:1"}, False)],
)
def test_a_ready_image_needs_no_source(values: dict[str, Any], missing: bool) -> None:
    options = {"django_uwsgi_source": {"type": "str"}, "django_uwsgi_image": {"type": "str"}}
    found = _inventory.missing_problems(_inventory.Role("web1", "django_uwsgi", options, values, given=frozenset(values)))
    told = "django_uwsgi_source is missing for host web1: set it in group_vars/django_uwsgi, or django_uwsgi_image to a ready image."
    assert found == ([told] if missing else [])
    if "django_uwsgi_image" in values:
        assert role(**values).value("__django_uwsgi_service.image") == values["django_uwsgi_image"]


def test_no_sentence_shows_a_login() -> None:
    roles = [
        _inventory.Role(
            host, "django_uwsgi", {}, {"django_uwsgi_project": "shop", "django_uwsgi_source": f"git+https://me:s3cret@{host}/s"}
        )
        for host in ("a", "b")
    ]
    (sentence,) = _inventory.project_problems(roles)
    assert "git+https://a/s (a)" in sentence and "s3cret" not in sentence
