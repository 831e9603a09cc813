# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""A server's data directory, as files on this host: whose it is, what it takes, and what room is left. Nothing is changed."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import typing as t
from pathlib import Path


def look_at(directory: str) -> dict[str, t.Any]:
    """Whether there is data, the identifier of its cluster, and bytes: what it takes, and what is free where it is or would be."""
    there = os.path.exists(f"{directory}/PG_VERSION")
    return dict(
        data=there,
        system=system_identifier(directory) if there else "",
        used=size_of(directory) if there else 0,
        free=shutil.disk_usage(nearest(directory)).free,
    )


def system_identifier(directory: str) -> str:
    """The first eight bytes of pg_control (src/include/catalog/pg_control.h); initdb makes it, and every copy has the same."""
    with contextlib.suppress(OSError, struct.error):
        return str(struct.unpack_from("=Q", Path(directory, "global", "pg_control").read_bytes())[0])
    return ""


def size_of(directory: str) -> int:
    """A running server adds and removes files meanwhile."""
    total = 0
    for folder, _folders, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
    return total


def nearest(directory: str) -> str:
    """The first directory above that is there."""
    path = Path(directory)
    return str(next(each for each in (path, *path.parents) if each.is_dir()))
