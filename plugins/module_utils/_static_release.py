# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Static files of releases on a web server that is apart from the project: packed where they were collected, unpacked here.

<directory>/<release>/    the files, there as a whole or not at all
<directory>/current       the release that serves
<directory>/kept/<n>      all of them, the newest first: nginx looks there, too
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tarfile
import typing as t
from pathlib import Path

from ansible_collections.berth.django.plugins.module_utils import _files, _release
from ansible_collections.berth.django.plugins.module_utils._release_files import KEPT


def pack(directory: str, archive: t.IO[bytes]) -> None:
    """Names, times and contents: a time is what web servers make Last-Modified and ETag of, which must be the same on all of them."""
    with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=1) as tar:
        for path in sorted(Path(directory).rglob("*")):
            if path.is_file():
                tar.add(path, arcname=str(path.relative_to(directory)), recursive=False)


def unpack(archive: str, directory: str) -> None:
    staging = f"{directory}.{os.getpid()}.tmp"
    shutil.rmtree(staging, ignore_errors=True)
    _files.make_public(os.path.dirname(directory))
    _files.make_public(staging)
    with tarfile.open(archive, mode="r:gz") as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() and ".." not in member.name.split("/") else None
            if content is None:
                continue
            path = f"{staging}/{member.name.lstrip('/')}"
            _make_folders(staging, os.path.dirname(path))
            with open(path, "wb") as file:
                shutil.copyfileobj(content, file)
            os.chmod(path, 0o644)
            os.utime(path, (member.mtime, member.mtime))
    if not os.path.isdir(directory):
        os.rename(staging, directory)
        return
    # The same release with other settings: what is there may be asked for in this moment, so each file is renamed over its own.
    for folder, _folders, files in os.walk(staging):
        target = os.path.normpath(os.path.join(directory, os.path.relpath(folder, staging)))
        _make_folders(directory, target)
        for name in files:
            os.replace(f"{folder}/{name}", f"{target}/{name}")
    shutil.rmtree(staging)


def _make_folders(root: str, folder: str) -> None:
    below = Path(root)
    for part in Path(os.path.relpath(folder, root)).parts:
        below /= part
        _files.make_public(str(below))


def order(names: t.Mapping[str, float], first: t.Sequence[str], keep: int) -> tuple[list[str], list[str]]:
    """Releases with the time at which they were last brought: those that stay, `first` at their head, and those that go."""
    head = [name for name in dict.fromkeys(first) if name in names]
    others = sorted((name for name in names if name not in head), key=lambda name: (-names[name], name))
    return [*head, *others][:keep], [*head, *others][keep:]


def arrange(directory: str, release: str, serves: str, keep: int, kept: t.Sequence[str] = ()) -> None:
    """Links to `release` before all others, then to the one that serves, or did, and to those that are `kept`: however many came and
    failed in between.
    """
    os.utime(f"{directory}/{release}")
    stay, go = order(present(directory), [release, serves, *kept], max(keep, 2))
    _files.make_public(f"{directory}/{KEPT}")
    for number, name in enumerate(stay):
        _files.point(f"{directory}/{KEPT}/{number}", f"../{name}")
    for link in Path(directory, KEPT).iterdir():
        if not link.name.isdigit() or int(link.name) >= len(stay):
            with contextlib.suppress(OSError):
                link.unlink()
    for name in go:
        shutil.rmtree(f"{directory}/{name}", ignore_errors=True)


def present(directory: str) -> dict[str, float]:
    folders = (item for item in Path(directory).glob("*") if item.is_dir() and not item.is_symlink() and not item.name.endswith(".tmp"))
    return {item.name: item.stat().st_mtime for item in folders if _release.is_name(item.name)}
