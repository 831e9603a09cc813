# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers of a role that follow from others: how long requests may take, and how many there may be."""

from __future__ import annotations

import pytest
from _paths import GOLDEN, ROLES
from _render import RoleValues, load_yaml

NGINX, HAPROXY = (next(role for role in ROLES if role.name == name) for name in ("nginx", "haproxy"))


def nginx(**variables: object) -> RoleValues:
    return RoleValues(
        NGINX, {**load_yaml(GOLDEN / "common.yml"), **load_yaml(GOLDEN / "nginx" / "minimal" / "vars.yml"), **variables}, None
    )


def test_engine_kills_no_nginx_that_still_finishes() -> None:
    assert int(nginx(nginx_worker_shutdown_timeout=90).value("__nginx_service")["stop_grace"]) == 95


@pytest.mark.parametrize(
    ("own", "expected"), [("", ["worker_rlimit_nofile 2112;"]), ("worker_rlimit_nofile 99;", ["worker_rlimit_nofile 99;"])]
)
def test_limit_of_files_is_there_once(own: str, expected: list[str]) -> None:
    text = nginx(nginx_main_extra_config=own).template("nginx.conf.j2", {})
    assert [line for line in text.splitlines() if "worker_rlimit_nofile" in line] == expected


def test_nothing_is_cut_that_may_still_be_answered() -> None:
    assert int(nginx().value("nginx_worker_shutdown_timeout")) > seconds(nginx().value("nginx_read_timeout"))
    haproxy = RoleValues(HAPROXY, load_yaml(GOLDEN / "common.yml"))
    given = haproxy.value("haproxy_hard_stop_after")
    assert given > seconds(haproxy.value("__haproxy_timeouts.server"))
    assert int(haproxy.value("__haproxy_process.stop_grace")) > given
    (drained,) = (task["berth.django.haproxy_drain"] for task in load_yaml(HAPROXY / "tasks" / "drain.yml"))
    assert haproxy.value(drained["wait"].strip("{} ")) == given


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))
