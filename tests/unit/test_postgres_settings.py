# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The formula that turns memory into PostgreSQL settings, and how an operator's own settings are written."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.berth.django.plugins.filter.postgres_settings import literal, memory_in_bytes, settings

# memory, max_connections -> shared_buffers, effective_cache_size, maintenance_work_mem, work_mem (PGTune, web application)
FORMULA = [
    ("256m", 100, "64MB", "192MB", "16MB", "4MB"),
    ("1g", 100, "256MB", "768MB", "64MB", "4MB"),
    ("4g", 100, "1024MB", "3072MB", "256MB", "10MB"),
    ("16g", 300, "4096MB", "12288MB", "1024MB", "13MB"),
    ("64g", 500, "16384MB", "49152MB", "2048MB", "32MB"),
]


@pytest.mark.parametrize(("memory", "connections", "shared", "cache", "maintenance", "work"), FORMULA)
def test_formula(memory: str, connections: int, shared: str, cache: str, maintenance: str, work: str) -> None:
    assert settings(memory, {"max_connections": connections}) == {
        "max_connections": str(connections),
        "shared_buffers": f"'{shared}'",
        "effective_cache_size": f"'{cache}'",
        "maintenance_work_mem": f"'{maintenance}'",
        "work_mem": f"'{work}'",
        "random_page_cost": "1.1",
        "effective_io_concurrency": "200",
        **({"min_wal_size": "'1GB'", "max_wal_size": "'4GB'"} if memory not in ("256m", "1g") else {}),
    }


@pytest.mark.parametrize(
    ("cpus", "workers"),
    [("", None), ("2", None), ("4", ("8", "4", "2")), ("5.5", ("8", "5", "3")), ("16", ("16", "16", "4"))],
)
def test_workers_follow_processors(cpus: str, workers: tuple[str, str, str] | None) -> None:
    found = settings("1g", cpus=cpus)
    names = ("max_worker_processes", "max_parallel_workers", "max_parallel_workers_per_gather")
    assert (tuple(found[name] for name in names) if workers else [name for name in names if name in found]) == (workers or [])
    assert ("max_worker_processes" in settings("1g", shared=True, cpus=cpus)) == bool(workers)


def test_a_hard_disk_keeps_what_postgresql_takes_for_one() -> None:
    assert "random_page_cost" not in settings("1g", storage="hdd")
    with pytest.raises(ValueError, match="postgres_cpus is 'many'"):
        settings("1g", cpus="many")


def test_own_settings_win() -> None:
    own = settings("1g", {"Shared_Buffers": "128MB", "work_mem": None, "jit": False})
    assert own["shared_buffers"] == "'128MB'"
    assert "work_mem" not in own
    assert own["jit"] == "off"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (True, "on"),
        (False, "off"),
        (7, "7"),
        (-1, "-1"),
        (1.1, "1.1"),
        ("250ms", "'250ms'"),
        ("it's", "'it''s'"),
        ("a\\b", "'a\\\\b'"),
        ("two\nlines", "'two\\nlines'"),
        ("", "''"),
    ],
)
def test_literal(value: Any, written: str) -> None:
    assert literal(value) == written


@pytest.mark.parametrize(
    ("memory", "size"), [("1g", 2**30), ("512M", 2**29), ("1024k", 2**20), ("7b", 7), ("7", 7), (2**20, 2**20), ("2gb", 2**31)]
)
def test_memory(memory: str | int, size: int) -> None:
    assert memory_in_bytes(memory) == size


@pytest.mark.parametrize(
    ("memory", "own", "message"),
    [
        ("much", {}, "memory is 'much'"),
        ("64m", {}, "needs at least 128m"),
        ("1g", {"port": 1}, "postgres_settings has port, which the role sets itself"),
        ("1g", {"HBA_FILE": "/x"}, "postgres_settings has hba_file"),
        ("1g", {"berth.generation": "x"}, "which the role sets itself"),
        ("1g", {"x = 1\ninclude": "/etc/passwd"}, "is not the name of a setting"),
        ("1g", {"work_mem": {"a": 1}}, "postgres_settings.work_mem is a dict"),
        ("1g", {"max_connections": "many"}, "max_connections is 'many'"),
    ],
)
def test_refused(memory: str, own: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings(memory, own)
