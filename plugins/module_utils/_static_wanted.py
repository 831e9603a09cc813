# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Which static files a project is to have, and what they follow from. Where that is as it was, nobody has to be asked again."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.berth.django.plugins.module_utils import _django, _observe, _static_record
from ansible_collections.berth.django.plugins.module_utils._manage import Project
from ansible_collections.berth.django.plugins.module_utils._spec import Service

ARGUMENT_SPEC: dict[str, t.Any] = dict(
    clear=dict(type="bool", default=False),
    root=dict(type="str"),
    directory=dict(type="path"),
    from_image=dict(type="bool", default=False),
    commands=dict(type="list", elements="dict", default=[], options=_django.COMMAND_SPEC),
    compress=dict(type="bool", default=True),
    unless_collected=dict(type="bool", default=False),
    ignore=dict(type="list", elements="str", default=[]),
)


@dataclass(frozen=True)
class Wanted:
    """What was asked for. `directory` is the one on the host, `key` what its files follow from."""

    words: list[str]
    commands: list[tuple[str, list[str]]]
    root: str
    directory: str
    compressing: bool
    key: str


def wanted_of(values: t.Mapping[str, t.Any], project: Project) -> Wanted:
    """`values` as in ``ARGUMENT_SPEC``."""
    service = project.service
    words = ["--no-input", "--verbosity=1", *(["--clear"] if values["clear"] else []), *(f"--ignore={item}" for item in values["ignore"])]
    commands = [(item["command"], item["args"]) for item in values["commands"] if item["when"]]
    if values["from_image"] and commands:
        raise ValueError("commands follow collectstatic, which from_image does without: leave one of the two out.")
    directory = values["directory"] if values["from_image"] else host_directory(service, values["root"])
    compressing = bool(directory and values["compress"])
    if values["from_image"] and service:
        # The image alone, and the same reference may stand for another one by now.
        source = [_observe.image_id(service.image), values["root"]]
    else:
        # The same image with the same settings and secrets, asked the same way.
        source = [service.instance if service else "", project.chdir, project.settings, *words, *map(str, commands)]
    return Wanted(words, commands, values["root"], directory, compressing, " ".join([*source, f"compress={compressing}"]))


def recalled(values: t.Mapping[str, t.Any], project: Project, wanted: Wanted) -> dict[str, t.Any] | None:
    """The counts of the last time, where nobody has to be asked again."""
    if wanted.directory and values["unless_collected"]:
        return _static_record.recall(wanted.directory)
    if wanted.directory and (project.serves or values["from_image"]) and not values["clear"]:
        return _static_record.recall(wanted.directory, wanted.key)
    return None


def host_directory(service: Service | None, root: str | None) -> str:
    """Where the project's STATIC_ROOT is on the host; empty when it is no mount of the service."""
    mounts = service.mounts if service else ()
    return next((item.source for item in mounts if item.target == root), "")
