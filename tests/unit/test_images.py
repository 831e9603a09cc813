# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes into an image, what names it, and what a failed build tells."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from _paths import ROOT
from _render import RoleValues
from ansible.parsing.dataloader import DataLoader
from ansible_collections.berth.django.plugins.module_utils import _build, _image_builder, _registry
from ansible_collections.berth.django.plugins.plugin_utils import _build_secrets, _builds

ROLE = ROOT / "roles" / "django_uwsgi"
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


def test_local_requirements() -> None:
    text = """Django==5
-e ./libs/a
-e libs/b[x]
-e .
-e git+https://example.com/c.git#egg=c
./libs/d
libs/e
file:./libs/f
g @ ./libs/g ; python_version > "3"
wheels/h-1-py3-none-any.whl
-f wheels
--find-links=https://example.com/wheels
https://example.com/i.whl
j @ https://example.com/j.whl
app
    --hash=sha256:aa/b
"""
    assert _build.local_requirements(text) == (
        ["./libs/a", "libs/b", ".", "./libs/d", "libs/e", "./libs/f", "./libs/g", "wheels/h-1-py3-none-any.whl", "wheels"]
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("requirements.txt", "list"),
        ("requirements/prod.in", "list"),
        ("backend/pyproject.toml", "project"),
        ("uv.lock", "uv"),
        ("poetry.lock", "poetry"),
        ("pylock.toml", "pylock"),
        ("pylock.prod.toml", "pylock"),
        ("Pipfile.lock", ""),
        ("setup.py", ""),
        ("other.toml", ""),
    ],
)
def test_a_file_s_name_says_what_it_is(name: str, kind: str) -> None:
    assert _build.kind_of(name) == kind


@pytest.mark.parametrize(
    ("kind", "lock", "expected"),
    [
        (
            "uv",
            {"package": [{"source": {"registry": "https://a"}}, {"source": {"editable": "."}}, {"source": {"directory": "libs/a"}}, {}]},
            [".", "libs/a"],
        ),
        (
            "poetry",
            {"package": [{"source": {"type": "directory", "url": "libs/a"}}, {"source": {"type": "git", "url": "https://a"}}, {}]},
            ["libs/a"],
        ),
        ("pylock", {"packages": [{"directory": {"path": "libs/a"}}, {"archive": {"url": "https://a"}}, {"version": "1"}]}, ["libs/a"]),
    ],
)
def test_local_packages_of_a_lock(kind: str, lock: dict[str, Any], expected: list[str]) -> None:
    assert _build.local_packages(kind, lock) == expected


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


UV_SAYS = """#9 [build 2/9] RUN apt-get install
#9 1.1 Unpacking pkg-config (1.8) ...
#9 1.2 make: not found, which hurt nobody
#13 [build 7/9] RUN berth-install
#13 0.4 berth-install: Python 3.11.2, /usr/bin/python3.11
"""
BUILDKIT_SAYS = """#13 ERROR: process "/bin/sh -c berth-install" did not complete successfully: exit code: 1
------
 > [build 7/9] RUN berth-install:
2.1 hint: again, but without the number of the step
------
ERROR: failed to solve: process "/bin/sh -c berth-install" did not complete successfully: exit code: 1
"""
ENDED = "ERROR: berth-install ended with 1; asked: the public index."
# kind -> what uv, a build, or the project said; the lines of it that are shown
SAID: dict[str, tuple[list[str], list[int]]] = {
    "base": (["ERROR: uv.lock asks for Python >=3.13, and the base has 3.11.2: name another base in django_uwsgi_image_base."], [0]),
    "hash": (["error: Failed to download `aa==2.0`", "  cause: Hash mismatch for `aa==2.0`", ENDED], [1, 2]),
    "built_beside": (
        [
            "error: Failed to build `python-ldap==3.4.8`",
            "  cause: The build backend returned an error",
            "         In file included from Modules/LDAPObject.c:3:",
            "         Modules/common.h:15:10: fatal error: lber.h: No such file or directory",
            "         error: Command '['gcc', '-Wall']' returned non-zero exit status 1.",
            "hint: This error likely indicates that you need to install a library that provides `lber.h` for `python-ldap@3.4.8`",
            ENDED,
        ],
        [0, 3, 5, 6],
    ),
    "library": (
        ["Traceback (most recent call last):", "ImportError: libpq.so.5: cannot open shared object file: No such file or directory"],
        [1],
    ),
    "built_with": (["error: Failed to build `old==1`", "         ModuleNotFoundError: No module named 'pkg_resources'", ENDED], [0, 1, 2]),
    "module": (["Traceback (most recent call last):", "ModuleNotFoundError: No module named 'shop.setings'"], [1]),
    "index": (
        [
            "error: No solution found when resolving dependencies",
            "hint: `bb` was found on https://a, but not at the requested version (bb==2). A compatible version may be available on a "
            "subsequent index (e.g., https://b).",
            ENDED,
        ],
        [1, 2],
    ),
    "unreachable": (
        [
            "  cause: Failed to fetch: https://index.example/simple/django-appconf/",
            "  cause: client error (Connect)",
            "  cause: dns error",
            "  cause: failed to lookup address information: Name or service not known",
            "ERROR: berth-install ended with 2; asked: https://index.example/simple, as the project's files say "
            "(django_uwsgi_index: public asks the public one instead).",
        ],
        [1, 2, 4],
    ),
    "settings": (["django.core.exceptions.ImproperlyConfigured: Set the SECRET_KEY environment variable"], [0]),
    "command": (["Unknown command: 'compres'. Did you mean compress?", "Type 'manage.py help' for usage."], [0]),
    "pip": (
        [
            "Using Python 3.11.2 environment at: /venv",
            "error: No solution found when resolving dependencies",
            "  cause: Because nope was not found in the package registry and you require nope==3, we can conclude that your requirements "
            "are unsatisfiable.",
            ENDED,
        ],
        [1, 2, 3],
    ),
}


