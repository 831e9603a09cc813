# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""What an image is built from, as values: which files go in, the digest that names the result, the command that makes it.

Pure: no I/O, no Ansible. The controller computes the digest from what it finds on its disk, the builder runs the command.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import posixpath
import re
import typing as t
from dataclasses import dataclass, field

# Part of every tag: raise it when the same input leads to another image than before.
FORMAT = 1
TAG_LENGTH = 16
# On an image: the commit of its source. Another commit with the very same files is the same image, and says what it was first built from.
LABEL_VERSION = "org.opencontainers.image.revision"

_BUILD_KEYS = {"name", "context", "source", "requirements", "args", "variables"}


@dataclass(frozen=True)
class Build:
    """One image as a role declares it in ``__<role>_build``.

    `context` is the directory that holds the Dockerfile and its scripts, `source` a project that goes in as ``source/`` without what its
    ``.dockerignore`` names, `requirements` files of it that go in as ``requirements/``, too. `variables` names the inventory variables that
    an operator would correct, by what was refused. `version` is the commit that the source was checked out from.
    """

    name: str
    context: str
    source: str = ""
    requirements: tuple[str, ...] = ()
    args: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    version: str = ""


@dataclass(frozen=True)
class Entry:
    """One file of a context: where it comes from, where it goes, and what the digest sees of it."""

    name: str
    path: str
    executable: bool = False
    link: str = ""  # the target, for a symbolic link


def parse(build: t.Mapping[str, t.Any], where: str) -> Build:
    """Turns the dict of a role into a :class:`Build`; unknown and missing keys are refused by name."""
    unknown = sorted(set(build) - _BUILD_KEYS)
    if unknown:
        raise ValueError(f"{where} has no key {', '.join(unknown)}; it knows {', '.join(sorted(_BUILD_KEYS))}.")
    for key in ("name", "context"):
        if not build.get(key):
            raise ValueError(f"{where} needs {key}.")
    if not re.fullmatch(r"[a-z0-9]+(?:(?:\.|_{1,2}|-+|/)[a-z0-9]+)*", str(build["name"])):
        raise ValueError(f"{where}: {build['name']!r} is no image name: lower-case letters, digits and single separators.")
    args = build.get("args") or {}
    return Build(
        name=str(build["name"]),
        context=str(build["context"]),
        source=str(build.get("source") or ""),
        requirements=tuple(str(item) for item in build.get("requirements") or ()),
        args={str(key): _as_argument(value) for key, value in args.items()},
        variables={str(key): str(value) for key, value in (build.get("variables") or {}).items()},
    )


def _as_argument(value: t.Any) -> str:
    """Lists (of packages, say) become words."""
    if isinstance(value, (list, tuple)):
        return " ".join(str(item) for item in value)
    return str(value)


# --- .dockerignore ----------------------------------------------------------------------------------------------------------------


def read_dockerignore(text: str) -> list[tuple[bool, re.Pattern[str]]]:
    """The patterns of a ``.dockerignore`` in order, each with whether it ignores (or, after ``!``, takes back)."""
    patterns = []
    for line in text.splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        ignores = not pattern.startswith("!")
        pattern = posixpath.normpath(pattern.lstrip("!").strip()).lstrip("/")
        if pattern not in ("", "."):
            patterns.append((ignores, re.compile(_as_regex(pattern))))
    return patterns


def _as_regex(pattern: str) -> str:
    """Docker's own rules: ``*`` and ``?`` stay within a name, ``**`` does not, and what matches a directory matches everything in it."""
    regex, rest = "", pattern
    while rest:
        if rest.startswith("**/"):
            regex, rest = regex + "(?:.*/)?", rest[3:]
        elif rest.startswith("**"):
            regex, rest = regex + ".*", rest[2:]
        elif rest[0] == "*":
            regex, rest = regex + "[^/]*", rest[1:]
        elif rest[0] == "?":
            regex, rest = regex + "[^/]", rest[1:]
        elif rest[0] == "[" and "]" in rest:
            end = rest.index("]") + 1
            regex, rest = regex + rest[:end], rest[end:]
        elif rest[0] == "\\" and len(rest) > 1:
            regex, rest = regex + re.escape(rest[1]), rest[2:]
        else:
            regex, rest = regex + re.escape(rest[0]), rest[1:]
    return regex + r"(?:/.*)?\Z"


