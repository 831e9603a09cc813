# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an older release can run on the schema as it is: two releases of the sample project on one database."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from _paths import ROOT
from _project import PYTHON, Release
from ansible_collections.berth.django.plugins.module_utils import _django, _manage
from ansible_collections.berth.django.plugins.modules import django_schema_check

YEAR = "migrations.AddField('song', 'year', models.IntegerField(null=True))"
NO_ARTIST = "migrations.RemoveField('song', 'artist')"
INDEX = "migrations.AddIndex('song', models.Index(fields=['artist'], name='by_artist'))"


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Release:
    folder = tmp_path_factory.mktemp("migrated")
    release = Release(folder / "music", folder / "db.sqlite3")
    release.ask("migrate")
    return release


@pytest.fixture
def old(migrated: Release, tmp_path: Path) -> Release:
    shutil.copy(migrated.database, tmp_path / "db.sqlite3")
    return Release(tmp_path / "old", tmp_path / "db.sqlite3")


@pytest.fixture
def new(old: Release, tmp_path: Path) -> Release:
    """The release after it, which has the same migrations as yet."""
    shutil.copytree(old.path, tmp_path / "new")
    return Release(tmp_path / "new", old.database)


def migrate(release: Release, *migrations: tuple[str, str, str]) -> None:
    for name, after, operations in migrations:
        release.add_migration(name, after, operations)
    assert "error" not in release.ask("migrate", allow_unsafe=True)


def problem(old: Release, new: Release) -> str:
    """What the module says."""
    found = old.ask("compare")
    answer = new.ask("cannot_run", unknown=found["unknown"])
    return _django.schema_problem("music:1", "serving-1", found["missing"], answer)


def test_same_schema(old: Release) -> None:
    found = old.ask("compare")
    assert (found["unknown"], found["missing"]) == ([], [])


def short_answer(release: Release) -> tuple[int, list[str]]:
    """Of berth-schema, which is asked before the module is."""
    program = ROOT / "roles" / "django_uwsgi" / "files" / "berth-schema"
    settings = {"DJANGO_SETTINGS_MODULE": "site_settings.settings", "PYTHONPATH": str(release.path)}
    outcome = release.run([PYTHON, str(program)], settings)
    return outcome.returncode, (outcome.stdout or outcome.stderr).splitlines()


def test_the_short_answer_says_yes_only_to_the_very_same_migrations(old: Release, new: Release) -> None:
    assert short_answer(old) == (0, [])
    migrate(new, ("0002_year", "0001_initial", YEAR))
    assert short_answer(new) == (0, [])
    assert short_answer(old) == (1, ["songs.0002_year is applied, which this release does not know"])
    new.add_migration("0003_index", "0002_year", INDEX)
    assert short_answer(new) == (1, ["songs.0003_index is not applied, which this release needs"])
    old.database.unlink()
    old.database.mkdir()
    assert short_answer(old)[0] == 1, "a database that does not answer"


def test_what_came_later_is_in_nobodys_way(old: Release, new: Release) -> None:
    migrate(new, ("0002_year", "0001_initial", YEAR), ("0003_index", "0002_year", INDEX))
    assert old.ask("compare")["unknown"] == [["songs", "0002_year"], ["songs", "0003_index"]]
    assert problem(old, new) == "", "an index that was built under a lock hurts nobody afterwards"


def test_what_is_gone_is(old: Release, new: Release) -> None:
    migrate(new, ("0002_year", "0001_initial", YEAR), ("0003_artist", "0002_year", NO_ARTIST), ("0004_more", "0003_artist", ""))
    assert problem(old, new).splitlines() == [
        "music:1 cannot run on the schema as it is:",
        "- songs.0003_artist drops the column songs_song.artist, which the release before still uses",
        "To go on:",
        "- run django_migrate in the release that serves, which undoes what came later: container serving-1, app songs, "
        "migration '0002_year'",
        "- roll forward: correct what serves, and deploy it",
    ]
    assert new.ask("migrate", app="songs", migration="0002_year")["unapplied"] == ["songs.0004_more", "songs.0003_artist"]
    assert problem(old, new) == "", "the way that was named is one"