@pytest.mark.parametrize("kind", SAID)
def test_a_failed_build_names_the_variable(kind: str) -> None:
    said, shown = SAID[kind]
    output = UV_SAYS + "".join(f"#13 1.2 {line}\n" for line in said) + BUILDKIT_SAYS
    variables = RoleValues(ROLE, {"django_uwsgi_wsgi_module": "x", "django_uwsgi_project": "shop"}).value("__django_uwsgi_build.variables")
    assert _build.explain(output, variables) == "\n".join([*(said[index] for index in shown), f"Look at {variables[kind]}."])


@pytest.mark.parametrize(
    ("said", "variable"),
    [
        (["Traceback (most recent call last):", "ValueError: boom", "ERROR: ended with 1: compress of django_uwsgi_build_commands."], ""),
        (["error: Failed to build `x==1`", "         [stderr]", "         ValueError: boom", "", ENDED], "django_uwsgi_requirements"),
    ],
)
def test_what_nobody_knows_is_shown_as_it_is(said: list[str], variable: str) -> None:
    output = UV_SAYS + "".join(f"#13 1.2 {line}\n" for line in said) + BUILDKIT_SAYS
    shown = _build.explain(output, {"pip": "django_uwsgi_requirements"}).splitlines()
    assert shown[-len(said) :] == said if not variable else shown[-1] == f"Look at {variable}."
    assert any("ValueError: boom" in line for line in shown)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("  Error: pg_config executable not found.", "built_beside"),
        ("/bin/sh: 1: mysql_config: not found", "built_beside"),
        ("         Exception: Can not find valid pkg-config name.", "built_beside"),
        ("  cause: Git executable not found. Ensure that Git is installed and available.", "built_beside"),
        ("         /usr/bin/ld: cannot find -lxmlsec1: No such file or directory", "built_beside"),
        ("         error: command 'g++' failed: No such file or directory", "built_beside"),
        ("uwsgi: error while loading shared libraries: libpython3.12.so.1.0: cannot open shared object file", "library"),
        ('django.core.exceptions.ImproperlyConfigured: Could not find the GDAL library (tried "gdal").', "library"),
        ("error: Hash-checking is required, but no trusted hash was provided for: `bb`", "hash"),
        ("error: In `--require-hashes` mode, all requirements must have their versions pinned with `==`, but found: aa", "hash"),
        ("/bin/sh: 1: apt-get: not found", "base"),
        ("KeyError: 'SECRET_KEY'", "settings"),
        ("decouple.UndefinedValueError: SECRET_KEY not found.", "settings"),
        ("CommandError: An error occurred during rendering", "command"),
        ("E: Unable to locate package nope", "apt"),
        (" + django==5.2", ""),
        ("Setting up pkg-config:amd64 (1.8.1-1) ...", ""),
    ],
)
def test_what_a_line_is_about(line: str, kind: str) -> None:
    assert _build.about(line) == kind


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
    with pytest.raises(
        ValueError, match=r"^django_uwsgi_requirements: there is no file nope.txt in \S+, but base.txt, requirements.txt\.$"
    ):
        list(_builds.find(build))