def is_ignored(name: str, patterns: t.Sequence[tuple[bool, re.Pattern[str]]]) -> bool:
    """The last pattern that matches decides."""
    return functools.reduce(lambda verdict, item: item[0] if item[1].match(name) else verdict, patterns, False)


def takes_back(patterns: t.Sequence[tuple[bool, re.Pattern[str]]]) -> bool:
    """Whether an ignored directory has to be looked into all the same."""
    return any(not ignores for ignores, _pattern in patterns)


# --- requirements -----------------------------------------------------------------------------------------------------------------

# What a file says is known by its name. Each lock has its pyproject.toml beside it.
_KINDS = {"pyproject.toml": "project", "uv.lock": "uv", "poetry.lock": "poetry"}
_INCLUDE = re.compile(r"^\s*(?:-r|-c|--requirement|--constraint)[\s=]*(?P<name>[^\s#]+)", re.MULTILINE)
# A package or a directory of packages of the source itself: the value of -e or -f, and otherwise what has a slash or is an archive.
_LOCAL = re.compile(
    r"^\s*(?:(?:-e|--editable|-f|--find-links)[\s=]+(?:file:)?([^\s#;\[]+)"
    r"|(?:[\w.-]+\s*(?:\[[^\]]*\]\s*)?@\s*)?(?:file:)?((?:[\w.-]*/|\.)[^\s#;\[]*|[^\s#;@]+\.(?:whl|tar\.gz|zip)))",
    re.MULTILINE,
)


def kind_of(name: str) -> str:
    """``list`` for a requirements file, ``project``, ``uv``, ``poetry`` or ``pylock``; empty for what cannot be installed from."""
    base = posixpath.basename(name)
    if re.fullmatch(r"pylock(\.[^.]+)?\.toml", base):
        return "pylock"
    return _KINDS.get(base) or ("list" if base.endswith((".txt", ".in")) else "")


def included_requirements(text: str) -> list[str]:
    """The files that a requirements file names by -r or -c: they have to be there, too. Addresses are left to the installer."""
    return [name for name in _INCLUDE.findall(text) if "://" not in name]


def local_requirements(text: str) -> list[str]:
    """What a requirements file may name of the source itself: packages in a directory, archives, a directory of those."""
    return [name for pair in _LOCAL.findall(text) for name in pair if name and "://" not in name]


def local_packages(kind: str, lock: t.Mapping[str, t.Any]) -> list[str]:
    """The packages of a lock that lie in the source itself."""
    if kind == "uv":
        sources = [package.get("source", {}) for package in lock.get("package", [])]
        return [source[key] for source in sources for key in ("editable", "directory", "virtual", "path") if key in source]
    if kind == "poetry":
        sources = [package.get("source", {}) for package in lock.get("package", [])]
        return [source["url"] for source in sources if source.get("type") in ("directory", "file")]
    places = [package.get(key, {}) for package in lock.get("packages", []) for key in ("directory", "archive")]
    return [place["path"] for place in places if "path" in place]


def problem_of_project(project: t.Mapping[str, t.Any]) -> str:
    """Why a pyproject.toml alone does not say what to install, or nothing."""
    if "project" not in project:
        return "has no [project] table: name its lock file, or a requirements file"
    if "dependencies" in project["project"].get("dynamic", []):
        return "leaves its dependencies to a build ('dynamic'): name the file that they are read from"
    return ""


# --- the tag ----------------------------------------------------------------------------------------------------------------------


