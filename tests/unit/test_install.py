# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""berth-install: what a project requires as command lines of uv, and what its build commands are started with."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import tomllib
from _paths import ROOT

PROGRAM = ROOT / "roles" / "django_uwsgi" / "files" / "image" / "berth-install"


def load() -> Any:
    loader = importlib.machinery.SourceFileLoader("berth_install", str(PROGRAM))
    spec = importlib.util.spec_from_loader("berth_install", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    sys.modules["berth_install"] = module  # for its dataclasses
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    loader.exec_module(module)
    sys.dont_write_bytecode = before
    return module


install = load()
Indexes = install.Indexes
FLEET = Indexes("https://me:s3%40cret@mirror.example.com/simple", ("https://t0ken@extra.example.com/simple",))
BASE = install.Machine("/usr/bin/python3.11", (3, 11, 2))
UV = "/uv/bin/uv"
INSTALL = [UV, "pip", "install", "--no-editable"]


def plan(options: dict[str, Any], files: dict[str, str] | None = None, fleet: Any = None, machine: Any = BASE) -> Any:
    texts = {name: text for name, text in (files or {}).items() if install.kind_of(name) == "list"}
    contents = {name: tomllib.loads(text) for name, text in (files or {}).items() if name not in texts}
    return install.plan(options, texts, contents, fleet or Indexes(), machine)


# --- what is run ------------------------------------------------------------------------------------------------------------------------

PROJECT = """
[project]
name = "shop"
requires-python = ">=3.9"
[tool.uv]
override-dependencies = ["bb==1"]
constraint-dependencies = ["cc<2"]
[tool.uv.sources]
private = { index = "own" }
several = [{ index = "own", marker = "x" }, { git = "https://example.com/x" }]
library = { git = "https://example.com/library" }
[[tool.uv.index]]
name = "own"
url = "https://own.example.com/simple"
"""
POETRY = ["poetry==2", "poetry-plugin-export"]
EXPORT = ["export", "--frozen", "--project"]
EXPORTED = ["--no-emit-project", "--no-default-groups", "--no-editable", "--quiet", "--format", "requirements.txt", "--output-file"]
PLANS: list[tuple[str, dict[str, Any], dict[str, str], list[list[str]]]] = [
    ("nothing", {"files": []}, {}, []),
    (
        "files",
        {"files": ["requirements/base.txt", "more.in"]},
        {"requirements/base.txt": "Django\n", "more.in": "x\n"},
        [[*INSTALL, "--requirements", "requirements/base.txt", "--requirements", "more.in"]],
    ),
    (
        "all that goes beside them",
        {"files": ["r.txt"], "extra": ["e==1"], "override": ["o==2"], "build": ["setuptools<81"], "require_hashes": True},
        {"r.txt": "Django\n"},
        [
            [*INSTALL, "--require-hashes", "--requirements", "r.txt", "--requirements", "/tmp/berth/extra.txt"]
            + ["--overrides", "/tmp/berth/override.txt", "--build-constraints", "/tmp/berth/build.txt"]
        ],
    ),
    ("only what is extra", {"files": [], "extra": ["uwsgi"]}, {}, [[*INSTALL, "--requirements", "/tmp/berth/extra.txt"]]),
    ("an override of nothing", {"files": [], "override": ["o==2"]}, {}, []),
    (
        "pyproject.toml",
        {"files": ["back/pyproject.toml"], "extras": ["pg"], "groups": ["prod"]},
        {"back/pyproject.toml": PROJECT},
        [
            [*INSTALL, "--requirements", "back/pyproject.toml", "--extra", "pg", "--group", "back/pyproject.toml:prod"]
            + ["--overrides", "/tmp/berth/override.txt", "--constraints", "/tmp/berth/constraint.txt"]
        ],
    ),
    (
        "uv.lock",
        {"files": ["uv.lock"], "extras": ["pg"], "groups": ["prod"]},
        {"uv.lock": "version = 1\n"},
        [
            [UV, *EXPORT, ".", *EXPORTED, "/tmp/berth/locked-0.txt", "--extra", "pg", "--group", "prod"],
            [*INSTALL, "--requirements", "/tmp/berth/locked-0.txt"],
        ],
    ),
    (
        "uv.lock in a folder",
        {"files": ["back/uv.lock"]},
        {"back/uv.lock": "version = 1\n"},
        [
            [UV, *EXPORT, "back", *EXPORTED, "/tmp/berth/locked-0.txt"],
            ["sed", "--in-place", r"s|^\(\.\{1,2\}/\)|./back/\1|", "/tmp/berth/locked-0.txt"],
            [*INSTALL, "--requirements", "/tmp/berth/locked-0.txt"],
        ],
    ),
    (
        "poetry.lock",
        {"files": ["poetry.lock"], "extras": ["pg"], "groups": ["prod"], "poetry": POETRY},
        {"poetry.lock": '[metadata]\npython-versions = "^3.9"\n'},
        [
            [sys.executable, "-m", "venv", "--without-pip", "/tmp/berth/poetry"],
            [UV, "pip", "install", "--python", "/tmp/berth/poetry/bin/python", "--requirements", "/tmp/berth/poetry.txt"],
            ["/tmp/berth/poetry/bin/poetry", "export", "--no-interaction", "--no-ansi", "--directory", ".", "--without-urls"]
            + ["--format", "requirements.txt", "--output", "/tmp/berth/locked-0.txt", "--extras", "pg", "--with", "prod"],
            [*INSTALL, "--requirements", "/tmp/berth/locked-0.txt"],
        ],
    ),
    (
        "pylock.toml",
        {"files": ["pylock.prod.toml"]},
        {"pylock.prod.toml": 'lock-version = "1.0"\n'},
        [[*INSTALL, "--requirements", "/tmp/berth/locked-0.txt"]],
    ),
]


@pytest.mark.parametrize(("options", "files", "expected"), [case[1:] for case in PLANS], ids=[case[0] for case in PLANS])
def test_commands(options: dict[str, Any], files: dict[str, str], expected: list[list[str]]) -> None:
    assert plan(options, files).commands == expected


def test_poetry_is_installed_once() -> None:
    commands = plan({"files": ["a/poetry.lock", "b/poetry.lock"], "poetry": POETRY}, {"a/poetry.lock": "", "b/poetry.lock": ""}).commands
    assert [command[1] for command in commands] == ["-m", "pip", "export", "export", "pip"]


def test_what_goes_beside_is_written_line_by_line() -> None:
    todo = plan({"files": [], "extra": ["a==1 --hash=sha256:0", "b"], "override": ["c"]})
    assert todo.files == {"/tmp/berth/extra.txt": "a==1 --hash=sha256:0\nb\n", "/tmp/berth/override.txt": "c\n"}


@pytest.mark.parametrize(
    ("options", "files", "said"),
    [
        ({"files": ["r.txt"], "groups": ["x"]}, {"r.txt": ""}, "django_uwsgi_requirement_groups: requirements files have none"),
        ({"files": ["r.txt"], "extras": ["x"]}, {"r.txt": ""}, "django_uwsgi_requirement_extras: requirements files have none"),
        ({"files": ["uv.lock"]}, {"uv.lock": 'requires-python = ">=3.12"'}, "uv.lock asks for Python >=3.12, and the base has 3.11.2"),
        ({"files": ["pylock.toml"]}, {"pylock.toml": 'requires-python = ">=3.12"'}, "pylock.toml asks for Python >=3.12"),
        ({"files": ["poetry.lock"]}, {"poetry.lock": '[metadata]\npython-versions = "^3.12"'}, "poetry.lock asks for Python ^3.12"),
        ({"files": ["pyproject.toml"]}, {"pyproject.toml": '[project]\nrequires-python = "==3.9.*"'}, "django_uwsgi_image_base"),
    ],
)
def test_refused(options: dict[str, Any], files: dict[str, str], said: str) -> None:
    with pytest.raises(install.Refused, match=re.escape(said)):
        plan(options, files)


@pytest.mark.parametrize(
    ("wanted", "suits"),
    [
        ("", True),
        ("*", True),
        (">=3.9", True),
        (">=3.9,<4.0", True),
        (">=3.9, <3.11", False),
        ("<=3.11", False),
        ("<3.12", True),
        (">3.11", False),
        (">3.10", True),
        ("==3.11.*", True),
        ("3.11.*", True),
        ("==3.11.2", True),
        ("==3.11.3", False),
        ("!=3.11.*", False),
        ("!=3.10.*", True),
        ("^3.9", True),
        ("^3.12", False),
        ("^2.7", False),
        ("~3.11", True),
        ("~3.10", False),
        ("~=3.9", True),
        ("~=3.11.1", True),
        ("~=3.11.3", False),
        ("^2.7 || ^3.8", True),
        ("~2.7 || ~3.12", False),
        ("whatever", True),
    ],
)
def test_whether_a_python_suits(wanted: str, suits: bool) -> None:
    assert install.suits(wanted, (3, 11, 2)) is suits


def test_the_interpreter_is_the_base_s() -> None:
    machine = install.Machine("/usr/bin/python3.11", (3, 11, 2), pin="3.13")
    todo = plan({"files": []}, machine=machine)
    assert (todo.environment["UV_PYTHON"], todo.environment["UV_PYTHON_DOWNLOADS"]) == ("/venv/bin/python", "never")
    assert todo.notes == [
        "Python 3.11.2, /usr/bin/python3.11",
        "the project's .python-version (3.13) is not followed: the base decides (django_uwsgi_image_base)",
    ]


def test_each_base_has_a_cache_of_its_own() -> None:
    caches = {
        install.cache_of(*words)
        for words in (
            ("cpython-311", ("glibc", "2.36"), "x86_64"),
            ("cpython-313", ("glibc", "2.36"), "x86_64"),
            ("cpython-311", ("glibc", "2.41"), "x86_64"),
        )
    }
    assert len(caches) == 3 and all(cache.startswith("/root/.cache/uv/") for cache in caches)


# --- which indexes are asked ------------------------------------------------------------------------------------------------------------

OWN = "--index-url https://own.example.com/simple\n--extra-index-url=https://more.example.com/simple\nDjango\n"
THEIRS = ", as the project's files say (django_uwsgi_index: public asks the public one instead)"
PUBLIC = (
    "asked: the public index, as django_uwsgi_index says; not asked: https://more.example.com/simple and https://own.example.com/simple, "
    "which the project names (django_uwsgi_index: project asks it)"
)
ASKED: list[tuple[str, str, Any, dict[str, str], str]] = [
    ("fleet", "Django\n", Indexes(), {}, "asked: the public index"),
    (
        "fleet",
        OWN,
        Indexes(),  # nothing that could win
        {"UV_DEFAULT_INDEX": "https://own.example.com/simple", "UV_INDEX": "https://more.example.com/simple"},
        "asked: https://more.example.com/simple and https://own.example.com/simple" + THEIRS,
    ),
    (
        "fleet",
        OWN,
        FLEET,
        {"UV_DEFAULT_INDEX": FLEET.default, "UV_INDEX": FLEET.extra[0]},
        "asked: https://extra.example.com/simple and https://mirror.example.com/simple, as the controller is set up; not asked: "
        "https://more.example.com/simple and https://own.example.com/simple, which the project names (django_uwsgi_index: project asks it)",
    ),
    (
        "fleet",
        "--index-url https://mirror.example.com/simple\nDjango\n",
        FLEET,
        {"UV_DEFAULT_INDEX": FLEET.default, "UV_INDEX": FLEET.extra[0]},
        "asked: https://extra.example.com/simple and https://mirror.example.com/simple, as the controller is set up",
    ),
    ("public", OWN, FLEET, {}, PUBLIC),
    ("public", OWN, Indexes(), {}, PUBLIC),
    (
        "project",
        OWN,
        FLEET,
        {"UV_DEFAULT_INDEX": "https://own.example.com/simple", "UV_INDEX": f"https://more.example.com/simple {FLEET.extra[0]}"},
        "asked: https://more.example.com/simple and https://extra.example.com/simple and https://own.example.com/simple" + THEIRS,
    ),
    (  # the fleet's login is for the server, not for one address of it
        "project",
        "-i https://mirror.example.com/team/simple\nDjango\n",
        FLEET,
        {"UV_DEFAULT_INDEX": "https://me:s3%40cret@mirror.example.com/team/simple", "UV_INDEX": FLEET.extra[0]},
        "asked: https://extra.example.com/simple and https://mirror.example.com/team/simple" + THEIRS,
    ),
    (
        "fleet",
        "Django\n",
        Indexes(extra=("https://extra.example.com/simple",)),
        {"UV_INDEX": "https://extra.example.com/simple"},
        "asked: https://extra.example.com/simple and the public index, as the controller is set up",
    ),
]


@pytest.mark.parametrize(("whose", "text", "fleet", "told", "asked"), ASKED)
def test_whose_index_is_asked(whose: str, text: str, fleet: Any, told: dict[str, str], asked: str) -> None:
    todo = plan({"files": ["r.txt"], "index": whose}, {"r.txt": text}, fleet)
    assert {name: todo.environment.get(name, "") for name in ("UV_DEFAULT_INDEX", "UV_INDEX")} == {
        "UV_DEFAULT_INDEX": "",
        "UV_INDEX": "",
        **told,
    }
    assert todo.asked == asked
    assert todo.files["r.txt"] == "Django\n", "uv would ask what the file names"


def test_no_file_of_the_project_sets_uv_up() -> None:
    assert plan({"files": []}).environment["UV_NO_CONFIG"] == "1"


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("project", PROJECT, Indexes(extra=("https://own.example.com/simple",))),
        ("project", '[[tool.uv.index]]\nurl = "https://a.example.com"\ndefault = true\n', Indexes("https://a.example.com")),
        ("project", '[[tool.uv.index]]\nurl = "https://a.example.com"\nexplicit = true\n', Indexes()),
        ("uv", '[[package]]\nname = "a"\nsource = { registry = "https://a.example.com" }\n' * 2, Indexes(extra=("https://a.example.com",))),
        ("uv", '[[package]]\nname = "a"\nsource = { editable = "." }\n', Indexes()),
        (
            "poetry",
            '[[package]]\nname = "a"\n[package.source]\ntype = "legacy"\nurl = "https://a.example.com"\n',
            Indexes(extra=("https://a.example.com",)),
        ),
        ("poetry", '[[package]]\nname = "a"\n[package.source]\ntype = "git"\nurl = "https://a.example.com"\n', Indexes()),
        ("pylock", '[[packages]]\nname = "a"\nindex = "https://a.example.com"\n', Indexes(extra=("https://a.example.com",))),
    ],
)
def test_which_indexes_a_project_names(kind: str, text: str, expected: Any) -> None:
    assert install.indexes_of(kind, tomllib.loads(text)) == expected


