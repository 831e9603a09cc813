# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""What is wrong with an inventory that has a database backed up, as sentences. Pure."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.berth.django.plugins.module_utils._inventory_cluster import Role

Groups = t.Mapping[str, t.Sequence[str]]


def backup_problems(roles: t.Sequence[Role], groups: Groups, machines: t.Mapping[str, str]) -> list[str]:
    found: list[str] = []
    for role in roles:
        if role.name == "postgres":
            found += place_problems(role, groups, machines)
        elif role.name == "pgbackrest":
            found += time_problems(role)
    return found


def place_problems(role: Role, groups: Groups, machines: t.Mapping[str, str]) -> list[str]:
    """A backup beside the only copy goes with it."""
    group = role.values.get("postgres_backup_group", "pgbackrest")
    hosts, servers = groups.get(group, []), groups.get(role.values.get("postgres_peer_group", "postgres"), [])
    if len(hosts) > 1:
        return [f"The group {group!r} has {len(hosts)} hosts, {', '.join(hosts)}, and one of them keeps backups: leave one in it."]
    return [
        f"Host {host}, which keeps backups, is the machine of {role.host}, the only database server: a lost disk would take both. "
        f"Put another host into the group {group!r}."
        for host in hosts
        if len(servers) == 1 and machines.get(host, host) == machines.get(role.host, role.host)
    ]


def time_problems(role: Role) -> list[str]:
    when = str(role.values.get("pgbackrest_time", "02:30"))
    if re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", when):
        return []
    return [f"pgbackrest_time of host {role.host} is {when!r}: give the time of day in UTC, in quotes, for example '02:30'."]
