# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Compressed copies beside static files, for nginx's gzip_static: `base.css.gz` is sent for `base.css` to whoever takes gzip.

A copy has its original's time of change. That is how it is known to be current, and, in a directory that may hold archives of the
project, to be ours.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import stat
import typing as t
import zlib

# What is text, or compresses like it. Images, woff2 and archives are compressed already.
SUFFIXES = tuple(".css .csv .eot .htm .html .ico .js .json .map .md .mjs .otf .svg .ttf .txt .wasm .webmanifest .xml".split())
# A copy that saves less is not worth a second file.
AT_MOST = 0.95


def ours(directory: str) -> set[str]:
    """The copies that belong to a file as it is now."""
    return {f"{path}.gz" for path, state in _originals(directory) if _time(f"{path}.gz") == state.st_mtime_ns}


def compress(directory: str, before: t.Iterable[str] = (), check: bool = False) -> int:
    """Brings all copies up to date, and returns how many came, changed or went, or would.

    `before` is what :func:`ours` said before files were collected: these go with their originals.
    """
    changed = sum(_bring(path, state, _scratch(directory), check) for path, state in _originals(directory))
    orphans = [copy for copy in before if os.path.lexists(copy) and not os.path.lexists(copy.removesuffix(".gz"))]
    for copy in orphans if not check else []:
        os.unlink(copy)
    return changed + len(orphans)


def _originals(directory: str) -> t.Iterator[tuple[str, os.stat_result]]:
    for folder, folders, files in os.walk(directory):
        folders.sort()
        for path in (f"{folder}/{name}" for name in sorted(files) if name.endswith(SUFFIXES)):
            state = os.lstat(path)
            if stat.S_ISREG(state.st_mode):
                yield path, state


def _bring(path: str, state: os.stat_result, scratch: str, check: bool) -> bool:
    """Whether a copy came, changed or went. One that still unpacks to its original is right, whoever made it."""
    copy = f"{path}.gz"
    if _time(copy) == state.st_mtime_ns:
        return False
    content, there = _read(path), _read(copy)
    if there is not None and _unpacked(there) == content:
        if not check:
            os.utime(copy, ns=(state.st_atime_ns, state.st_mtime_ns), follow_symlinks=False)
        return False
    packed = gzip.compress(content or b"", 9, mtime=0)
    worth_it = len(packed) <= len(content or b"") * AT_MOST
    if worth_it and not check:
        _write(copy, packed, state, scratch)
    elif there is not None and not check:
        os.unlink(copy)
    return worth_it or there is not None


def _write(copy: str, packed: bytes, state: os.stat_result, scratch: str) -> None:
    """Whole or not at all, since nginx may be serving from here."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(scratch)
    with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(packed)
    os.chown(scratch, state.st_uid, state.st_gid)
    os.chmod(scratch, stat.S_IMODE(state.st_mode))
    os.utime(scratch, ns=(state.st_atime_ns, state.st_mtime_ns))
    os.rename(scratch, copy)


def _scratch(directory: str) -> str:
    """On the same file system, beside the directory, where no web server looks."""
    parent, name = os.path.split(directory.rstrip("/"))
    return f"{parent}/.compressing-{name}.tmp"


def _time(path: str) -> int | None:
    try:
        return os.lstat(path).st_mtime_ns
    except FileNotFoundError:
        return None


def _unpacked(packed: bytes) -> bytes | None:
    try:
        return gzip.decompress(packed)
    except (OSError, EOFError, zlib.error):
        return None


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