def test_what_a_project_wants_from_its_own_index_comes_from_the_fleet_s() -> None:
    files = {"pyproject.toml": PROJECT}
    flags = ["--no-sources-package", "private", "--no-sources-package", "several"]
    (command,) = plan({"files": ["pyproject.toml"]}, files, FLEET).commands
    assert [word for word in command if word in flags] == flags
    (command,) = plan({"files": ["pyproject.toml"], "index": "project"}, files, FLEET).commands
    assert "--no-sources-package" not in command


@pytest.mark.parametrize(
    ("options", "strategy"),
    [
        ({"files": ["r.txt"]}, "first-index"),
        ({"files": ["uv.lock"]}, "unsafe-best-match"),  # a hash says which package it is
        ({"files": ["uv.lock"], "extra": ["x"]}, "first-index"),
        ({"files": ["uv.lock", "r.txt"]}, "first-index"),
        ({"files": []}, "first-index"),
        ({"files": ["r.txt"], "index_strategy": "unsafe-best-match"}, "unsafe-best-match"),
        ({"files": ["uv.lock"], "index_strategy": "first-index"}, "first-index"),
    ],
)
def test_nobody_slips_a_package_in(options: dict[str, Any], strategy: str) -> None:
    assert plan(options, dict.fromkeys(options["files"], "")).environment["UV_INDEX_STRATEGY"] == strategy


