# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs inside the container, run in the sample project on SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from _paths import ROOT
from _project import DEFAULTS, Release
from ansible_collections.berth.django.plugins.module_utils import _django

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return Release(tmp_path / "music", tmp_path / "db.sqlite3")


@pytest.fixture
def project(release: Release) -> Path:
    return release.path


@pytest.fixture
def ask(release: Release) -> Ask:
    return release.ask


def names(answer: dict[str, Any]) -> list[str]:
    return [_django.migration_name(entry) for entry in answer["plan"]]


ADD_YEAR = "migrations.AddField('song', 'year', models.IntegerField(null=True))"


# --- migrate ----------------------------------------------------------------------------------------------------------------------


def test_plan_is_what_is_applied(ask: Ask) -> None:
    plan = names(ask("migrate", apply=False))
    assert "songs.0001_initial" in plan
    assert names(ask("migrate", apply=False)) == plan, "asking changed something"
    assert ask("migrate")["applied"] == plan
    assert names(ask("migrate", apply=False)) == []
    assert ask("migrate")["applied"] == []


def test_sql_of_each(ask: Ask, release: Release) -> None:
    release.add_migration("0002_year", "0001_initial", ADD_YEAR)
    release.add_migration("0003_data", "0002_year", "migrations.RunPython(fail)")
    plan = {_django.migration_name(entry): entry["sql"] for entry in ask("migrate", apply=False, sql=True)["plan"]}
    assert 'CREATE TABLE "songs_song"' in plan["songs.0001_initial"]
    assert "year" in plan["songs.0002_year"] and "year" not in plan["songs.0001_initial"]
    assert "THIS OPERATION CANNOT BE WRITTEN AS SQL" in plan["songs.0003_data"]
    assert all(sql == "" or "not known before" not in sql for sql in plan.values()), plan
    assert len(names(ask("migrate", apply=False))) == len(plan), "asking for SQL changed something"


def test_failing_migration_tells_what_was_kept(ask: Ask, release: Release) -> None:
    ask("migrate")
    release.add_migration("0002_year", "0001_initial", ADD_YEAR)
    release.add_migration("0003_data", "0002_year", "migrations.RunPython(fail)")
    answer = ask("migrate")
    assert answer["applied"] == ["songs.0002_year"]
    assert answer["error"].startswith("the migration songs.0003_data failed: ValueError: no year\n(raised in ")
    assert "songs/migrations/0003_data.py, line 5: raise ValueError('no year'))" in answer["error"]


def test_backwards_and_fake(ask: Ask, project: Path) -> None:
    ask("migrate")
    plan = ask("migrate", apply=False, sql=True, app="songs", migration="zero")["plan"]
    assert [(entry["name"], entry["backwards"]) for entry in plan] == [("0001_initial", True)]
    assert 'DROP TABLE "songs_song"' in plan[0]["sql"]
    assert ask("migrate", app="songs", migration="zero", fake=True)["unapplied"] == ["songs.0001_initial"]
    assert ask("migrate", app="songs", migration="0001", fake=True)["applied"] == ["songs.0001_initial"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"app": "song"}, "the project has no app 'song' with migrations, but admin"),
        ({"app": "songs", "migration": "0009"}, "songs has no migration that begins with '0009'"),
        ({"app": "auth", "migration": "00"}, "several migrations of auth begin with '00'"),
        ({"database": "replica"}, "the project has no database 'replica', but default"),
        ({"environment": {"DATABASE_URL": "sqlite:////no/such/directory/db"}}, "the database 'default' does not answer: unable to open"),
        (
            {"environment": {"HTTPS": "false"}, "check_deploy": "WARNING"},
            "manage.py check --deploy --fail-level WARNING finds security.W004, ",
        ),
    ],
)
@pytest.mark.parametrize("apply", [True, False])
def test_refused(ask: Ask, options: dict[str, Any], error: str, apply: bool) -> None:
    assert ask("migrate", apply=apply, **options)["error"].startswith(error)


@pytest.mark.parametrize("apply", [True, False])
def test_a_package_of_migrations_with_none_in_it(ask: Ask, project: Path, apply: bool) -> None:
    """Django says nothing about it, and the first page that needs the table fails."""
    (project / "songs" / "migrations" / "0001_initial.py").unlink()
    error = ask("migrate", apply=apply)["error"]
    assert error.startswith("the package of migrations of songs is empty, so that nothing makes its tables (songs_song"), error
    assert "MIGRATION_MODULES = {'songs': None} in a file of django_uwsgi_settings_files" in error
    (project / "site_settings" / "overlay.py").write_text("from site_settings.settings import *\nMIGRATION_MODULES = {'songs': None}\n")
    environment = {"HTTPS": "true", "ALLOWED_HOSTS": "example.com", "DJANGO_SETTINGS_MODULE": "site_settings.overlay"}
    assert "error" not in ask("migrate", apply=apply, environment=environment)


def test_conflict(ask: Ask, release: Release) -> None:
    for name in ("0002_one", "0002_two"):
        release.add_migration(name, "0001_initial", "")
    assert ask("migrate")["error"].startswith("conflicting migrations: 0002_")


