# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory with a database cluster is refused for."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.berth.django.plugins.module_utils._inventory_cluster import cluster_problems
from test_inventory import role

SECRETS = {"postgres_replication_password": "x", "postgres_patroni_password": "y"}
THREE = ["db1", "db2", "db3"]


def problems(etcd: list[str], postgres: list[str] = THREE, **values: Any) -> list[str]:
    return [sentence for _host, sentence in cluster_problems([role("db1", "postgres", **values)], {"etcd": etcd, "postgres": postgres}, {})]


@pytest.mark.parametrize(
    ("kind", "name", "value", "refused"),
    [
        ("env", "DATABASE_HOST", "db1", True),
        ("env", "DATABASE_HOST", "10.0.0.1", True),
        ("secrets", "database_url", "postgresql://shop:secret@10.0.0.1:5432/shop?sslmode=require", True),
        ("env", "DATABASE_HOST", "10.0.0.9", False),
        ("env", "DATABASE_HOST", "db1,db2,db3", False),
        ("env", "DATABASE_HOST", "db10", False),
        ("env", "CACHE_HOST", "10.0.0.1", False),
    ],
)
def test_a_project_that_asks_one_member_alone(kind: str, name: str, value: str, refused: bool) -> None:
    server = role("db1", "postgres", postgres_project="shop", **SECRETS)
    groups = {"etcd": THREE, "postgres": THREE, "postgres_gateway": ["web1"]}
    addresses = {"db1": "10.0.0.1", "web1": "10.0.0.9"}

    def told(project: str = "shop", **changed: list[str]) -> list[tuple[str, str]]:
        app = role("web1", "django_uwsgi", **{"django_uwsgi_project": project, f"django_uwsgi_{kind}": {name: value}})
        return cluster_problems([server, app], {**groups, **changed}, addresses)

    assert [(host, f"django_uwsgi_{kind}.{name} of host web1 leads to db1" in sentence) for host, sentence in told()] == [
        ("web1", True)
    ] * refused
    assert told(project="other") == [] and told(postgres=["db1"]) == []
    assert told(postgres_gateway=["db1"]) == [], "the way to the primary may begin on a member"


def test_three_and_one_are_fine() -> None:
    assert problems(THREE, **SECRETS) == []
    assert problems([], postgres=["db1"]) == []


@pytest.mark.parametrize(
    ("etcd", "words"),
    [
        ([], "The group 'etcd' has no host, and PostgreSQL on host db1 is a member of a cluster"),
        (["db1"], "has one host, without which the cluster of host db1 has no primary"),
        (["db1", "db2"], "has 2 hosts, which can lose no more of them than 1 do"),
        (["a", "b", "c", "d"], "has 4 hosts, which can lose no more of them than 3 do"),
    ],
)
def test_a_majority_is_needed(etcd: list[str], words: str) -> None:
    (sentence,) = problems(etcd, **SECRETS)
    assert words in sentence and "three hosts, or five" in sentence
    assert problems(etcd, **SECRETS, postgres_etcd_few=True) == ([] if etcd else [sentence])


def test_times_that_let_two_lead() -> None:
    (sentence,) = problems(THREE, **SECRETS, postgres_ttl=15)
    assert "postgres_ttl of host db1 is 15" in sentence and "Set it to 19." in sentence
    assert problems(THREE, **SECRETS, postgres_ttl=19) == []


def test_a_member_needs_its_passwords() -> None:
    assert [sentence.split(" ")[0] for sentence in problems(THREE)] == ["postgres_replication_password", "postgres_patroni_password"]