def test_what_a_release_that_was_gone_back_to_uses_is_not_taken_from_it(old: Release, new: Release) -> None:
    """The newer one, which did not use the column any more, was rolled back: the next one must not drop it yet."""
    state = "migrations.SeparateDatabaseAndState(state_operations=[migrations.RemoveField('song', 'artist')])"
    migrate(new, ("0002_out_of_the_models", "0001_initial", state))
    assert problem(old, new) == ""
    new.add_migration("0003_drop", "0002_out_of_the_models", "migrations.RunSQL('ALTER TABLE songs_song DROP COLUMN artist')")
    assert new.ask("migrate", apply=False, known="ask") == {"error": "", "asks": True, "printed": ""}
    known = old.ask("known")["known"]
    assert ["songs", "0001_initial"] in known and ["songs", "0002_out_of_the_models"] not in known
    refused = new.ask("migrate", known=known)
    assert [found["migration"] for found in refused["unsafe"]] == ["songs.0003_drop"], refused
    assert new.ask("migrate", known=new.ask("known")["known"])["applied"] == ["songs.0003_drop"], "the release that lost it serves"
    assert new.ask("migrate", known="ask")["applied"] == [], "nobody is asked where nothing depends on it"


def test_first_migration_of_an_app_is_undone_with_zero() -> None:
    from ansible_collections.berth.django.plugins.module_utils._django_schema import back_to

    class Migration:
        app_label, dependencies = "shelves", [("songs", "0001_initial")]

    assert back_to([Migration()]) == {"shelves": "zero"}


def test_without_a_release_that_serves(old: Release, new: Release) -> None:
    migrate(new, ("0002_year", "0001_initial", YEAR))
    found = old.ask("compare")
    answer = {"incompatible": [], "strange": [".".join(key) for key in found["unknown"]], "back_to": {}}
    said = _django.schema_problem("music:1", None, found["missing"], answer)
    assert "- songs.0002_year is applied, which it does not know, and no container of a release that serves was named\n" in said


def test_what_neither_release_has(old: Release, new: Release) -> None:
    migrate(new, ("0002_year", "0001_initial", YEAR))
    (new.path / "songs" / "migrations" / "0002_year.py").unlink()
    assert "- songs.0002_year is applied, which it does not know, and the release that serves does not have it either" in problem(old, new)


def test_what_it_needs_and_does_not_find(old: Release, new: Release) -> None:
    old.ask("migrate", app="songs", migration="zero")
    said = problem(old, new)
    assert "- songs.0001_initial is not applied, which it needs\n" in said
    assert "- run django_migrate with music:1, which applies what it needs\n" in said


def test_rows_of_an_app_that_was_taken_out_long_ago(old: Release) -> None:
    """They stay in the table for ever, and are older than the last migration that the release knows."""
    with sqlite3.connect(old.database) as database:
        database.execute("UPDATE django_migrations SET id = id + 100")
        database.execute("INSERT INTO django_migrations VALUES (1, 'gone', '0001_initial', '2020-01-01')")
    assert old.ask("compare")["unknown"] == []


def test_app_that_it_does_not_have(old: Release, new: Release) -> None:
    app = new.path / "shelves"
    (app / "migrations").mkdir(parents=True)
    for path in (app / "__init__.py", app / "migrations" / "__init__.py"):
        path.touch()
    (app / "migrations" / "0001_initial.py").write_text(
        "from django.db import migrations, models\n\n\nclass Migration(migrations.Migration):\n    initial = True\n"
        "    dependencies = [('songs', '0001_initial')]\n"
        "    operations = [migrations.CreateModel('Shelf', [('id', models.BigAutoField(primary_key=True)),"
        " ('song', models.ForeignKey('songs.Song', models.CASCADE))])]\n"
    )
    settings = new.path / "site_settings" / "settings.py"
    settings.write_text(settings.read_text() + "\nINSTALLED_APPS.append('shelves')\n")
    assert new.ask("migrate")["applied"] == ["shelves.0001_initial"]
    assert old.ask("compare")["unknown"] == [["shelves", "0001_initial"]]
    assert problem(old, new) == ""


def squash(release: Release, name: str, replaces: list[str], operations: str) -> None:
    release.add_migration(name, "0001_initial", operations)
    path = release.path / "songs" / "migrations" / f"{name}.py"
    path.write_text(f"{path.read_text()}    replaces = {[('songs', item) for item in replaces]}\n")


