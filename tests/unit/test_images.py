# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes into an image, what names it, and what a failed build tells."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.berth.django.plugins.module_utils import _build, _image_builder, _registry
from ansible_collections.berth.django.plugins.plugin_utils import _build_secrets, _builds

IGNORED = [
    # pattern(s), name, ignored
    ("*.log", "a.log", True),
    ("*.log", "sub/a.log", False),  # Docker's patterns start at the root, unlike git's
    ("**/*.log", "sub/deep/a.log", True),
    ("**/*.log", "a.log", True),
    ("node_modules", "node_modules/x/y.js", True),
    ("node_modules/", "node_modules/x.js", True),
    ("/secret", "secret", True),
    ("a/?/c", "a/b/c", True),
    ("a/?/c", "a/bb/c", False),
    ("a/*/c", "a/b/d/c", False),
    ("a/**", "a/b/d", True),
    ("[ab].txt", "b.txt", True),
    ("# a comment", "# a comment", False),
    ("*.md\n!README.md", "README.md", False),
    ("*.md\n!README.md", "OTHER.md", True),
    ("!README.md\n*.md", "README.md", True),  # the last one that matches decides
    ("docs\n!docs/kept.txt", "docs/kept.txt", False),
    ("./tmp", "tmp/x", True),
]


@pytest.mark.parametrize(("patterns", "name", "expected"), IGNORED)
def test_dockerignore(patterns: str, name: str, expected: bool) -> None:
    assert _build.is_ignored(name, _build.read_dockerignore(patterns)) is expected


