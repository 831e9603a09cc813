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

_BUILD_KEYS = {"name", "context", "source", "requirements", "args", "variables"}


@dataclass(frozen=True)
class Build:
    """One image as a role declares it in ``__<role>_build``.

    `context` is the directory that holds the Dockerfile and its scripts, `source` a project that goes in as ``source/`` without what its
    ``.dockerignore`` names, `requirements` files of it that go in as ``requirements/``, too. `variables` names the inventory variables that
    an operator would correct when pip or apt refuse something.
    """

    name: str
    context: str
    source: str = ""
    requirements: tuple[str, ...] = ()
    args: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)


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


_INCLUDE = re.compile(r"^\s*(?:-r|-c|--requirement|--constraint)[\s=]*(?P<name>[^\s#]+)", re.MULTILINE)


def included_requirements(text: str) -> list[str]:
    """The files that a requirements file names by -r or -c: they have to be there, too. Addresses are left to pip."""
    return [name for name in _INCLUDE.findall(text) if "://" not in name]


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

# Which lines of a failed build tell an operator what to correct, and which entry of Build.variables they are about.
_TELLING = (
    (
        "pip",
        re.compile(r"^(?:ERROR|WARNING: Retrying|Could not|No matching|\s+(?:The user requested|The conflict is)|hint:)", re.IGNORECASE),
    ),
    ("apt", re.compile(r"^E: ")),
)
_STEP_PREFIX = re.compile(r"^#\d+ (?:\d+\.\d+ )?")


def explain(output: str, variables: t.Mapping[str, str]) -> str:
    """The lines that matter of a failed build, and the variable to look at; the end of the output where nothing is known to matter."""
    lines = [_STEP_PREFIX.sub("", line).rstrip() for line in output.splitlines()]
    for kind, pattern in _TELLING:
        # The last two are BuildKit's own, about the step as a whole.
        telling = [line for line in lines if pattern.match(line) and "failed to solve" not in line and 'process "' not in line]
        telling = list(dict.fromkeys(telling))
        if telling:
            advice = f"\nLook at {variables[kind]}." if kind in variables else ""
            return "\n".join(telling[-12:]) + advice
    return "\n".join([line for line in lines if line][-20:])