PROJECT_FILES = {
    "requirements/prod.txt": "-r ../base.txt\n-c limits.txt\n-e ./libs/foo\n-f wheels\n-e .\n",
    "requirements/limits.txt": "x<2\n",
    "libs/foo/pyproject.toml": "[project]\nname = 'foo'\n",
    "libs/foo/foo/__init__.py": "",
    "libs/foo/__pycache__/x.pyc": "",
    "libs/bar/setup.py": "",
    "wheels/a-1-py3-none-any.whl": "",
    "pyproject.toml": "[project]\nname = 'shop'\n",
    "uv.lock": "[[package]]\nname = 'shop'\nsource = { editable = '.' }\n[[package]]\nname = 'foo'\nsource = { directory = 'libs/foo' }\n",
    "poetry.lock": "[[package]]\nname = 'bar'\n[package.source]\ntype = 'directory'\nurl = 'libs/bar'\n",
    "pylock.toml": "",
    ".python-version": "3.12\n",
}
FOO = ["libs/foo/pyproject.toml", "libs/foo/foo/__init__.py"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["requirements/prod.txt"], ["requirements/prod.txt", "base.txt", "requirements/limits.txt", *FOO, "wheels/a-1-py3-none-any.whl"]),
        (["pyproject.toml"], ["pyproject.toml"]),
        (["uv.lock"], ["uv.lock", "pyproject.toml", *FOO]),
        (["./poetry.lock"], ["poetry.lock", "pyproject.toml", "libs/bar/setup.py"]),
        (["pylock.toml"], ["pylock.toml"]),
        ([], []),
    ],
)
def test_requirements_have_all_that_they_need(project: _build.Build, files: list[str], expected: list[str]) -> None:
    """And nothing else, since whatever is there has all of them installed anew when it changes."""
    write_files(Path(project.source), PROJECT_FILES)
    build = _build.Build("app", project.context, project.source, tuple(files))
    found = [entry.name for entry in _builds.find(build)]
    wanted = {f"requirements/{name}" for name in [*expected, ".python-version"]}
    assert {name for name in found if name.startswith("requirements/")} == wanted
    assert len(set(found)) == len(found)


def write_files(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_a_change_of_the_source_is_none_of_the_requirements(project: _build.Build) -> None:
    """So the builder's cache serves everything up to the layer of the source."""
    source = Path(project.source)

    def hashes() -> dict[str, str]:
        return {entry.name: _builds._hash(entry) for entry in _builds.find(project)}

    before = hashes()
    (source / "app" / "x.py").write_text("changed = True\n")
    after = hashes()
    assert [name for name in after if after[name] != before.get(name)] == ["source/app/x.py"]


def test_the_requirements_are_installed_before_the_source_is_copied() -> None:
    lines = (ROLE / "files" / "image" / "Dockerfile").read_text().splitlines()
    install, copy, label = (lines.index(line) for line in ("COPY requirements/ /requirements/", "COPY source/ /app/", 'ARG COMMANDS=""'))
    assert install < copy < label
    assert not [line for line in lines[:copy] if "source/" in line and line.startswith("COPY")]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("Pipfile.lock", "{}", "Pipfile.lock is none of *.txt, *.in, pyproject.toml, uv.lock, poetry.lock and pylock.toml."),
        ("pyproject.toml", "[tool.black]\n", "pyproject.toml has no [project] table: name its lock file, or a requirements file."),
        ("pyproject.toml", "[project]\ndynamic = ['dependencies']\n", "pyproject.toml leaves its dependencies to a build ('dynamic')"),
        ("pyproject.toml", "[project\n", "pyproject.toml cannot be read: "),
        ("back/uv.lock", "", "there is no file back/pyproject.toml in "),
        ("../other.txt", "", "there is no file ../other.txt in "),
    ],
)
def test_requirements_that_are_of_no_use(project: _build.Build, name: str, text: str, said: str) -> None:
    write_files(Path(project.source), {name: text})
    build = _build.Build("app", project.context, project.source, (name,), {}, {"pip": "django_uwsgi_requirements"})
    with pytest.raises(ValueError, match=rf"^django_uwsgi_requirements: {re.escape(said)}"):
        list(_builds.find(build))