def test_squashed_in_the_older_release(old: Release, new: Release) -> None:
    """It has the whole in one, the database the parts."""
    migrate(new, ("0002_year", "0001_initial", YEAR), ("0003_index", "0002_year", INDEX))
    squash(old, "0002_squashed", ["0002_year", "0003_index"], f"{YEAR}, {INDEX}")
    found = old.ask("compare")
    assert (found["unknown"], found["missing"]) == ([], [])


@pytest.mark.parametrize("parts_are_kept", [True, False])
def test_squashed_in_the_release_that_serves(old: Release, new: Release, parts_are_kept: bool) -> None:
    """The older release has the first part; the second, which it does not know, drops what it uses."""
    migrate(old, ("0002_year", "0001_initial", YEAR))
    for name, after, operations in (("0002_year", "0001_initial", YEAR), ("0003_artist", "0002_year", NO_ARTIST)):
        new.add_migration(name, after, operations)
    squash(new, "0002_squashed", ["0002_year", "0003_artist"], f"{YEAR}, {NO_ARTIST}")
    migrate(new)
    assert sorted(old.ask("compare")["unknown"]) == [["songs", "0002_squashed"], ["songs", "0003_artist"]]
    if parts_are_kept:
        assert "- songs.0003_artist drops the column songs_song.artist" in problem(old, new)
    else:
        for name in ("0002_year", "0003_artist"):
            os.remove(new.path / "songs" / "migrations" / f"{name}.py")
        assert "songs.0003_artist is applied, which it does not know, and the release that serves does not have it" in problem(old, new)


def test_squashed_and_nothing_else(old: Release, new: Release) -> None:
    migrate(old, ("0002_year", "0001_initial", YEAR))
    new.add_migration("0002_year", "0001_initial", YEAR)
    squash(new, "0002_squashed", ["0002_year"], YEAR)
    migrate(new)
    assert old.ask("compare")["unknown"] == [["songs", "0002_squashed"]]
    assert problem(old, new) == ""


@pytest.mark.parametrize("do", ["compare", "cannot_run"])
def test_no_database(old: Release, do: str) -> None:
    more: dict[str, Any] = {"unknown": []} if do == "cannot_run" else {}
    assert old.ask(do, environment={"DATABASE_URL": "sqlite:////no/such/directory/db"}, **more)["unreachable"]
    assert old.ask(do, database="replica", **more)["error"].startswith("the project has no database 'replica'")


class Module:
    """What django_schema_check uses of an AnsibleModule."""

    def __init__(self, serving: str | None) -> None:
        self.params = {"serving": serving, "serving_image": None, "database": "default", "entrypoint": None}


class Asked:
    """A project in a container, played by a release of the sample."""

    service, container, check_mode = None, "old-1", False

    def __init__(self, release: Release) -> None:
        self.release = release

    def ask(self, request: dict[str, Any], label: str) -> dict[str, Any]:
        return self.release.ask(**request)


def test_module(old: Release, new: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    containers: list[str] = []
    monkeypatch.setattr(_manage, "another", lambda _project, name, _given: containers.append(name) or Asked(new))
    migrate(new, ("0002_year", "0001_initial", YEAR))
    nothing: dict[str, Any] = {"changed": False, "missing_migrations": [], "incompatible": [], "back_to": {}, "unknown": []}
    assert django_schema_check.check(Module("new-1"), Asked(old)) == {**nothing, "unknown_migrations": ["songs.0002_year"]}
    migrate(new, ("0003_artist", "0002_year", NO_ARTIST))
    with pytest.raises(_manage.CommandFailed) as refused:
        django_schema_check.check(Module("new-1"), Asked(old))
    assert str(refused.value).startswith("old-1 cannot run on the schema as it is:\n- songs.0003_artist drops the column songs_song.artist")
    assert refused.value.result["unknown_migrations"] == ["songs.0002_year", "songs.0003_artist"]
    assert refused.value.result["back_to"] == {"songs": "0002_year"} and refused.value.result["changed"] is False
    assert containers == ["new-1", "new-1"]
    with pytest.raises(_manage.CommandFailed, match=r"songs\.0002_year is applied, which it does not know, and no container"):
        django_schema_check.check(Module(None), Asked(old))
