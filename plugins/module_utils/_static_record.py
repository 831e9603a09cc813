# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""What a directory of static files looked like after collectstatic, so that asking again costs no Django.

Static files follow from the image and its settings. Where the same instance serves and no file came, went or changed since,
collectstatic would find nothing to do; in every other case it is run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import typing as t


def listing(directory: str) -> str:
    """A hash of every file's name, size and time of change."""
    return _hash(directory, lambda state: state.st_mtime_ns)


def contents(directory: str) -> str:
    """The same on every host that was given these files: whole seconds are what an archive keeps of a time."""
    return _hash(directory, lambda state: int(state.st_mtime))


def names(directory: str) -> str:
    """Which files there are, and how large: what post-processing writes anew each time is the same."""
    return _hash(directory, lambda state: 0)


def _hash(directory: str, time_of: t.Callable[[os.stat_result], int]) -> str:
    seen = hashlib.sha256()
    for folder, folders, files in os.walk(directory):
        folders.sort()
        for name in sorted(files):
            state = os.lstat(f"{folder}/{name}")
            seen.update(f"{os.path.relpath(folder, directory)}/{name}\0{state.st_size}\0{time_of(state)}\n".encode())
    return seen.hexdigest()


def path_of(directory: str) -> str:
    """Beside the directory, where no web server looks."""
    parent, name = os.path.split(directory.rstrip("/"))
    return f"{parent}/.collected-{name}.json"


def recall(directory: str, key: str = "") -> dict[str, t.Any] | None:
    """The counts of the last collectstatic, when it was for `key` (if one is given) and the directory is as it was left."""
    try:
        with open(path_of(directory), encoding="utf-8") as file:
            record = json.load(file)
        if record["key"] == (key or record["key"]) and record["listing"] == listing(directory):
            return dict(record["counts"])
    except (OSError, ValueError, KeyError):
        pass
    return None


def keep(directory: str, key: str, counts: dict[str, t.Any]) -> None:
    staging = f"{path_of(directory)}.{os.getpid()}.tmp"
    with contextlib.suppress(OSError):
        with open(staging, "w", encoding="utf-8") as file:
            json.dump({"key": key, "listing": listing(directory), "counts": counts}, file)
        os.rename(staging, path_of(directory))
