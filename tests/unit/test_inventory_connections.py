# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database server that has fewer connections than its project may want is refused, with the sum."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.berth.django.plugins.module_utils._inventory_connections import connection_problems
from test_inventory import role


def problems(hosts: int = 2, connections: Any = None, **values: Any) -> list[str]:
    apps = [role(f"web{number}", "django_uwsgi", django_uwsgi_project="music", **values) for number in range(1, hosts + 1)]
    settings = {} if connections is None else {"postgres_settings": {"max_connections": connections}}
    return [sentence for _host, sentence in connection_problems([role("db1", "postgres", postgres_project="music", **settings), *apps])]


@pytest.mark.parametrize(
    ("hosts", "connections", "values"),
    [
        pytest.param(2, None, {}, id="the defaults: 2 x 4, twice"),
        pytest.param(11, None, {}, id="88 of the 90 that are not kept"),
        pytest.param(2, 26, {}, id="16 and 10"),
        pytest.param(2, "26", {"django_uwsgi_workers": "nonsense", "django_uwsgi_options": "processes=9"}, id="what another rule tells of"),
        pytest.param(1, 1000, {"django_uwsgi_processes": 100, "django_uwsgi_threads": 4}, id="as many as it has"),
    ],
)
def test_it_fits(hosts: int, connections: Any, values: dict[str, Any]) -> None:
    assert problems(hosts, connections, **values) == []


def test_another_project_has_a_server_of_its_own() -> None:
    server = role("db1", "postgres", postgres_project="press")
    assert connection_problems([server, role("web1", "django_uwsgi", django_uwsgi_project="music", django_uwsgi_processes=500)]) == []


@pytest.mark.parametrize(
    ("hosts", "connections", "values", "words"),
    [
        (12, None, {}, "may want 96 while a release starts"),
        (2, 25, {}, "set max_connections to 26 or more"),
        (1, None, {"django_uwsgi_threads": 12}, "web1: 48 for uWSGI, twice"),
        (6, None, {"django_uwsgi_env": {"DATABASE_REPLICA_PORT": "6433"}}, "may want 96 while a release starts"),
        (6, None, {"django_uwsgi_secrets": {"url": "postgresql://a:b@c:6433/music"}}, "web1: 4 for uWSGI, twice, to write and to read"),
        (1, None, {"django_uwsgi_options": {"processes": 50}}, "web1: 50 for uWSGI"),
        (
            1,
            20,
            {"django_uwsgi_workers": {"print": {"count": 3}, "mail": {}}, "django_uwsgi_schedule": {"x": {}}},
            "4 for uWSGI and 5 for workers",
        ),
    ],
)
def test_it_does_not_fit(hosts: int, connections: Any, values: dict[str, Any], words: str) -> None:
    (sentence,) = problems(hosts, connections, **values)
    assert words in sentence and sentence.startswith("PostgreSQL on host db1 has")
