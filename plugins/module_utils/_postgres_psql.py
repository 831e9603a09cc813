# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Statements to a server in its container, as its superuser, through its local socket."""

from __future__ import annotations

from ansible_collections.berth.django.plugins.module_utils import _docker_argv, _postgres, _shell

TIMEOUT = 300


def psql(container: str, database: str, script: str, user: str = "postgres", sockets: str = "/var/run/postgresql") -> str:
    """What it prints: rows with | between columns. The first statement that fails is an error."""
    argv = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", sockets, "-U", user, "-d", database]
    outcome = _shell.run(_docker_argv.exec_in(container, argv, interactive=True), stdin=script, timeout=TIMEOUT)
    if outcome.rc != 0:
        raise _shell.EngineError(f"PostgreSQL in {container} refused: {_postgres.without_verifiers(outcome.text)}")
    return outcome.out
