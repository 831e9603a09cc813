# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read settings from the environment: each function takes the name of one variable and gives its value."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

ENGINES = {
    "postgres": "django.db.backends.postgresql",
    "postgresql": "django.db.backends.postgresql",
    "sqlite": "django.db.backends.sqlite3",
}


def text(name: str, default: str | None = None) -> str:
    """A variable without a default has to be there."""
    value = os.environ.get(name) or default
    if value is None:
        raise ImproperlyConfigured(f"The environment has no {name}.")
    return value


def boolean(name: str, default: bool = False) -> bool:
    value = os.environ.get(name, "").strip().lower()
    if value in ("1", "true", "yes", "on"):
        return True
    if value in ("0", "false", "no", "off"):
        return False
    if value:
        raise ImproperlyConfigured(f"{name} is {value!r} in the environment: use true or false.")
    return default


def integer(name: str, default: int) -> int:
    value = os.environ.get(name) or str(default)
    try:
        return int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} is {value!r} in the environment: use a whole number.") from None


def words(name: str) -> list[str]:
    """A list, separated by commas."""
    return [word.strip() for word in os.environ.get(name, "").split(",") if word.strip()]


def database() -> dict[str, Any]:
    """DATABASE_URL, or its parts as DATABASE_HOST, _PORT, _NAME, _USER and _PASSWORD."""
    found = parse_url(url) if (url := os.environ.get("DATABASE_URL")) else parts()
    found["OPTIONS"] |= pool()
    return found


def pool() -> dict[str, Any]:
    """Django's own, in each process, of at most DATABASE_POOL_SIZE connections: as many as it has threads. None where that is not said."""
    size = integer("DATABASE_POOL_SIZE", 0)
    return {"pool": {"min_size": 1, "max_size": size}} if size else {}


def parts() -> dict[str, Any]:
    return {
        "ENGINE": ENGINES["postgresql"],
        "HOST": text("DATABASE_HOST"),
        "PORT": text("DATABASE_PORT", "5432"),
        "NAME": text("DATABASE_NAME"),
        "USER": text("DATABASE_USER"),
        "PASSWORD": text("DATABASE_PASSWORD"),
        "OPTIONS": {"connect_timeout": integer("DATABASE_CONNECT_TIMEOUT", 5)},
    }


def replica() -> dict[str, Any] | None:
    """The same database, to be read from DATABASE_REPLICA_HOST, _PORT and _NAME: what of them is not said is the primary's. None without any."""
    found = {key: os.environ.get(f"DATABASE_REPLICA_{key}") for key in ("HOST", "PORT", "NAME")}
    given = {key: value for key, value in found.items() if value}
    return database() | given if given else None


def parse_url(url: str) -> dict[str, Any]:
    """postgresql://user:password@host:5432/name?sslmode=require, or sqlite:///file and sqlite:///:memory:."""
    parts = urlsplit(url)
    if parts.scheme not in ENGINES:
        raise ImproperlyConfigured(f"DATABASE_URL starts with {parts.scheme!r}: use postgresql or sqlite.")
    found = {
        "ENGINE": ENGINES[parts.scheme],
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
        "NAME": unquote(parts.path.removeprefix("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
    }
    return {key: value for key, value in found.items() if value} | {"OPTIONS": dict(parse_qsl(parts.query))}
