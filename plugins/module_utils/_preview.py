# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Asking a release that is not built yet: its source in the place of the one in the image that serves, in a throw-away container.

That is how check mode can tell which migrations a change of the source brings, and nothing has to be built, shipped or kept for it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import tarfile
import tempfile
import typing as t

from ansible_collections.berth.django.plugins.module_utils import _observe
from ansible_collections.berth.django.plugins.module_utils._spec import Mount, Service

# Where the collection's own image has the source, and its place in the archive that an image is built from.
APP = "/app"
SOURCE = "source/"


def serving_image(service: Service) -> str:
    """The image of the container that runs for this service; empty when none does."""
    found = (item for item in _observe.inspect_all() if _observe.is_ours(item, service) and item["State"].get("Running"))
    return next((item["Config"]["Image"] for item in found), "")


@contextlib.contextmanager
def previewed(service: Service, archive: str) -> t.Iterator[Service | None]:
    """`service` with the source of `archive` in the image that serves; None when none serves."""
    image = serving_image(service)
    if not image:
        yield None
        return
    folder = tempfile.mkdtemp(prefix="berth-preview-", dir="/var/tmp")
    try:
        unpack(archive, folder, service.uid, service.gid)
        make_mount_points(folder, service.mounts)
        yield dataclasses.replace(service, image=image, mounts=(*service.mounts, Mount(folder, APP)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_mount_points(folder: str, mounts: t.Iterable[Mount]) -> None:
    """Nothing can make them once the source is mounted: it can only be read."""
    for mount in mounts:
        if mount.target.startswith(f"{APP}/"):
            os.makedirs(folder + mount.target.removeprefix(APP), exist_ok=True)


def unpack(archive: str, folder: str, uid: int, gid: int) -> None:
    """Readable for the service's user alone: a source may be nobody else's to read."""
    with tarfile.open(archive, mode="r:gz") as tar:
        for member in tar:
            name = member.name.partition(SOURCE)[2] if member.name.startswith(SOURCE) else ""
            content = tar.extractfile(member) if member.isfile() and name and ".." not in name.split("/") else None
            if content is None:
                continue
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o700 if member.mode & 0o100 else 0o600), "wb") as file:
                shutil.copyfileobj(content, file)
    for place, _folders, files in os.walk(folder):
        for path in (place, *(os.path.join(place, name) for name in files)):
            os.chown(path, uid, gid)
