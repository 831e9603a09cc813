# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Files of a service on the host: versions that are there as a whole or not at all, and links that are switched by one rename."""

from __future__ import annotations

import contextlib
import os
import shutil
import typing as t
from pathlib import Path

from ansible_collections.berth.django.plugins.module_utils._spec import Service

KEPT_VERSIONS = 5


def link_target(path: str) -> str:
    return os.readlink(path) if os.path.islink(path) else ""


def read_files(directory: str) -> dict[str, str]:
    root = Path(directory)
    return {str(path.relative_to(root)): path.read_bytes().decode("utf-8", "replace") for path in sorted(root.rglob("*")) if path.is_file()}


def version_matches(directory: str, texts: dict[str, str], service: Service) -> bool:
    """A version is as wanted when content, owner and mode are: a hand-made change is undone, not kept."""
    if not os.path.isdir(directory) or read_files(directory) != texts:
        return False
    states = (os.stat(f"{directory}/{name}") for name in texts)
    return all((state.st_mode & 0o777, state.st_uid) == (0o400, service.uid) for state in states)


def write_version(directory: str, texts: dict[str, str], service: Service) -> None:
    """Writes a version completely under another name, then renames it: it is there as a whole or not at all.

    A version that is there and was damaged is mended file by file: a running container may have mounted that very directory.
    """
    os.makedirs(os.path.dirname(directory), mode=0o755, exist_ok=True)
    staging = f"{directory}.{os.getpid()}.tmp"
    shutil.rmtree(staging, ignore_errors=True)
    os.mkdir(staging, 0o700)
    for name, text in texts.items():
        path = f"{staging}/{name}"
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chown(path, service.uid, service.gid)
    for folder, _folders, _files in os.walk(staging):
        os.chown(folder, service.uid, service.gid)
        os.chmod(folder, 0o500)
    if not os.path.isdir(directory):
        os.rename(staging, directory)
        return
    for name in texts:
        os.makedirs(os.path.dirname(f"{directory}/{name}"), exist_ok=True)
        os.replace(f"{staging}/{name}", f"{directory}/{name}")
    for name in set(read_files(directory)) - set(texts):
        os.unlink(f"{directory}/{name}")
    shutil.rmtree(staging)


def point(link: str, target: str) -> None:
    """Makes `link` a relative symbolic link to `target` with one rename; an empty target removes it."""
    if not target:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(link)
        return
    staging = f"{link}.{os.getpid()}.tmp"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(staging)
    os.makedirs(os.path.dirname(link), exist_ok=True)
    os.symlink(target, staging)
    os.rename(staging, link)


def make_public(path: str) -> None:
    """A directory that everybody may look into, also on a host whose umask says otherwise."""
    os.makedirs(path, exist_ok=True)
    os.chmod(path, 0o755)  # noqa: S103 (what a web server shows to everybody)


def make_directory(service: Service, path: str) -> None:
    wanted = next(item for item in service.directories if item.path == path)
    os.makedirs(path, exist_ok=True)
    os.chown(path, wanted.uid, wanted.gid)
    os.chmod(path, int(wanted.mode, 8))


def prune_versions(root: str, keep: t.Container[str]) -> None:
    """Keeps what is in use and the newest few; each version is some kilobytes."""
    versions = sorted(
        (item for item in Path(root).glob("*") if item.is_dir() and not item.is_symlink()), key=lambda item: item.stat().st_mtime
    )
    for old in versions[:-KEPT_VERSIONS]:
        if old.name not in keep:
            shutil.rmtree(old, ignore_errors=True)
