# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""What counts as a secret among the inputs of a role, and which a stranger would guess: pure functions."""

from __future__ import annotations

import re
import typing as t
from urllib.parse import urlsplit

NEW_SECRET = "make a value with `openssl rand -hex 32` and keep it in a vault file"  # noqa: S105
SHORTEST_SECRET = 12
SHORTEST_SECRET_KEY = 50

# Compared with the secret in lower case, without anything but letters and with digits at its end removed ("Password-123!" is "password").
GUESSED_FIRST = frozenset(
    """
    admin administrator berth changeit changeme default django haproxy hunter lab letmein music nginx none null pass passphrase passw passwd
    password postgres postgresql pw qwerty qwertyuiop root secret secretkey secretpassword superuser supersecret test todo user welcome xxx
    """.split()
)
# A value that still says what it should be replaced by, or that Django itself calls insecure.
PLACEHOLDER = re.compile(
    r"change.?(me|it|this)|replace.?(me|with|this)|your.?(secret|password|key)|example|placeholder|insert.?here|fill.?in|^<.*>$|django-insecure",
    re.IGNORECASE,
)
# Entries of a dict of secrets that are kept there for company but are no secrets: a user's or a host's name.
NOT_SECRET = re.compile(r"(^|_)(user|username|host|hostname|name|port|email|from)$", re.IGNORECASE)


def secrets_in(where: str, value: t.Any, option: dict[str, t.Any]) -> t.Iterator[tuple[str, str]]:
    """(dotted name, value) of the secrets inside one option's value."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from secrets_in(f"{where}[{index}]", item, option)
    elif isinstance(value, dict):
        inner = option.get("options") or {}
        for key, item in value.items():
            yield from secrets_in(f"{where}.{key}", item, inner.get(key, {} if inner else option))
    elif is_secret(where, option):
        # YAML makes null of nothing, and numbers and booleans of some passwords.
        yield where, "" if value is None else str(value)


def is_secret(where: str, option: dict[str, t.Any]) -> bool:
    return bool(option.get("no_log")) and not NOT_SECRET.search(where.rpartition(".")[2])


def weakness(where: str, secret: str) -> str | None:
    """Why a stranger would guess it, or None. Of a URL, its password counts."""
    if re.match(r"[a-z0-9+.-]+://", secret):
        try:
            secret = urlsplit(secret).password or ""
        except ValueError:
            return None
        if not secret:
            return None
    if PLACEHOLDER.search(secret):
        return "it is a placeholder"
    letters = re.sub(r"[^a-z]", "", re.sub(r"[\W\d_]+$", "", secret.lower()))
    if letters in GUESSED_FIRST and len(letters) * 2 >= len(secret):
        return "it is among the first that are tried"
    shortest = SHORTEST_SECRET_KEY if re.search(r"secret_key$", where, re.IGNORECASE) else SHORTEST_SECRET
    if len(secret) < shortest:
        return f"it has {len(secret)} characters, and needs {shortest}"
    if secret.isdigit():
        return "it has digits only"
    if len(set(secret)) < 5:
        return "it has fewer than 5 different characters"
    return None