def test_included_requirements() -> None:
    text = "Django\n-r base.txt\n  -c limits.txt # why\n--requirement=dev.txt\n-r https://example.org/r.txt\n-e .\n"
    assert _build.included_requirements(text) == ["base.txt", "limits.txt", "dev.txt"]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("10.1.2.3:5000/berth-nginx:abc", ("10.1.2.3:5000", "berth-nginx", "abc")),
        ("registry.example.com/team/app:1", ("registry.example.com", "team/app", "1")),
        ("localhost/app", ("localhost", "app", "latest")),
        ("nginx:1.26", ("docker.io", "library/nginx", "1.26")),
        ("team/app:2", ("docker.io", "team/app", "2")),
    ],
)
def test_split_reference(image: str, expected: tuple[str, str, str]) -> None:
    assert _build.split_reference(image) == expected


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"name": "a", "context": "c", "sources": "x"}, "has no key sources"),
        ({"context": "c"}, "needs name"),
        ({"name": "No Good", "context": "c"}, "no image name"),
    ],
)
def test_a_wrong_declaration_is_refused(declared: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _build.parse(declared, "__x_build")


def test_build_argv_names_files_of_secrets_only() -> None:
    argv = _build.build_argv("r/app:1", {"B": "two words", "A": "1"}, {"pip": "/t/pip", "ca": "/t/ca"}, {"berth.image": "1"})
    assert argv == (
        ["docker", "build", "--progress", "plain", "--tag", "r/app:1", "--build-arg", "A=1", "--build-arg", "B=two words"]
        + ["--secret", "id=ca,src=/t/ca", "--secret", "id=pip,src=/t/pip", "--label", "berth.image=1", "-"]
    )


FAILED_BUILDS = {
    "pip": (
        "#13 2.1 Collecting Django\n"
        "#13 2.345 ERROR: Could not find a version that satisfies the requirement nope==1 (from versions: none)\n"
        "#13 2.345 ERROR: No matching distribution found for nope==1\n"
        '#13 ERROR: process "/bin/sh -c pip" did not complete successfully: exit code: 1\n'
        'ERROR: failed to solve: process "/bin/sh -c pip" did not complete successfully: exit code: 1\n',
        "ERROR: Could not find a version that satisfies the requirement nope==1 (from versions: none)\n"
        "ERROR: No matching distribution found for nope==1\nLook at x_requirements.",
    ),
    "apt": (
        "#7 3.2 Reading package lists...\n#7 3.9 E: Unable to locate package nope\n",
        "E: Unable to locate package nope\nLook at x_packages.",
    ),
    "other": ("#4 [1/2] FROM x\n\n#5 0.1 cc: broken\n", "[1/2] FROM x\ncc: broken"),
}


@pytest.mark.parametrize("kind", FAILED_BUILDS)
def test_explain(kind: str) -> None:
    output, expected = FAILED_BUILDS[kind]
    assert _build.explain(output, {"pip": "x_requirements", "apt": "x_packages"}) == expected


@pytest.fixture
def project(tmp_path: Path) -> _build.Build:
    context, source = tmp_path / "context", tmp_path / "source"
    for path, text in {
        context / "Dockerfile": "FROM scratch",
        context / "berth-run": "#!/bin/sh",
        source / "manage.py": "1",
        source / "base.txt": "Django",
        source / "requirements.txt": "-r base.txt",
        source / ".dockerignore": "*.sqlite3",
        source / "db.sqlite3": "secret",
        source / ".env": "PASSWORD=1",
        source / "app/__pycache__/x.pyc": "",
        source / "app/x.py": "",
        source / ".git/config": "",
        source / "app/.git/config": "",
        source / "app/.env.production": "PASSWORD=1",
        source / "inventory/.berth/ca/fleet.key": "secret",
        source / "app/.hg/x": "",
        source / "app/.svn/x": "",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (context / "berth-run").chmod(0o755)
    (source / "link").symlink_to("manage.py")
    return _build.Build("app", str(context), str(source), ("requirements.txt",), {"BASE": "debian"})


def test_what_goes_in(project: _build.Build) -> None:
    assert [entry.name for entry in _builds.find(project)] == [
        "Dockerfile",
        "berth-run",
        "requirements/requirements.txt",
        "requirements/base.txt",
        "source/.dockerignore",
        "source/base.txt",
        "source/link",
        "source/manage.py",
        "source/requirements.txt",
        "source/app/x.py",
    ]


def test_the_tag_follows_content_and_nothing_else(project: _build.Build) -> None:
    before = _builds.tag_of(project)
    manage, ignored = Path(project.source, "manage.py"), Path(project.source, "db.sqlite3")
    os.utime(manage, (1, 1))
    manage.chmod(0o600)
    ignored.write_text("other")
    assert _builds.tag_of(project) == before
    manage.chmod(0o755)
    assert _builds.tag_of(project) != before
    manage.chmod(0o644)
    manage.write_text("2")
    assert _builds.tag_of(project) != before
    manage.write_text("1")
    assert _builds.tag_of(project) == before
    assert _builds.tag_of(_build.with_common_args(project, "debian", "2026-01-01")) != before


def test_the_tar_is_stable(project: _build.Build, tmp_path: Path) -> None:
    image = _builds.Image("x", "app:1", "debian", "", project, tuple(_builds.find(project)))
    _builds.write_tar(image, str(tmp_path / "a"))
    os.utime(Path(project.source, "manage.py"), (1, 1))
    _builds.write_tar(image, str(tmp_path / "b"))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with tarfile.open(tmp_path / "a") as tar:
        members = {member.name: member for member in tar.getmembers()}
    assert members["source"].isdir()
    assert members["requirements"].isdir()
    assert members["berth-run"].mode == 0o755
    assert members["source/link"].linkname == "manage.py"
    assert {member.uid for member in members.values()} == {0}


def test_a_missing_requirements_file_names_its_variable(project: _build.Build) -> None:
    build = _build.Build("app", project.context, project.source, ("nope.txt",), {}, {"pip": "django_uwsgi_requirements"})
    with pytest.raises(ValueError, match=r"^django_uwsgi_requirements: there is no file nope.txt"):
        list(_builds.find(build))


def answering(status: int) -> Callable[..., tuple[int, dict[str, str]]]:
    return lambda *_words: (status, {})


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(("login", "tolerant", "why"), [("", True, ""), ("", False, "wants a login"), ("eA==", True, "refuses the login")])
def test_check_mode_before_the_first_login(status: int, login: str, tolerant: bool, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until a host role that was not only asked has logged in, what the registry has is not known. A login that is refused is an error."""
    monkeypatch.setattr(_registry, "_head", answering(status))
    monkeypatch.setattr(_registry, "_login", lambda _registry: login)
    if why:
        with pytest.raises(_registry.RegistryError, match=why):
            _image_builder.missing(["registry.example.org/app:1"], push=True, tolerant=tolerant)
    else:
        images, (unknown,) = _image_builder.missing(["registry.example.org/app:1"], push=True, tolerant=tolerant)
        assert images == ["registry.example.org/app:1"] and "wants a login" in unknown and unknown.endswith("is not known")


PIP = [
    # environment, explicit index, explicit extra, expected text
    ({}, None, None, ""),
    ({"PIP_INDEX_URL": "https://u:p@index.example/simple"}, None, None, "[global]\nindex-url = https://u:p@index.example/simple\n"),
    ({"PIP_EXTRA_INDEX_URL": "file:///opt/x https://more.example"}, None, None, "[global]\nextra-index-url = https://more.example\n"),
    ({"PIP_INDEX_URL": "https://other.example"}, "https://mine.example", None, "[global]\nindex-url = https://mine.example\n"),
    ({"PIP_EXTRA_INDEX_URL": "https://more.example"}, None, [], ""),
]


@pytest.mark.parametrize(("environment", "index", "extra", "expected"), PIP)
def test_pip_conf(
    environment: dict[str, str], index: str | None, extra: list[str] | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_build_secrets, "SYSTEM_PIP", str(tmp_path / "none"))
    assert _build_secrets.pip_conf(index, extra, {"HOME": str(tmp_path), **environment}) == expected


def test_ca_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_build_secrets, "SYSTEM_PIP", str(tmp_path / "none"))
    monkeypatch.setattr(_build_secrets, "LOCAL_CERTIFICATES", str(tmp_path / "none"))
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("x")
    home = {"HOME": str(tmp_path)}
    assert _build_secrets.ca_bundle(None, home) == ""
    assert _build_secrets.ca_bundle(None, {**home, "SSL_CERT_FILE": str(bundle)}) == str(bundle)
    assert _build_secrets.ca_bundle(None, {**home, "PIP_CERT": str(tmp_path / "gone"), "REQUESTS_CA_BUNDLE": str(bundle)}) == str(bundle)
    with pytest.raises(ValueError, match="image_ca_bundle"):
        _build_secrets.ca_bundle(str(tmp_path / "gone"), home)
