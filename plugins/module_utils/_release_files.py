# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Where a host keeps what it remembers of releases: two small files beside the service, and links for the web server.

<service directory>/releases.jsonl    the audit, a line for each release that began to serve or was taken back
<service directory>/under-way.json    while a release is not finished
<release directory>/<id>/             the static files of a release
<release directory>/kept/<n>          links to those that are kept, the newest first
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import typing as t
from pathlib import Path

from ansible_collections.berth.django.plugins.module_utils import _files, _release, _static_record
from ansible_collections.berth.django.plugins.module_utils._build import LABEL_VERSION
from ansible_collections.berth.django.plugins.module_utils._shell import must, run
from ansible_collections.berth.django.plugins.module_utils._spec import Release, Service

KEPT = "kept"


def records(directory: str) -> tuple[_release.Record, ...]:
    return _release.to_records(_text(f"{directory}/releases.jsonl"))


def read(service: Service, release: Release) -> dict[str, t.Any]:
    """The fields of ``Actual`` that a service with releases has on top."""
    root = Path(release.directory or "/nonexistent")
    folders = (item for item in (root.iterdir() if root.is_dir() else ()) if item.is_dir() and not item.is_symlink())
    return dict(
        records=records(service.directory),
        under_way=under_way(service.directory),
        release_directories=tuple(item.name for item in folders if item.name != KEPT),
    )


def images(service: Service) -> tuple[str, ...]:
    name = _release.repository(service.image)
    listed = must(["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", name], "listing images").split() if name else []
    return tuple(item for item in listed if not item.endswith(":<none>"))


def under_way(directory: str) -> _release.UnderWay | None:
    return _release.to_under_way(_text(f"{directory}/under-way.json"))


def keep_under_way(service: Service, value: _release.UnderWay) -> None:
    _write(f"{service.directory}/under-way.json", _release.to_text(value))


def lead_to(release: Release, first: str, history: t.Iterable[_release.Record]) -> None:
    """Links for the web server: to the release that begins, if one does, and then to those that are kept, whose files are asked for."""
    names = [name for name in dict.fromkeys([first, *(item.release for item in _release.kept(history, release.keep))]) if name]
    _files.make_public(f"{release.directory}/{KEPT}")
    for number, name in enumerate(names[: release.keep]):
        _files.point(f"{release.directory}/{KEPT}/{number}", f"../{name}")


def conclude(service: Service) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{service.directory}/under-way.json")


def record(service: Service, release: Release, by: str, outcome: str, of: _release.UnderWay | None = None) -> None:
    """The links come first: what is on record is done. `of` is what it is about, where that is not the service as it is described."""
    name, image, instance = (of.release, of.image, of.instance) if of else (release.id, service.image, service.instance)
    # In UTC, since hosts' records are compared.
    new = _release.Record(time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime()), name, image, instance, by, outcome, version_of(image))
    path = f"{service.directory}/releases.jsonl"
    if release.directory:
        lead_to(release, "" if outcome == _release.ROLLED_BACK else name, [*records(service.directory), new])
    before = _text(path)
    torn = bool(before) and not before.endswith("\n")
    with open(path, "a", encoding="utf-8") as file:
        file.write(("\n" if torn else "") + _release.to_line(new))
        file.flush()
        os.fsync(file.fileno())


def version_of(image: str) -> str:
    """The commit that an image was built from; empty where it says none, or has gone."""
    outcome = run(["docker", "image", "inspect", "--format", f'{{{{index .Config.Labels "{LABEL_VERSION}"}}}}', image])
    return outcome.out.strip().replace("<no value>", "") if outcome.rc == 0 else ""


def prune_directory(release: Release, name: str) -> None:
    shutil.rmtree(f"{release.directory}/{name}", ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_static_record.path_of(f"{release.directory}/{name}"))


def prune_image(name: str) -> str:
    """What stood in the way, when the image is still in use."""
    outcome = run(["docker", "image", "rm", name])
    return "" if outcome.rc == 0 else f"the image {name} is no longer needed and could not be removed: {outcome.text}"


def _text(path: str) -> str:
    with contextlib.suppress(FileNotFoundError):
        return Path(path).read_text(encoding="utf-8", errors="replace")
    return ""


def _write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    staging = f"{path}.{os.getpid()}.tmp"
    with open(staging, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(staging, path)