@pytest.mark.parametrize(("version", "labelled"), [("", False), ("0123abc", True)])
def test_the_commit_is_a_label(version: str, labelled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "context.tar.gz").write_bytes(b"")
    seen: list[list[str]] = []

    def build(argv: list[str], **_options: Any) -> subprocess.CompletedProcess[bytes]:
        seen.append(argv)
        return subprocess.CompletedProcess(argv, 0, b"")

    monkeypatch.setattr(_image_builder.subprocess, "run", build)
    wanted = {"folder": str(tmp_path), "reference": "r/app:1", "args": {}, "variables": {}, "version": version}
    _image_builder._build_image(wanted)
    assert (f"org.opencontainers.image.revision={version}" in seen[0]) is labelled
    assert "berth.image=1" in seen[0]


def build_args(**values: Any) -> dict[str, str]:
    known = {"berth_project": "shop", "berth_fleet": "lab", "berth_directory": "/srv/berth", "berth_address": "10.0.0.1", "groups": {}}
    project = {"django_uwsgi_wsgi_module": "shop.wsgi", "django_uwsgi_allowed_hosts": ["x"], "berth_registry": "", "hostvars": {}}
    source = {"django_uwsgi_source": str(ROOT / "examples" / "music")}
    return RoleValues(ROLE, {**known, **project, **source, **values}).value("lookup('berth.django.build', 'django_uwsgi').args")


def test_what_the_role_tells_berth_install() -> None:
    told = build_args(django_uwsgi_extra_requirements=["a==1"], django_uwsgi_require_hashes=True, django_uwsgi_index="project")
    install = json.loads(told["REQUIREMENTS"])
    assert (install["files"], install["extra"], install["require_hashes"]) == (["requirements.txt"], ["a==1"], True)
    assert (install["index"], install["groups"]) == ("project", [])
    assert json.loads(told["UWSGI"])["extra"][0].startswith("uwsgi==")
    assert told["UV"].startswith("uv==") and told["COMMANDS"] == ""


def test_build_commands_have_what_every_command_is_told() -> None:
    told = build_args(
        django_uwsgi_build_commands=[{"command": "compress", "args": ["--force"]}],
        django_uwsgi_build_env={"SECRET_KEY": "a\"b'$c", "STATIC_URL": "/s/"},
        django_uwsgi_static_root="/app/static",
        django_uwsgi_manage_folder="backend",
    )
    commands = json.loads(told["COMMANDS"])
    assert commands["commands"] == [{"command": "compress", "args": ["--force"]}]
    assert (commands["folder"], commands["directory"]) == ("/app/backend", "/app/backend")
    assert commands["environment"] == {
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "MEDIA_ROOT": "/srv/media",
        "MEDIA_URL": "/media/",
        "STATIC_ROOT": "/app/static",
        "STATIC_URL": "/s/",
        "SECRET_KEY": "a\"b'$c",
    }


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


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("", ["blog", "registry", "shop"]),
        ("builder1,shop-web1", ["registry", "shop"]),
        ("builder1:blog", ["blog", "registry"]),
        ("builder1", ["blog", "registry", "shop"]),
        ("@site.retry", ["blog", "registry", "shop"]),
    ],
)
def test_with_a_limit_the_images_of_its_hosts_are_wanted(limit: str, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    groups = {"builder": ["builder1"], "shop": ["shop-web1"], "blog": ["blog-web1"], "django_uwsgi": ["shop-web1", "blog-web1"]}

    def hosts_of(role: str, _variables: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {"inventory_hostname": host, "name": host.partition("-")[0]} for host in groups["django_uwsgi"] if role == "django_uwsgi"
        ] or [{"inventory_hostname": "builder1", "name": "registry"}]

    def image_of(role: str, variables: dict[str, Any], *_: Any) -> _builds.Image:
        return _builds.Image(role, variables["name"], "", "", cast(Any, None), ())

    monkeypatch.setattr(_builds, "_hosts_of", hosts_of)
    monkeypatch.setattr(_builds, "image_of", image_of)
    found = _builds.wanted(["image", "django_uwsgi"], {"ansible_limit": limit, "groups": groups}, DataLoader(), None)
    assert sorted(found) == expected
