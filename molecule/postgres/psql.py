# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database of the scenario, asked over the network as an application would, and on its host as an operator would."""

from __future__ import annotations

import functools
import shlex
import subprocess
from dataclasses import dataclass

from fleet import FLEET, HOSTS, PROJECT, Run, inspect, on, playbook, ssh

HOST = "db1"
CLIENT = "web1"
STRANGER = "builder1"
CONTAINER = f"{PROJECT}-postgres"
DIRECTORY = f"{FLEET.get('directory')}/{PROJECT}/postgres"
PASSWORD = FLEET.get("secrets", {}).get("password", "")
APP, APP_PASSWORD = f"{PROJECT}_app", FLEET.get("secrets", {}).get("app_password", "")
SUPERUSER_PASSWORD = FLEET.get("secrets", {}).get("superuser_password", "")


@dataclass(frozen=True)
class Said:
    rc: int
    text: str


def image() -> str:
    return str(inspect(HOST, CONTAINER)["Config"]["Image"])


@functools.cache
def client(host: str) -> str:
    """The image that holds psql, brought to a host with the login that the role `host` left there."""
    name = image()
    on(host, f"docker --config /etc/berth/docker pull --quiet {name}")
    return name


def connect(statement: str, host: str = CLIENT, password: str = PASSWORD, role: str = PROJECT, database: str = PROJECT) -> Said:
    """One statement over the fleet's network, from a container on `host`."""
    words = [
        "psql",
        "--host",
        HOSTS[HOST]["address"],
        "--username",
        role,
        "--dbname",
        database,
        "--no-psqlrc",
        "--no-align",
        "--tuples-only",
    ]
    inside = f"IFS= read -r PGPASSWORD; export PGPASSWORD; exec {shlex.join([*words, '--command', statement])}"
    command = ["docker", "run", "--rm", "--interactive", "--entrypoint", "sh", client(host), "-c", inside]
    outcome = subprocess.run([*ssh(host), shlex.join(command)], input=password + "\n", capture_output=True, text=True, check=False)
    return Said(outcome.returncode, (outcome.stdout + outcome.stderr).strip())


def sql(statement: str, database: str = "postgres") -> str:
    """One statement on the server's host, as the superuser."""
    words = ["docker", "exec", CONTAINER, "psql", "-XAtq", "-h", "/var/run/postgresql", "-U", "postgres", "-d", database, "-c", statement]
    return on(HOST, shlex.join(words))


def converge(*more: str, **variables: object) -> Run:
    """A run of the role, with variables of the operator on top of the inventory's."""
    return playbook(*more, name="molecule/postgres/role.yml", variables=dict(variables))


def server() -> tuple[str, int, str]:
    """Container, process and start: what stays the same when nothing was interrupted."""
    seen = inspect(HOST, CONTAINER)
    return seen["Id"], seen["State"]["Pid"], seen["State"]["StartedAt"]
