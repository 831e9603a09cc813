# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""What is wrong with an inventory that has a database cluster in it, as sentences. Pure."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.berth.django.plugins.module_utils._inventory_secrets import NEW_SECRET

# Patroni refuses to run otherwise: a primary has to give up before a replica may take its place
# (https://patroni.readthedocs.io/en/latest/dynamic_configuration.html).
TIMES = {"postgres_ttl": 20, "postgres_loop_wait": 5, "postgres_retry_timeout": 7}
# Names of variables that tell a project where its database is.
DATABASE = re.compile(r"DATABASE|POSTGRES|(^|_)(PG|DB)", re.IGNORECASE)
NEEDED = ("postgres_replication_password", "postgres_patroni_password")


class Role(t.Protocol):
    """Of ``_inventory.py``, as far as it is looked at here."""

    @property
    def host(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def values(self) -> dict[str, t.Any]: ...


def cluster_problems(
    roles: t.Sequence[Role], groups: t.Mapping[str, t.Sequence[str]], addresses: t.Mapping[str, t.Any]
) -> list[tuple[str, str]]:
    """By host, so that what several share is told once. `addresses` are those of all hosts."""
    found: list[tuple[str, str]] = []
    for role in roles:
        if role.name == "postgres" and len(groups.get(role.values.get("postgres_peer_group", "postgres"), [])) > 1:
            found += [(role.host, sentence) for sentence in [*member_problems(role), *etcd_problems(role, groups)]]
            found += [
                (app.host, sentence)
                for app in roles
                if app.name == "django_uwsgi"
                for sentence in way_problems(app, role, groups, addresses)
            ]
    return found


def way_problems(app: Role, member: Role, groups: t.Mapping[str, t.Sequence[str]], addresses: t.Mapping[str, t.Any]) -> list[str]:
    """A project that asks one member stops when another one leads. Several, for its driver to choose from, are its own affair."""
    gateway = member.values.get("postgres_gateway_group", "postgres_gateway")
    if app.values.get("django_uwsgi_project") != member.values.get("postgres_project") or member.host in groups.get(gateway, []):
        return []
    names = "|".join(re.escape(str(name)) for name in (member.host, addresses.get(member.host)) if name)
    alone = re.compile(rf"(.*[@/])?({names})(:\d+)?([/?].*)?")
    given = {kind: app.values.get(f"django_uwsgi_{kind}") for kind in ("env", "secrets")}
    return [
        f"django_uwsgi_{kind}.{name} of host {app.host} leads to {member.host}, one member of a cluster, which another one may "
        f"lead tomorrow: give the address of a host in the group {gateway!r} and its port (6432), which lead to whoever is primary."
        for kind, values in given.items()
        if isinstance(values, dict)
        for name, value in values.items()
        if DATABASE.search(str(name)) and alone.fullmatch(str(value))
    ]


def member_problems(role: Role) -> list[str]:
    found = [
        f"{name} is missing for host {role.host}, which is a member of a cluster: {NEW_SECRET}."
        for name in NEEDED
        if not role.values.get(name)
    ]
    ttl, loop_wait, retry_timeout = (role.values.get(name, default) for name, default in TIMES.items())
    if all(isinstance(value, int) for value in (ttl, loop_wait, retry_timeout)) and loop_wait + 2 * retry_timeout > ttl:
        found.append(
            f"postgres_ttl of host {role.host} is {ttl}, less than postgres_loop_wait and twice postgres_retry_timeout ({loop_wait} + 2 x "
            f"{retry_timeout}): a replica could take over from a primary that has not given up. Set it to {loop_wait + 2 * retry_timeout}."
        )
    return found


def etcd_problems(role: Role, groups: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    group = role.values.get("postgres_etcd_group", "etcd")
    count = len(groups.get(group, []))
    needs = "three hosts, or five, of which a majority has to agree who is primary; the database hosts themselves will do"
    unless = "A lab may say postgres_etcd_few: true."
    if not count:
        return [f"The group {group!r} has no host, and PostgreSQL on host {role.host} is a member of a cluster: put {needs} into it."]
    if role.values.get("postgres_etcd_few") is True:
        return []
    if count == 1:
        return [
            f"The group {group!r} has one host, without which the cluster of host {role.host} has no primary: put {needs} into it. {unless}"
        ]
    if count % 2 == 0:
        return [f"The group {group!r} has {count} hosts, which can lose no more of them than {count - 1} do: put {needs} into it. {unless}"]
    return []
