# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""A secret in a file of its own."""

from __future__ import annotations

import os
import secrets
import string
import tempfile
from pathlib import Path

ALPHABET = string.ascii_letters + string.digits


def kept(path: Path, length: int, write: bool = True) -> str:
    """What the file holds, or a new secret, which goes into the file unless `write` is false."""
    if not path.exists():
        secret = "".join(secrets.choice(ALPHABET) for _ in range(length))
        if not write:
            return secret
        _make(path, secret)
    return path.read_text(encoding="utf-8").strip()


def _make(path: Path, secret: str) -> None:
    """Whole or not at all. All hosts of a play ask at the same time, and the first one's secret is everybody's."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".", encoding="utf-8") as staging:
        staging.write(secret + "\n")
        staging.flush()
        try:
            os.link(staging.name, path)
        except FileExistsError:
            return