def test_pip_conf() -> None:
    text = "[global]\nindex-url = https://a\nextra-index-url = https://b\n  https://c\ntrusted-host = h1 h2\ntimeout = 5\n"
    assert install.of_pip_conf(text) == Indexes("https://a", ("https://b", "https://c"), ("h1", "h2"))
    assert install.of_pip_conf("") == Indexes()


# --- requirements files -------------------------------------------------------------------------------------------------------------------

LINES = [
    # line, what uv gets, what it names
    ("Django==5.2  # why", "Django==5.2  # why", Indexes()),
    ("-r base.txt", "-r base.txt", Indexes()),
    ("-i https://a", None, Indexes("https://a")),
    ("  --index-url=https://a # x", None, Indexes("https://a")),
    ("--index-url https://a --extra-index-url https://b", None, Indexes("https://a", ("https://b",))),
    ("--trusted-host h", None, Indexes(insecure=("h",))),
    ("--pre", None, Indexes(pre=True)),
    ("--no-index", None, Indexes()),
    ("--prefer-binary", None, Indexes()),
    ("--no-binary :all:", "--no-binary :all:", Indexes()),
    ("-f ./wheels", "-f ./wheels", Indexes()),
    ("--find-links https://a", None, Indexes(extra=("https://a",))),
    ("-e ./libs/x", "-e ./libs/x", Indexes()),
    ("-e git+https://a/x.git#egg=x", "git+https://a/x.git#egg=x", Indexes()),
    ("-e .", None, Indexes()),
    (".[prod]", None, Indexes()),
    ("--editable=.  # ours", None, Indexes()),
    ("x==1 --global-option='a b' --hash=sha256:0", "x==1 --hash=sha256:0", Indexes()),
    ('x==1 --config-settings "a=b"', "x==1", Indexes()),
    ("    --hash=sha256:0 \\", "    --hash=sha256:0 \\", Indexes()),
    ("x @ file:./libs/x", "x @ file:./libs/x", Indexes()),
    ("", "", Indexes()),
    ("# -i https://a", "# -i https://a", Indexes()),
]