def digest(contents: t.Mapping[str, str], facts: t.Mapping[str, t.Any]) -> str:
    """The tag: `contents` maps every name in the context to a hash of what it holds, `facts` is everything else that goes in."""
    text = json.dumps([FORMAT, sorted(contents.items()), facts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:TAG_LENGTH]


def with_common_args(build: Build, base: str, refresh: str) -> Build:
    return dataclasses.replace(build, args={"BASE": base, "REFRESH": refresh, **build.args})


def reference(registry: str, name: str, tag: str) -> str:
    return f"{registry.rstrip('/')}/{name}:{tag}" if registry else f"{name}:{tag}"


def split_reference(image: str) -> tuple[str, str, str]:
    """Registry, repository and tag of a reference; an image without a registry belongs to Docker Hub."""
    name, _sep, tag = image.rpartition(":") if ":" in image.rpartition("/")[2] else (image, "", "latest")
    head, sep, rest = name.partition("/")
    if sep and ("." in head or ":" in head or head == "localhost"):
        return head, rest, tag
    return "docker.io", name if sep else f"library/{name}", tag


# --- command lines ----------------------------------------------------------------------------------------------------------------


def build_argv(image: str, args: t.Mapping[str, str], secrets: t.Mapping[str, str], labels: t.Mapping[str, str]) -> list[str]:
    """Builds `image` from a tar on standard input. `secrets` maps the id that the Dockerfile mounts to a file on the builder."""
    argv = ["docker", "build", "--progress", "plain", "--tag", image]
    argv += [word for key in sorted(args) for word in ("--build-arg", f"{key}={args[key]}")]
    argv += [word for key in sorted(secrets) for word in ("--secret", f"id={key},src={secrets[key]}")]
    argv += [word for key in sorted(labels) for word in ("--label", f"{key}={labels[key]}")]
    return [*argv, "-"]


def docker(config: str, *words: str) -> list[str]:
    """A docker command with the fleet's own login, where there is one."""
    return ["docker", *(["--config", config] if config else []), *words]


# --- what went wrong --------------------------------------------------------------------------------------------------------------

# Which lines of a failed build tell an operator what to correct, and which entry of Build.variables they are about: the first one that any
# line is about. What the image's own programs say comes last, with what was asked and where.
_TELLING = (
    ("base", r"ERROR: .* asks for Python |.*(?:apt-get|groupadd): (?:command )?not found"),
    ("hash", r".*(?:Hash mismatch for|Hash-checking is required|In `--require-hashes` mode|HASHES ARE REQUIRED|DO NOT MATCH THE HASHES)"),
    (
        "built_beside",
        r".*(?:fatal error: \S+: No such file|cannot find -l|you need to install a library|command '\S+' failed: No such file"
        r"|\w+[_-]config(?: executable)?\W* (?:is )?not found|pkg-config (?:name|search path)"
        r"|(?:cargo|rustc|cmake|make|git|gcc|g\+\+|gfortran|swig)\W+(?:executable )?(?:is )?(?:not found|not installed|No such file))",
    ),
    ("library", r".*(?:\.so[.\d]*: cannot open shared object file|Could not find the (?:GDAL|GEOS) library)"),
    ("built_with", r"\s+ModuleNotFoundError: "),  # uv shows what a build said with a margin
    ("module", r"(?:\w+\.)*(?:ModuleNotFoundError|ImportError): "),
    ("index", r".*may be available on a subsequent index"),
    ("unreachable", r".*(?:dns error|client error \(Connect\)|operation timed out|connection (?:refused|timed out)|NewConnectionError)"),
    ("settings", r"(?:\w+\.)*(?:ImproperlyConfigured|KeyError|UndefinedValueError): "),
    ("command", r"Unknown command: |(?:\w+\.)*CommandError: "),
    (
        "pip",
        r"(?:ERROR(?!: ended)|hint:|WARNING: Retrying|Could not|No matching|\s+(?:The user requested|The conflict is|cause:|[^\x00-\x7f]))",
    ),
    ("apt", r"E: "),
)
_FAILED = re.compile(r"ERROR: |error: Failed to build ")
_STEP_PREFIX = re.compile(r"^(?:#\d+ )?(?:\d+\.\d+ )?")


def about(line: str) -> str:
    """What has to be corrected, by a line of what a build or the project said: a key of Build.variables, or nothing."""
    return next((kind for kind, pattern in _TELLING if re.match(pattern, line, re.IGNORECASE)), "")


def explain(output: str, variables: t.Mapping[str, str]) -> str:
    """The lines that matter of a failed build, and the variable to look at; the end of the output where nothing is known to matter."""
    # Of the step that failed, when BuildKit says which one. Its own last words are about the step as a whole.
    failed = re.search(r"^(#\d+ )ERROR: ", output, re.MULTILINE)
    lines = [_STEP_PREFIX.sub("", line).rstrip() for line in output.splitlines() if not failed or line.startswith(failed[1])]
    lines = list(dict.fromkeys(line for line in lines if line and "failed to solve" not in line and 'process "' not in line))
    kinds = {line: about(line) for line in lines}
    for kind, _pattern in _TELLING:
        if kind in kinds.values():
            # Of a package that does not build for a reason of its own, what it said is all there is.
            unknown = kind == "pip" and any(line.strip() == "[stderr]" for line in lines)
            telling = lines[-20:] if unknown else [line for line in lines if kinds[line] == kind or _FAILED.match(line)][-12:]
            return "\n".join([*telling, *([f"Look at {variables[kind]}."] if kind in variables else [])])
    return "\n".join(lines[-20:])
