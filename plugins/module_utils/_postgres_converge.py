# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Brings role, database and extensions to what is wanted, by psql in the server's container. What to do is decided in ``_postgres.py``."""

from __future__ import annotations

import typing as t

from ansible_collections.berth.django.plugins.module_utils import _observe, _postgres, _postgres_psql, _shell

ARGUMENT_SPEC: dict[str, t.Any] = dict(
    container=dict(type="str", required=True),
    project=dict(type="str", required=True),
    role=dict(type="str", required=True),
    password=dict(type="str", required=True, no_log=True),
    change_password=dict(type="bool", default=False),
    database=dict(type="str", required=True),
    encoding=dict(type="str", default="UTF8"),
    locale=dict(type="str", default="C.UTF-8"),
    locale_provider=dict(type="str", choices=["builtin", "icu", "libc"], default="builtin"),
    extensions=dict(type="list", elements="str", default=[]),
    superuser=dict(type="str", default="postgres"),
    superuser_password=dict(type="str", no_log=True),
    replication_role=dict(type="str", default=""),
    replication_password=dict(type="str", default="", no_log=True),
    app_role=dict(type="str", default=""),
    app_password=dict(type="str", default="", no_log=True),
    socket_directory=dict(type="str", default="/var/run/postgresql"),
)
Parameters = t.Mapping[str, t.Any]


def psql(parameters: Parameters, script: str) -> str:
    return _postgres_psql.psql(parameters["container"], "postgres", script, parameters["superuser"], parameters["socket_directory"])


def ask(parameters: Parameters, wanted: _postgres.Wanted, check_mode: bool) -> _postgres.Actual:
    container = parameters["container"]
    found = _observe.inspect_one(container) if _shell.docker_present() else None
    if found and found["State"].get("Running"):
        return _postgres.answer(psql(parameters, _postgres.question(wanted)))
    if check_mode:
        return _postgres.Actual(known=False)
    state = "is not running" if found else "does not exist"
    raise _shell.EngineError(f"the container {container} {state}: converge the role postgres first.")


def converge(parameters: Parameters, check_mode: bool) -> dict[str, t.Any]:
    """The result of the task. With `check_mode`, what it would be."""
    wanted = _postgres.Wanted(
        role=parameters["role"],
        password=parameters["password"],
        database=parameters["database"],
        encoding=parameters["encoding"],
        locale=parameters["locale"],
        locale_provider=parameters["locale_provider"],
        extensions=tuple(parameters["extensions"]),
        superuser=parameters["superuser"],
        superuser_password=parameters["superuser_password"] or "",
        change_password=parameters["change_password"],
        replication_role=parameters["replication_role"] or "",
        replication_password=parameters["replication_password"] or "",
        app_role=parameters["app_role"] or "",
        app_password=parameters["app_password"] or "",
    )
    _postgres.check(wanted)
    actual = ask(parameters, wanted, check_mode)
    plan = _postgres.plan(wanted, actual)
    if plan.statements and not check_mode:
        psql(parameters, _postgres.script(plan.statements))
    return dict(
        changed=bool(plan.statements),
        diff=plan.diff,
        actions=list(plan.actions),
        unknown=[] if actual.known else list(_postgres.UNKNOWN_WITHOUT_SERVER),
    )
