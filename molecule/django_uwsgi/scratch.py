# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The project of files/scratch.yml: its source on a host, its schema in the database, and one module of the collection run on it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import typing as t
from dataclasses import dataclass
from pathlib import Path

import fleet

SERVICE = "{{ scratch_service }}"
DIRECTORY = f"{fleet.FLEET.get('directory')}/scratch"
MIGRATIONS = f"{DIRECTORY}/source/songs/migrations"
STATIC = f"{DIRECTORY}/static"
VARIABLES = Path(__file__).parent / "files" / "scratch.yml"
ADD_YEAR = "migrations.AddField('song', 'year', models.IntegerField(null=True))"
ADD_LABEL = "migrations.AddField('song', 'label', models.CharField(max_length=50, null=True))"


@dataclass(frozen=True)
class Said:
    """What one run of a module said: its result, and everything that was shown around it."""

    result: dict[str, t.Any]
    shown: str

    @property
    def failed(self) -> bool:
        return bool(self.result.get("failed"))


def module(host: str, name: str, *options: str, **arguments: t.Any) -> Said:
    """One ad-hoc run on one host; the options are those of the command `ansible`."""
    command = module_command(host, name, *options, **arguments)
    outcome = subprocess.run(
        command, cwd=fleet.ROOT, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return said(outcome.stdout + outcome.stderr)


def module_command(host: str, name: str, *options: str, **arguments: t.Any) -> list[str]:
    inventories = [f"--inventory={path}" for path in fleet.INVENTORIES]
    variables = [f"--extra-vars=@{VARIABLES}", f"--extra-vars=scratch_image={image(host)} scratch_collection={fleet.ROOT}"]
    ansible = str(Path(sys.executable).parent / "ansible")
    return [
        ansible,
        host,
        *inventories,
        *variables,
        *options,
        "--module-name",
        name if "." in name else f"berth.django.{name}",
        "--args",
        json.dumps(arguments),
    ]


def environment() -> dict[str, str]:
    return fleet.playbook_environment({"ANSIBLE_CALLBACK_RESULT_FORMAT": "json"})


def said(shown: str) -> Said:
    _before, marker, text = shown.partition(" => {")
    assert marker, f"no result in:\n{shown}"
    result, _end = json.JSONDecoder().raw_decode("{" + text)
    return Said({"failed": "| FAILED!" in shown, **result}, shown)


def image(host: str) -> str:
    return str(fleet.inspect(host, fleet.container(host, "django_uwsgi"))["Config"]["Image"])


def fresh(host: str) -> None:
    """The source as the site has it, nothing collected, nothing running."""
    name = fleet.container(host, "django_uwsgi")
    fleet.on(host, "docker ps -aq --filter label=berth.project=scratch | xargs --no-run-if-empty docker rm --force")
    fleet.on(host, f"rm -rf {DIRECTORY} && mkdir -p {DIRECTORY} && docker cp {name}:/app {DIRECTORY}/source")


def fresh_schema() -> None:
    sql("DROP SCHEMA IF EXISTS scratch CASCADE; CREATE SCHEMA scratch AUTHORIZATION " + fleet.PROJECT)


def sql(statement: str) -> str:
    """One statement on the database's host, as the superuser, in the project's database."""
    host = fleet.GROUPS["postgres"][0]
    words = ["psql", "-XAtq", "-h", "/var/run/postgresql", "-U", "postgres", "-d", fleet.PROJECT, "-c", statement]
    return fleet.on(host, f"docker exec {fleet.PROJECT}-postgres {shlex.join(words)}")


def columns() -> set[str]:
    """Of the table of songs: what the schema really is."""
    return set(
        sql("SELECT column_name FROM information_schema.columns WHERE (table_schema, table_name) = ('scratch', 'songs_song')").split()
    )


def recorded() -> set[str]:
    """The migrations of songs that the database has on record."""
    return set(sql("SELECT name FROM scratch.django_migrations WHERE app = 'songs'").split())


def migration(after: str, operation: str) -> str:
    """The text of one migration of songs; `fail` is there to be run."""
    return (
        "from django.db import migrations, models\n\n\ndef fail(apps, editor):\n    raise ValueError('no year')\n\n\n"
        f"class Migration(migrations.Migration):\n    dependencies = [('songs', '{after}')]\n    operations = [{operation}]\n"
    )


def add_migration(host: str, name: str, after: str, operation: str) -> None:
    fleet.on(host, f"printf %s {shlex.quote(migration(after, operation))} > {MIGRATIONS}/{name}.py")