@pytest.mark.parametrize(("line", "kept", "named"), LINES)
def test_a_line_for_uv(line: str, kept: str | None, named: Any) -> None:
    text, found, _notes = install.for_uv(f"{line}\n", project_decides=False)
    assert (text, found) == ("" if kept is None else f"{kept}\n", named)


def test_what_only_a_project_may_say() -> None:
    text, named, _notes = install.for_uv("--no-index\n-f https://a\n--pre\n", project_decides=True)
    assert text == "--no-index\n-f https://a\n" and named == Indexes(pre=True)


def test_the_project_itself_is_copied_not_installed() -> None:
    assert install.for_uv("-e .[x]\n", False)[2] == ["'-e .[x]' is left out: the project is copied into the image, not installed"]


def test_early_versions_count_when_a_file_says_so() -> None:
    todo = plan({"files": ["r.txt"]}, {"r.txt": "--pre\nx\n"}, FLEET)
    assert todo.environment["UV_PRERELEASE"] == "allow"


def test_included_files_are_prepared_too() -> None:
    assert install.included("a/r.txt", "-r b/s.txt\n-c ../c.txt # x\n--requirement=https://a/r.txt\n") == ["a/b/s.txt", "c.txt"]
    todo = plan({"files": ["r.txt"]}, {"r.txt": "-r s.txt\n", "s.txt": "-i https://a\nx\n"})
    assert todo.files["s.txt"] == "x\n" and todo.environment["UV_DEFAULT_INDEX"] == "https://a"