PLAIN_HTTP = ["security.W004", "security.W008", "security.W012", "security.W016"]


def test_deploy_checks_pass_for_the_sample(ask: Ask) -> None:
    assert "error" not in ask("migrate", apply=False, check_deploy="WARNING")


def test_deploy_checks_pass_for_the_lab() -> None:
    """What the lab's inventory silences is exactly what the sample fails over plain HTTP."""
    project = yaml.safe_load((ROOT / "inventories/lab/group_vars/all/project.yml").read_text())
    assert project["django_uwsgi_silenced_checks"] == PLAIN_HTTP


def test_silenced_checks(ask: Ask, project: Path) -> None:
    http = {"environment": {"HTTPS": "false", "ALLOWED_HOSTS": "example.com"}, "check_deploy": "WARNING", "apply": False}
    assert "error" not in ask("migrate", silenced_checks=PLAIN_HTTP, **http)
    error = ask("migrate", silenced_checks=PLAIN_HTTP[:2], **http)["error"]
    assert error.startswith(
        "manage.py check --deploy --fail-level WARNING finds security.W012, security.W016:\n?: (security.W012) SESSION_"
    )
    assert error.endswith(
        "\nCorrect the settings, or silence what does not apply here: django_uwsgi_silenced_checks: [security.W012, security.W016]"
    )
    with (project / "site_settings" / "settings.py").open("a") as file:
        file.write("\nSILENCED_SYSTEM_CHECKS = ['security.W012']\n")
    assert "finds security.W016:" in ask("migrate", silenced_checks=PLAIN_HTTP[:2], **http)["error"]


# --- migrations that are not safe -------------------------------------------------------------------------------------------------

ADD_RATING = "migrations.AddField('song', 'rating', models.IntegerField(default=0))"
REQUIRED = (
    "adds the column songs_song.rating as NOT NULL without a default in the database, so the release before cannot insert rows: "
    "give it a db_default (Django 5.0 or later), or null=True"
)


def test_unsafe_is_refused_and_nothing_is_applied(ask: Ask, release: Release) -> None:
    ask("migrate")
    release.add_migration("0002_year", "0001_initial", ADD_YEAR)
    release.add_migration("0003_rating", "0002_year", ADD_RATING)
    release.add_migration("0004_index", "0003_rating", "migrations.AddIndex('song', models.Index(fields=['year'], name='by_year'))")
    plan = ask("migrate", apply=False)["plan"]
    assert [[found["kind"] for found in entry["unsafe"]] for entry in plan] == [[], ["incompatible"], ["lock"]]
    answer = ask("migrate")
    assert answer["error"].splitlines() == [
        "not safe while the release before still serves, so nothing was applied:",
        f"songs.0003_rating: {REQUIRED}",
        "songs.0004_index: builds an index on songs_song without CONCURRENTLY, so nobody can write to the table meanwhile: "
        "use AddIndexConcurrently in a migration with atomic = False, and db_index=False for a field",
        "To apply it all the same, give -e allow_unsafe_migrations=true.",
    ]
    assert [found["migration"] for found in answer["unsafe"]] == ["songs.0003_rating", "songs.0004_index"]
    assert names(ask("migrate", apply=False)) == ["songs.0002_year", "songs.0003_rating", "songs.0004_index"], "something was applied"
    assert ask("migrate", app="songs", migration="0002")["applied"] == ["songs.0002_year"], "what is safe in front of it can go"
    allowed = ask("migrate", allow_unsafe=True)
    assert allowed["applied"] == ["songs.0003_rating", "songs.0004_index"] and len(allowed["unsafe"]) == 2


def test_unsafe_is_not_asked_of_what_touches_nothing(ask: Ask, release: Release) -> None:
    release.add_migration("0002_rating", "0001_initial", ADD_RATING)
    assert ask("migrate")["unsafe"] == [], "the plan makes the table, so nobody uses it yet"
    assert ask("migrate", app="songs", migration="0001")["unapplied"] == ["songs.0002_rating"]
    assert ask("migrate", fake=True)["applied"] == ["songs.0002_rating"]


def test_what_the_project_prints_is_kept_apart(ask: Ask, project: Path) -> None:
    with (project / "songs" / "models.py").open("a") as file:
        file.write("\nprint('models are loaded')\n")
    assert "songs.0001_initial" in names(ask("migrate", apply=False))


# --- superuser --------------------------------------------------------------------------------------------------------------------


def test_superuser(ask: Ask) -> None:
    assert ask("superuser")["no_table"]
    ask("migrate")
    expected = {"created": True, "updated": [], "printed": ""}
    assert ask("superuser", apply=False) == expected
    assert ask("superuser", apply=False) == expected, "asking created it"
    assert ask("superuser") == expected
    assert ask("superuser") == {"created": False, "updated": [], "printed": ""}


