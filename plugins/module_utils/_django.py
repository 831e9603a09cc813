# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Django's command line as values: options to a manage.py command, its output to an outcome. Pure: no I/O, no Ansible."""

from __future__ import annotations

import json
import posixpath
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.berth.django.plugins.module_utils._django_inside import ANSWER
from ansible_collections.berth.django.plugins.module_utils._service_options import SERVICE_ARGUMENT_SPEC

# What every django_* module takes; documented in doc_fragments/_django.py.
ARGUMENT_SPEC: dict[str, t.Any] = dict(
    service=dict(type="dict", options=SERVICE_ARGUMENT_SPEC),
    container=dict(type="str"),
    entrypoint=dict(type="list", elements="str"),
    chdir=dict(type="str"),
    working_directory=dict(type="str"),
    python=dict(type="str", default="python3"),
    settings=dict(type="str"),
    timeout=dict(type="int"),
    holder=dict(type="str", default="unknown"),
)
ONE_OF = [("service", "container")]
# What those take on top that can look ahead; documented in doc_fragments/_preview.py.
PREVIEW_SPEC: dict[str, t.Any] = dict(preview=dict(type="bool", default=False), preview_archive=dict(type="path"))

# One item of a list of commands, as the role's inputs have them.
COMMAND_SPEC: dict[str, t.Any] = dict(
    command=dict(type="str", required=True),
    args=dict(type="list", elements="str", default=[]),
    when=dict(type="bool", default=True),
)


def manage(command: str, words: t.Iterable[str] = (), python: str = "python3", folder: str = "", settings: str = "") -> list[str]:
    """One manage.py command line, as the container's entry point gets it. The options that keep output readable are always there."""
    return [
        python, posixpath.join(folder, "manage.py"), command,
        *([f"--settings={settings}"] if settings else []),
        "--no-color",
        *words,
    ]  # fmt: skip


def shell(sources: dict[str, str]) -> list[str]:
    """Words for `manage.py shell` that run main() of the last of these modules: full name -> source, each after those that it imports.

    Each becomes a module of that very name, so that they import one another in the container as they do here.
    """
    lines = ["import sys, types"]
    for name, source in sources.items():
        lines += [
            f"module = sys.modules[{name!r}] = types.ModuleType({name!r})",
            f"exec(compile({source!r}, {f'<{name}>'!r}, 'exec'), module.__dict__)",
        ]
    return ["--verbosity=0", "--command", "\n".join([*lines, "module.main(sys.stdin, sys.stdout)", ""])]


def read_answer(out: str) -> dict[str, t.Any] | None:
    """The answer of a program that ran inside, wherever the project prints around it."""
    lines = [line for line in out.splitlines() if line.startswith(ANSWER)]
    return json.loads(lines[-1].removeprefix(ANSWER)) if lines else None


# --- collectstatic ----------------------------------------------------------------------------------------------------------------

_COLLECTED = re.compile(
    r"^(?P<copied>\d+) static files? (?:copied|symlinked)(?: to '(?P<destination>.*?)')?"
    r"(?:, (?P<unmodified>\d+) unmodified)?(?:, (?P<post_processed>\d+) post-processed)?(?:, \d+ [a-z -]+)*\.$",
    re.MULTILINE,
)
_DELETED = re.compile(r"^(?:Deleting|Pretending to delete) '(?P<name>.*)'$", re.MULTILINE)


@dataclass(frozen=True)
class Collected:
    copied: int
    deleted: int
    unmodified: int
    post_processed: int
    destination: str

    @property
    def changed(self) -> bool:
        """Post-processing counts as nothing: it is repeated on every run, with the same result."""
        return self.copied + self.deleted > 0


def parse_collectstatic(out: str) -> Collected | None:
    """The summary of `collectstatic`, or None when there is none."""
    matches = list(_COLLECTED.finditer(out))
    if not matches:
        return None
    found = matches[-1].groupdict()
    return Collected(
        copied=int(found["copied"]),
        deleted=len(_DELETED.findall(out)),
        unmodified=int(found["unmodified"] or 0),
        post_processed=int(found["post_processed"] or 0),
        destination=found["destination"] or "",
    )


# What Django says -> what to do about it.
_STATIC_HINTS = {
    "Unknown command: 'collectstatic'": "The project has no django.contrib.staticfiles: set django_uwsgi_static_from to image, or to none.",
    "Read-only file system": "It is not where this project collects to: set django_uwsgi_static_root to its STATIC_ROOT.",
    "without having set the STATIC_ROOT": "Set it in a file of django_uwsgi_settings_files, to what django_uwsgi_static_root says.",
}


def static_hint(text: str) -> str:
    """Which variable to change when collectstatic fails like this, on a line of its own; or nothing."""
    return next((f"\n{hint}" for sign, hint in _STATIC_HINTS.items() if sign in text), "")


def destination_problem(found: Collected, root: str) -> str:
    """Files that are collected elsewhere (/tmp can be written to) would be gone with the container that collected them."""
    if not found.destination or posixpath.normpath(found.destination) == posixpath.normpath(root):
        return ""
    return f"the project collects static files to {found.destination}, not to {root}: set django_uwsgi_static_root to {found.destination}"


# --- migrate ----------------------------------------------------------------------------------------------------------------------


def migration_name(entry: dict[str, t.Any]) -> str:
    return f"{entry['app']}.{entry['name']}"


def migration_diff(plan: t.Sequence[dict[str, t.Any]], database: str) -> list[dict[str, str]]:
    """One diff for each migration: its SQL, as the text that it adds, below what is not safe in it."""
    return [
        dict(
            before="",
            after="\n".join([*map(_mark, entry["unsafe"]), entry["sql"].strip() or "-- nothing is executed", ""]),
            before_header=f"{database}: before {migration_name(entry)}",
            after_header=f"{database}: {'unapply ' if entry['backwards'] else ''}{migration_name(entry)}",
        )
        for entry in plan
    ]


def schema_problem(release: str, serving: str | None, missing: t.Sequence[str], answer: dict[str, t.Any]) -> str:
    """Why a release cannot run on the schema as it is, and how to go on; an empty string when it can."""
    reasons = [f"{name} is not applied, which it needs" for name in missing]
    reasons += [f"{item['migration']} {item['problem']}" for item in answer["incompatible"]]
    unjudged = "and the release that serves does not have it either" if serving else "and no container of a release that serves was named"
    reasons += [f"{name} is applied, which it does not know, {unjudged}" for name in answer["strange"]]
    if not reasons:
        return ""
    ways = [
        f"run django_migrate in the release that serves, which undoes what came later: container {serving}, app {app}, migration {name!r}"
        for app, name in answer["back_to"].items()
    ]
    ways += [f"run django_migrate with {release}, which applies what it needs"] if missing else []
    ways += ["roll forward: correct what serves, and deploy it"]
    return "\n".join(
        [f"{release} cannot run on the schema as it is:", *map("- {}".format, reasons), "To go on:", *map("- {}".format, ways)]
    )


def _mark(finding: dict[str, str]) -> str:
    return f"-- not safe while the release before serves: {finding['problem']}: {finding['instead']}"