def test_a_pylock_as_requirements() -> None:
    lock = """
        default-groups = ["main"]
        [[packages]]
        name = "a"
        version = "1.0"
        marker = "python_version >= '3.9'"
        index = "https://a.example.com/simple"
        sdist = { url = "https://files.example.com/a.tar.gz", hashes = { sha256 = "00" } }
        wheels = [{ url = "https://files.example.com/a.whl", hashes = { sha256 = "11" } }]
        [[packages]]
        name = "b"
        version = "2"
        marker = "'pg' in extras and 'dev' not in dependency_groups or 'main' in dependency_groups"
        [[packages]]
        name = "c"
        vcs = { type = "git", url = "https://example.com/c.git", commit-id = "abc", subdirectory = "d" }
        [[packages]]
        name = "d"
        directory = { path = "libs/d", editable = true }
        [[packages]]
        name = "shop"
        directory = { path = "." }
        [[packages]]
        name = "e"
        archive = { url = "https://example.com/e.zip", hashes = { sha256 = "22" } }
    """
    assert install.of_pylock(tomllib.loads(textwrap.dedent(lock)), extras=["pg"], groups=["dev"]).splitlines() == [
        "a==1.0 ; python_version >= '3.9' --hash=sha256:00 --hash=sha256:11",
        "b==2 ; python_version >= '0' and python_version < '0' or python_version >= '0'",
        "c @ git+https://example.com/c.git@abc#subdirectory=d",
        "d @ ./libs/d",
        "e @ https://example.com/e.zip",
    ]


# --- run --------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where requirements are installed, with a private index; each test has a uv of its own."""
    for name in ("secrets", "requirements"):
        (tmp_path / name).mkdir()
    (tmp_path / "uv").touch()
    (tmp_path / "uv").chmod(0o755)
    (tmp_path / "secrets" / "pip").write_text(f"[global]\nindex-url = {FLEET.default}\nextra-index-url = {FLEET.extra[0]}\n")
    for name, path in (("UV", "uv"), ("WORK", "work"), ("SECRETS", "secrets"), ("CACHE", "cache"), ("VENV", "venv")):
        monkeypatch.setattr(install, name, str(tmp_path / path))
    monkeypatch.chdir(tmp_path / "requirements")
    return tmp_path


