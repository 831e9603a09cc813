# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""What is wrong with an inventory that pools connections to a database with PgBouncer, as sentences. Pure."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.berth.django.plugins.module_utils._inventory_cluster import Role

# As the role's defaults say.
NAME, SIZE = "pgbouncer", 10


def pool_problems(roles: t.Sequence[Role]) -> list[tuple[str, str]]:
    """By host, so that what several share is told once."""
    found = []
    for pool in (role for role in roles if role.name == "pgbouncer"):
        app = app_of(pool, roles)
        if app is None:
            told = f"PgBouncer on host {pool.host} has no project beside it: put the host into 'django_uwsgi', too."
            found.append((pool.host, told))
        else:
            found += [(pool.host, sentence) for sentence in [*login_problems(pool, roles), *way_problems(pool, app)]]
    return found


def login_problems(pool: Role, roles: t.Iterable[Role]) -> list[str]:
    """By default it logs in as the role that reads and writes rows, which the server has where that has a password."""
    project, given = pool.values.get("pgbouncer_project"), pool.values.get("pgbouncer_role")
    for server in (role for role in roles if role.name == "postgres" and role.values.get("postgres_project") == project):
        if not server.values.get("postgres_app_password") and not given:
            return [
                f"PgBouncer on host {pool.host} logs in as a role that the server on {server.host} does not have: set "
                "postgres_app_password, or pgbouncer_role to the role that it has."
            ]
    return []


def way_problems(pool: Role, app: Role) -> list[str]:
    """Who goes through it, and who must not. Where the project looks for its database is in variables that are its own."""
    name = pool.values.get("pgbouncer_name") or NAME
    told = f"On host {app.host} "
    session = "which keeps no session: name the server itself there, such as {DATABASE_HOST: ..., DATABASE_PORT: ...}."
    if not mentions(name, app, ""):
        return [
            f"{told}nothing goes through PgBouncer: say so where the project looks for its database, such as "
            f"django_uwsgi_env: {{DATABASE_HOST: {name}, DATABASE_PORT: '6432'}}, or take the host out of the group 'pgbouncer'."
        ]
    found = []
    if app.values.get("django_uwsgi_migrate", True) and mentions(name, app, "migrate"):
        found.append(f"{told}migrations would go through PgBouncer (django_uwsgi_migrate_env), {session}")
    if app.values.get("django_uwsgi_schedule") and mentions(name, app, "schedule"):
        found.append(f"{told}who starts scheduled commands would be agreed on through PgBouncer (django_uwsgi_schedule_env), {session}")
    return found


def mentions(name: str, app: Role, what: str) -> bool:
    """Whether PgBouncer is a host in what the project is told: a value, or the host of a URL."""
    host = re.compile(rf"(^|[@/]){re.escape(name)}(:\d+)?(/|\?|$)")
    told: dict[str, t.Any] = {}
    for kind in ("env", "secrets"):
        for variable in (f"django_uwsgi_{kind}", f"django_uwsgi_{what}_{kind}"):
            given = app.values.get(variable)
            told.update({f"{kind}.{key}": value for key, value in given.items()} if isinstance(given, dict) else {})
    return any(host.search(str(value)) for value in told.values())


def app_of(pool: Role, roles: t.Iterable[Role]) -> Role | None:
    project = pool.values.get("pgbouncer_project")
    mine = (role for role in roles if role.name == "django_uwsgi" and role.host == pool.host)
    return next((role for role in mine if role.values.get("django_uwsgi_project") == project), None)


def pooled(app: Role, roles: t.Iterable[Role]) -> int | None:
    """How many connections a host's pool has to the server, if it has one: to write, and to read where no replica is there."""
    for pool in roles:
        if pool.name == "pgbouncer" and pool.host == app.host and app_of(pool, [app]):
            size = str(pool.values.get("pgbouncer_pool_size", SIZE))
            return 2 * int(size) if size.isdigit() else 2 * SIZE
    return None
