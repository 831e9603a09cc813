# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Whether a database server has a connection for everybody who may want one, as sentences. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.berth.django.plugins.module_utils._inventory_cluster import Role
from ansible_collections.berth.django.plugins.module_utils._inventory_pool import pooled

# As the roles' defaults say.
PROCESSES, THREADS, CONNECTIONS, READ_PORT = 4, 1, 100, 6433
# superuser_reserved_connections of PostgreSQL (3), and what Patroni, pgBackRest, migrations and whoever looks after it may hold.
RESERVED = 10


def connection_problems(roles: t.Sequence[Role]) -> list[tuple[str, str]]:
    """Django holds one connection for each thread. A release runs beside the one before for a while, so that there are twice as many.

    By host, so that what the members of a cluster share is told once.
    """
    found = []
    for server in (role for role in roles if role.name == "postgres"):
        apps = [role for role in roles if role.name == "django_uwsgi" and project_of(role) == project_of(server)]
        told = [wanted_by(app, pooled(app, roles), ports_to_read(roles)) for app in apps]
        wanted, limit = sum(count for count, _words in told), limit_of(server)
        if wanted > limit - RESERVED:
            told_of = (
                f"PostgreSQL on host {server.host} has {limit} connections (postgres_settings.max_connections), and the project may want "
                f"{wanted} while a release starts beside the one before ({', '.join(words for _count, words in told)}), with {RESERVED} "
                f"kept for others: set max_connections to {wanted + RESERVED} or more, lower django_uwsgi_processes or "
                "django_uwsgi_threads, or pool them (group pgbouncer, pgbouncer_pool_size)."
            )
            found.append((server.host, told_of))
    return found


def wanted_by(app: Role, pool: int | None, ports: t.Collection[str]) -> tuple[int, str]:
    """A pool is shared by both releases. What goes past it is among those that are kept for others.

    A thread that also asks replicas has two connections, and both lead to the primary where there is no replica.
    """
    if pool is not None:
        return pool, f"{app.host}: {pool} of its PgBouncer"
    web, others = threads_of(app)
    reads = reads_replicas(app, ports)
    words = f"{app.host}: {web} for uWSGI{f' and {others} for workers' if others else ''}, twice{', to write and to read' if reads else ''}"
    return 2 * (web + others) * (2 if reads else 1), words


def ports_to_read(roles: t.Iterable[Role]) -> set[str]:
    """Where ways to replicas begin."""
    return {str(role.values.get("haproxy_database_read_port", READ_PORT)) for role in roles if role.name == "haproxy"} or {str(READ_PORT)}


def reads_replicas(app: Role, ports: t.Collection[str]) -> bool:
    """Whether the project is told such a port: a value, or in a URL."""
    given = [app.values.get(f"django_uwsgi_{kind}") for kind in ("env", "secrets")]
    values = [str(value) for told in given if isinstance(told, dict) for value in told.values()]
    return any(value == port or f":{port}/" in value for value in values for port in ports)


def threads_of(app: Role) -> tuple[int, int]:
    """Of uWSGI, and of what else the project runs on the host."""
    given = app.values.get("django_uwsgi_options")
    options = given if isinstance(given, dict) else {}
    processes = number(options.get("processes"), number(app.values.get("django_uwsgi_processes"), PROCESSES))
    threads = number(options.get("threads"), number(app.values.get("django_uwsgi_threads"), THREADS))
    workers = app.values.get("django_uwsgi_workers")
    found = list(workers.values()) if isinstance(workers, dict) else []
    others = sum(number(worker.get("count"), 1) for worker in found if isinstance(worker, dict))
    return processes * threads, others + (1 if app.values.get("django_uwsgi_schedule") else 0)


def limit_of(server: Role) -> int:
    settings = server.values.get("postgres_settings") or {}
    return number(settings.get("max_connections") if isinstance(settings, dict) else None, CONNECTIONS)


def number(value: t.Any, otherwise: int) -> int:
    """What is none is told by the rule for types."""
    return int(value) if str(value).isdigit() else otherwise


def project_of(role: Role) -> t.Any:
    return role.values.get(f"{role.name}_project")