def test_a_login_reaches_uv_and_nothing_else(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (place / "uv").write_text(
        '#!/bin/sh\nenv >"$0.environment"\necho "$*"; env; echo "at https://me:s3%40cret@mirror.example.com s3@cret"\nexit 3\n'
    )
    Path("r.txt").write_text("-i https://own.example.com/simple\nDjango\n")
    assert install.main(["requirements", json.dumps({"files": ["r.txt"]})]) == 3
    environment = (place / "uv.environment").read_text().splitlines()
    assert f"UV_DEFAULT_INDEX={FLEET.default}" in environment and f"UV_INDEX={FLEET.extra[0]}" in environment
    out, err = capfd.readouterr()
    for secret in ("s3%40cret", "s3@cret", "t0ken"):
        assert secret not in out + err
    assert "UV_DEFAULT_INDEX=https://me:****@mirror.example.com/simple" in out
    assert out.splitlines()[-1] == (
        "ERROR: berth-install ended with 3; asked: https://extra.example.com/simple and https://mirror.example.com/simple, as the "
        "controller is set up; not asked: https://own.example.com/simple, which the project names (django_uwsgi_index: project asks it)."
    )
    left = [path for path in place.rglob("*") if path.is_file() and path.parent.name != "secrets" and path.name != "uv.environment"]
    assert Path("r.txt").resolve() in left
    assert not [path for path in left if path.name != "uv" and "cret" in path.read_text()]


def test_certificates_are_known_to_all_who_fetch(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (place / "secrets" / "ca").write_text("x")
    (place / "uv").write_text("#!/bin/sh\nenv\n")
    assert install.main(["requirements", json.dumps({"files": [], "extra": ["x"]})]) == 0
    out = capfd.readouterr().out
    for name in ("SSL_CERT_FILE", "GIT_SSL_CAINFO", "REQUESTS_CA_BUNDLE", "PIP_CERT"):
        assert f"{name}={place}/secrets/ca\n" in out


def test_locks_are_read(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("uv.lock").write_text('requires-python = ">=99"\n')
    assert install.main(["requirements", json.dumps({"files": ["uv.lock"]})]) == 1
    out = capfd.readouterr().out
    assert out.startswith("ERROR: uv.lock asks for Python >=99, and the base has ") and out.endswith("in django_uwsgi_image_base.\n")


def test_build_commands(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Where the project is started, with an environment of their own, one after the other."""
    python = place / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$PWD $SECRET_KEY $*"; echo "Traceback"; [ "$2" != broken ]\n')
    python.chmod(0o755)
    first = {"command": "collectstatic", "args": ["--noinput", "-v", 0]}
    options = {"folder": "/app/back", "directory": str(place), "environment": {"SECRET_KEY": "a 'b\" $c"}}
    assert install.main(["commands", json.dumps({**options, "commands": [first, {"command": "broken"}, {"command": "never"}]})]) == 1
    assert [line for line in capfd.readouterr().out.splitlines() if not line.startswith("berth-install: ")] == [
        f"{place} a 'b\" $c /app/back/manage.py collectstatic --noinput -v 0",
        "Traceback",
        f"{place} a 'b\" $c /app/back/manage.py broken",
        "Traceback",
        "ERROR: ended with 1: broken of django_uwsgi_build_commands, with the environment of django_uwsgi_build_env.",
    ]


@pytest.mark.parametrize("words", [[], ["requirements"], ["what", "{}"]])
def test_usage(words: list[str]) -> None:
    outcome = subprocess.run([sys.executable, "-B", str(PROGRAM), *words], capture_output=True, text=True, check=False)
    assert (outcome.returncode, outcome.stderr) == (2, "usage: berth-install requirements|commands JSON\n")


def test_runs_where_python_is_old() -> None:
    """Bases have Python 3.9 and later. ruff does not look at a file without a suffix."""
    ruff = Path(sys.executable).parent / "ruff"
    words = ["check", "--quiet", "--target-version=py39", "--ignore=T20,S108", "--stdin-filename", str(ROOT / "roles" / "x.py"), "-"]
    outcome = subprocess.run([ruff, *words], input=PROGRAM.read_text(), capture_output=True, text=True, cwd=ROOT, check=False)
    assert outcome.returncode == 0, outcome.stdout