def test_superuser_is_updated(ask: Ask) -> None:
    ask("migrate")
    ask("superuser")
    changed = {"password": "another-horse", "email": "b@example.com", "fields": {"first_name": "Bo"}}
    assert ask("superuser", apply=False, **changed)["updated"] == ["email", "first_name", "password"]
    assert ask("superuser", **changed)["updated"] == ["email", "first_name", "password"]
    assert ask("superuser", **changed)["updated"] == []
    assert ask("superuser", **changed | {"email": ""})["updated"] == [], "what is not given is left alone"
    assert ask("superuser", **changed | {"password": "third-horse"}, update_password=False)["updated"] == []
    assert ask("superuser", **changed, update_password=True)["updated"] == []


def test_superuser_with_a_field_that_does_not_exist(ask: Ask) -> None:
    ask("migrate")
    assert ask("superuser", fields={"nick": "b"})["error"] == "the user model has no field 'nick'"


# --- drift ------------------------------------------------------------------------------------------------------------------------

BOSS = {**DEFAULTS["superuser"], "apply": False}


def test_drift_is_what_the_other_requests_would_do(ask: Ask) -> None:
    (reason,) = ask("drift", superuser=BOSS)["reasons"]
    assert reason.startswith("migrations are not applied: ") and "songs.0001_initial" in reason
    ask("migrate")
    assert ask("drift", superuser=BOSS)["reasons"] == ["the superuser does not exist"]
    assert ask("drift", superuser=BOSS)["reasons"] == ["the superuser does not exist"], "asking created it"
    ask("superuser")
    assert ask("drift", superuser=BOSS) == {"reasons": [], "warnings": [], "printed": ""}
    assert ask("drift", superuser={**BOSS, "password": "another-horse"})["reasons"] == ["the superuser differs: password"]


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DELETE FROM auth_permission WHERE codename = 'view_song'", "songs.Song lacks view_song"),
        (
            "DELETE FROM auth_permission WHERE codename LIKE '%_song'; DELETE FROM django_content_type WHERE model = 'song'",
            "songs.Song has no content type",
        ),
    ],
)
def test_what_follows_migrations_is_missed_and_brought_back(ask: Ask, release: Release, statement: str, reason: str) -> None:
    """As after a run that was killed between the last migration and what Django does then."""
    ask("migrate")
    with sqlite3.connect(release.database) as connection:
        connection.executescript(statement)
    assert ask("drift")["reasons"] == [f"what follows migrations is missing: {reason}"]
    ask("migrate")
    assert ask("drift")["reasons"] == []


def test_models_that_no_migration_knows_are_warned_about(ask: Ask, release: Release) -> None:
    ask("migrate")
    models = release.path / "songs" / "models.py"
    models.write_text(models.read_text().replace("    play_count =", "    year = models.IntegerField(null=True)\n    play_count ="))
    answer = ask("drift")
    assert answer["reasons"] == [] and "makemigrations" in answer["warnings"][0]


MEMBERS = {
    "__init__.py": "",
    "models.py": """
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models


class Members(BaseUserManager):
    def create_superuser(self, email, password, **fields):
        member = self.model(email=email.lower(), is_staff=True, is_superuser=True, **fields)
        member.set_password(password)
        member.save(using=self._db)
        return member


class Member(AbstractBaseUser, PermissionsMixin):
    email = models.EmailField(unique=True)
    full_name = models.CharField(max_length=200)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)

    objects = Members()
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = ["full_name"]
""",
    "migrations/__init__.py": "",
    "migrations/0001_initial.py": """
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = [("auth", "0012_alter_user_first_name_max_length")]
    operations = [
        migrations.CreateModel(
            "Member",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("password", models.CharField(max_length=128)),
                ("last_login", models.DateTimeField(blank=True, null=True)),
                ("is_superuser", models.BooleanField(default=False)),
                ("email", models.EmailField(unique=True)),
                ("full_name", models.CharField(max_length=200)),
                ("is_active", models.BooleanField(default=True)),
                ("is_staff", models.BooleanField(default=False)),
                ("groups", models.ManyToManyField(to="auth.group")),
                ("user_permissions", models.ManyToManyField(to="auth.permission")),
            ],
        )
    ]
""",
}


def test_superuser_whose_name_is_an_address(ask: Ask, project: Path) -> None:
    (project / "members" / "migrations").mkdir(parents=True)
    for name, text in MEMBERS.items():
        (project / "members" / name).write_text(text)
    with (project / "site_settings" / "settings.py").open("a") as file:
        file.write("\nINSTALLED_APPS += ['members']\nAUTH_USER_MODEL = 'members.Member'\n")
    ask("migrate")
    boss = {"username": "Boss@Example.com", "email": ""}
    assert ask("superuser", **boss)["error"] == "the user model requires full_name: give it in fields"
    boss |= {"fields": {"full_name": "The Boss"}}
    assert ask("superuser", **boss)["created"]
    assert ask("superuser", **boss) == {"created": False, "updated": [], "printed": ""}, "its manager writes it in lower case"
    assert ask("superuser", **boss | {"email": "boss@example.com"})["updated"] == []
    assert "leave email out" in ask("superuser", **boss | {"email": "other@example.com"})["error"]
