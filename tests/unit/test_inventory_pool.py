# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool that nobody goes through, or somebody who must not, is refused; what it has to the server is what counts there."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.berth.django.plugins.module_utils._inventory_connections import connection_problems
from ansible_collections.berth.django.plugins.module_utils._inventory_pool import pool_problems
from test_inventory import role

THROUGH = {"DATABASE_HOST": "pgbouncer", "DATABASE_PORT": "6432"}
PAST = {"DATABASE_HOST": "10.0.0.3"}
POOL = role("web1", "pgbouncer", pgbouncer_project="music")


def app(**values: Any) -> Any:
    return role("web1", "django_uwsgi", django_uwsgi_project="music", **values)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"django_uwsgi_env": THROUGH, "django_uwsgi_migrate_env": PAST}, id="its parts"),
        pytest.param(
            {
                "django_uwsgi_secrets": {"database_url": "postgresql://u:p@pgbouncer:6432/music"},
                "django_uwsgi_migrate_secrets": {"database_url": "postgresql://o:p@10.0.0.3/music"},
            },
            id="a URL",
        ),
        pytest.param({"django_uwsgi_env": THROUGH, "django_uwsgi_migrate": False}, id="who migrates elsewhere"),
        pytest.param(
            {
                "django_uwsgi_env": THROUGH,
                "django_uwsgi_migrate_env": PAST,
                "django_uwsgi_schedule": {"tidy": {}},
                "django_uwsgi_schedule_env": PAST,
            },
            id="a schedule",
        ),
    ],
)
def test_it_can_work(values: dict[str, Any]) -> None:
    assert pool_problems([POOL, app(**values)]) == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"django_uwsgi_env": PAST}, "nothing goes through PgBouncer"),
        ({"django_uwsgi_env": {"NOTE": "not-pgbouncer"}}, "nothing goes through PgBouncer"),
        ({"django_uwsgi_env": THROUGH}, "migrations would go through PgBouncer (django_uwsgi_migrate_env)"),
        (
            {"django_uwsgi_env": THROUGH, "django_uwsgi_migrate_env": PAST, "django_uwsgi_schedule": {"tidy": {}}},
            "who starts scheduled commands would be agreed on through PgBouncer (django_uwsgi_schedule_env)",
        ),
    ],
)
def test_it_cannot_work(values: dict[str, Any], words: str) -> None:
    ((host, sentence),) = pool_problems([POOL, app(**values)])
    assert host == "web1" and words in sentence


def test_a_pool_beside_nothing() -> None:
    other = role("web1", "django_uwsgi", django_uwsgi_project="press")
    ((_host, sentence),) = pool_problems([POOL, other])
    assert "has no project beside it" in sentence


@pytest.mark.parametrize(
    ("of_pool", "of_server", "words"),
    [
        ({"pgbouncer_password": "a"}, {"postgres_app_password": "a"}, None),
        ({"pgbouncer_password": "a", "pgbouncer_role": "music"}, {"postgres_password": "a"}, None),
        ({"pgbouncer_password": "a"}, {}, "logs in as a role that the server on db1 does not have"),
    ],
)
def test_who_it_logs_in_as(of_pool: dict[str, str], of_server: dict[str, str], words: str | None) -> None:
    pool = role("web1", "pgbouncer", pgbouncer_project="music", **of_pool)
    server = role("db1", "postgres", postgres_project="music", **of_server)
    told = [sentence for _host, sentence in pool_problems([pool, server, app(django_uwsgi_env=THROUGH, django_uwsgi_migrate=False)])]
    assert len(told) == (1 if words else 0) and (words or "") in "".join(told)


def test_the_server_has_to_have_what_pools_want() -> None:
    """40 processes on a host want 80 connections; a pool of 10 wants 10, and as many to read."""
    server = role("db1", "postgres", postgres_project="music", postgres_settings={"max_connections": 30})
    assert len(connection_problems([server, app(django_uwsgi_processes=40)])) == 1
    assert connection_problems([server, POOL, app(django_uwsgi_processes=40)]) == []
    large = role("web1", "pgbouncer", pgbouncer_project="music", pgbouncer_pool_size=20)
    ((_host, sentence),) = connection_problems([server, large, app()])
    assert "may want 40" in sentence and "web1: 40 of its PgBouncer" in sentence
