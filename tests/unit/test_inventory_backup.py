# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory with backups is refused for."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.berth.django.plugins.module_utils._inventory_backup import backup_problems
from test_inventory import role

MACHINES = {"db1": "10.0.0.2", "db2": "10.0.0.3", "backup1": "10.0.0.4", "spare": "10.0.0.2"}


def problems(repository: list[str], servers: list[str], **values: Any) -> list[str]:
    roles = [*(role(host, "postgres") for host in servers), *(role(host, "pgbackrest", **values) for host in repository)]
    return backup_problems(roles, {"pgbackrest": repository, "postgres": servers}, MACHINES)


@pytest.mark.parametrize(
    ("repository", "servers"),
    [
        pytest.param([], ["db1"], id="no backups"),
        pytest.param(["backup1"], ["db1"], id="a host of its own"),
        pytest.param(["db2"], ["db1", "db2"], id="a member of a cluster, whose data others have, too"),
    ],
)
def test_fine(repository: list[str], servers: list[str]) -> None:
    assert problems(repository, servers) == []


@pytest.mark.parametrize("host", ["db1", "spare"])
def test_beside_the_only_server(host: str) -> None:
    (sentence,) = problems([host], ["db1"])
    assert sentence.startswith(f"Host {host}, which keeps backups, is the machine of db1, the only database server")


def test_several_repositories() -> None:
    assert "has 2 hosts, backup1, db2, and one of them keeps backups" in problems(["backup1", "db2"], ["db1"])[0]


@pytest.mark.parametrize("when", ["2:30", "24:00", "9000", 9000, "", "02:30:00"])
def test_a_time_that_is_none(when: Any) -> None:
    (sentence,) = problems(["backup1"], ["db1"], pgbackrest_time=when)
    assert "pgbackrest_time of host backup1 is" in sentence and "'02:30'" in sentence
