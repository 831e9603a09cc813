# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is not safe while the release before serves, operation by operation, with the types of PostgreSQL. Nothing here connects to one.

The release before has two models: Song, with what `BEFORE` says, and Singer, which is not migrated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import django
import pytest
from ansible_collections.berth.django.plugins.module_utils._django_migration_safety import unsafe_operations
from ansible_collections.berth.django.plugins.module_utils._django_migration_sql import statements
from django.conf import settings

if not settings.configured:
    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "none"}},
        DATABASE_ROUTERS=[f"{__name__}.Router"],
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )
    django.setup()

from django.contrib.postgres.operations import AddConstraintNotValid, AddIndexConcurrently, TrigramExtension, ValidateConstraint
from django.db import connection, migrations, models
from django.db.migrations.state import ProjectState
from django.db.models.functions import Random

CASCADE = models.CASCADE
ELSEWHERE: set[str] = set()


class Router:
    """Models whose name is in ELSEWHERE are in another database."""

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **hints: Any) -> bool:
        return model_name not in ELSEWHERE and hints.get("where", "here") == "here"


@pytest.fixture(autouse=True)
def use_the_router(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from django.db import router

    monkeypatch.setattr(router, "routers", [Router()])
    yield
    ELSEWHERE.clear()


def song_fields() -> list[tuple[str, models.Field]]:
    return [
        ("id", models.AutoField(primary_key=True)),
        ("title", models.CharField(max_length=200)),
        ("notes", models.TextField(default="")),
        ("year", models.IntegerField(null=True)),
        ("price", models.DecimalField(max_digits=5, decimal_places=2, default=0)),
        ("label", models.CharField(max_length=20, db_column="company", default="")),
        ("album", models.ForeignKey("songs.Album", CASCADE, null=True)),
        ("maker", models.IntegerField(default=0)),
        ("tags", models.ManyToManyField("songs.Tag")),
    ]


def state_before() -> ProjectState:
    state = ProjectState()
    for operation in (
        migrations.CreateModel("Album", [("id", models.BigAutoField(primary_key=True)), ("name", models.CharField(max_length=20))]),
        migrations.CreateModel("Tag", [("id", models.BigAutoField(primary_key=True))]),
        migrations.CreateModel("Song", song_fields(), options={"unique_together": {("title", "year")}}),
        migrations.CreateModel(
            "Shelf", [("id", models.BigAutoField(primary_key=True)), ("x", models.IntegerField())], {"db_table": "Shelves"}
        ),
        migrations.CreateModel("Singer", [("id", models.BigAutoField(primary_key=True)), ("x", models.IntegerField())], {"managed": False}),
        migrations.CreateModel("Oldie", [], {"proxy": True}, bases=("songs.song",)),
        migrations.CreateModel("Player", [("id", models.BigAutoField(primary_key=True))], {"swappable": "AUTH_USER_MODEL"}),
    ):
        operation.state_forwards("songs", state)
    return state


def judge(*operations: Any, state: ProjectState | None = None) -> list[dict[str, str]]:
    migration = type("Migration", (migrations.Migration,), {"operations": list(operations)})("0002_x", "songs")
    return unsafe_operations([migration], state or state_before(), connection)


def add(name: str, field: models.Field, model: str = "song") -> Any:
    return migrations.AddField(model, name, field)


def alter(name: str, field: models.Field, model: str = "song") -> Any:
    return migrations.AlterField(model, name, field)


def separate(*database: Any, state: list[Any] | None = None) -> Any:
    return migrations.SeparateDatabaseAndState(list(database), state or [])


def code(apps: Any, editor: Any) -> None: ...


YEAR_INDEX = models.Index(fields=["year"], name="by_year")
YEAR_UNIQUE = models.UniqueConstraint(fields=["year"], name="one_a_year")
YEAR_CHECK = models.CheckConstraint(**{"condition" if django.VERSION >= (5, 1) else "check": models.Q(year__gt=0)}, name="positive")
CREATE_CHART = migrations.CreateModel("Chart", [("id", models.BigAutoField(primary_key=True)), ("x", models.IntegerField(default=0))])
DROP_YEAR = "ALTER TABLE songs_song DROP COLUMN year"

SAFE: dict[str, list[Any]] = {
    "new table": [CREATE_CHART],
    "everything on a new table": [
        CREATE_CHART,
        add("y", models.IntegerField(default=0, db_index=True), "chart"),
        alter("x", models.CharField(max_length=3, unique=True), "chart"),
        migrations.AddIndex("chart", models.Index(fields=["x"], name="by_x")),
        migrations.AddConstraint("chart", models.UniqueConstraint(fields=["x"], name="one_x")),
        migrations.AlterUniqueTogether("chart", {("x", "y")}),
        migrations.AlterOrderWithRespectTo("chart", "y"),
        migrations.RunSQL("ALTER TABLE songs_chart ALTER COLUMN y TYPE text; CREATE INDEX ON songs_chart (x)"),
        migrations.RenameField("chart", "y", "z"),
        migrations.RemoveField("chart", "z"),
        migrations.AlterModelTable("chart", "other"),
        migrations.RenameModel("Chart", "Hits"),
        migrations.DeleteModel("Hits"),
    ],
    "new column that may be NULL": [add("x", models.IntegerField(null=True))],
    "new many-to-many": [add("fans", models.ManyToManyField("songs.Album"))],
    "new foreign key without an index": [add("x", models.ForeignKey("songs.Album", CASCADE, null=True, db_index=False))],
    "new column that goes again": [
        add("x", models.IntegerField(null=True)),
        migrations.RenameField("song", "x", "y"),
        migrations.RemoveField("song", "y"),
    ],
    "may be NULL from now on": [alter("title", models.CharField(max_length=200, null=True))],
    "longer varchar": [alter("title", models.CharField(max_length=300))],
    "varchar to text": [alter("title", models.TextField())],
    "more digits": [alter("price", models.DecimalField(max_digits=9, decimal_places=2, default=0))],
    "nothing that the database sees": [
        alter("title", models.CharField("name", max_length=200, default="x", choices=[("a", "b")], help_text="h"))
    ],
    "no index any more": [alter("album", models.ForeignKey("songs.Album", CASCADE, null=True, db_index=False))],
    "field renamed, column kept": [migrations.RenameField("song", "label", "company")],
    "model renamed, table kept": [migrations.RenameModel("Shelf", "Rack")],
    "table name stated": [migrations.AlterModelTable("song", "songs_song")],
    "index, concurrently": [AddIndexConcurrently("song", YEAR_INDEX)],
    "index dropped": [AddIndexConcurrently("song", YEAR_INDEX), migrations.RemoveIndex("song", "by_year")],
    "constraint in two steps": [AddConstraintNotValid("song", YEAR_CHECK), ValidateConstraint("song", "positive")],
    "constraint dropped": [AddConstraintNotValid("song", YEAR_CHECK), migrations.RemoveConstraint("song", "positive")],
    "unique_together taken away": [migrations.AlterUniqueTogether("song", set())],
    "same unique_together": [migrations.AlterUniqueTogether("song", [("title", "year")])],
    "options": [migrations.AlterModelOptions("song", {"ordering": ["title"]})],
    "data": [migrations.RunPython(code)],
    "extension": [TrigramExtension()],
    "unmanaged": [add("y", models.IntegerField(), "singer"), migrations.RemoveField("singer", "x"), migrations.DeleteModel("Singer")],
    "proxy": [migrations.DeleteModel("Oldie")],
    "swapped": [add("x", models.IntegerField(), "player"), migrations.DeleteModel("Player")],
    "state only": [separate(state=[migrations.RemoveField("song", "year"), migrations.DeleteModel("Tag")])],
    "column that an earlier release took out of the models": [migrations.RunSQL("ALTER TABLE songs_song DROP COLUMN left_over")],
    "table that an earlier release took out of the models": [migrations.RunSQL("DROP TABLE IF EXISTS songs_left_over CASCADE")],
    "index by SQL, concurrently": [
        separate(
            migrations.RunSQL("CREATE UNIQUE INDEX CONCURRENTLY one ON songs_song (year)"),
            state=[migrations.AddConstraint("song", YEAR_UNIQUE)],
        )
    ],
    "constraint by SQL": [
        migrations.RunSQL(
            [
                "ALTER TABLE songs_song ADD CONSTRAINT c CHECK (coalesce(year, abs(length(title))) IN (1, 2)) NOT VALID",
                ("ALTER TABLE songs_song VALIDATE CONSTRAINT c", None),
                "ALTER TABLE songs_song ADD CONSTRAINT u UNIQUE USING INDEX one",
                "ALTER TABLE songs_song DROP CONSTRAINT c, ALTER COLUMN title DROP NOT NULL, ALTER COLUMN title SET DEFAULT 'a,b'",
            ]
        )
    ],
    "new columns by SQL": [
        migrations.RunSQL(
            "ALTER TABLE songs_song ADD a int, ADD COLUMN IF NOT EXISTS b numeric(5, 2) NOT NULL DEFAULT 0, ADD c int NOT NULL DEFAULT 1"
        )
    ],
    "SQL for other things": [
        migrations.RunSQL(
            "UPDATE songs_song SET title = 'DROP TABLE songs_song; x'; -- ALTER TABLE songs_song RENAME TO x\n"
            "/* ; DROP TABLE songs_song */ SELECT 1"
        )
    ],
    "no SQL": [migrations.RunSQL(migrations.RunSQL.noop)],
    "SQL for another database": [migrations.RunSQL("DROP TABLE songs_song", hints={"where": "there"})],
}

UNSAFE: dict[str, tuple[list[Any], list[tuple[str, str]]]] = {
    "drop a table": ([migrations.DeleteModel("Tag")], [("incompatible", "drops the table songs_tag")]),
    "drop a column": ([migrations.RemoveField("song", "year")], [("incompatible", "drops the column songs_song.year,")]),
    "drop a foreign key": ([migrations.RemoveField("song", "album")], [("incompatible", "drops the column songs_song.album_id,")]),
    "drop a many-to-many": ([migrations.RemoveField("song", "tags")], [("incompatible", "drops the table songs_song_tags")]),
    "rename a column": ([migrations.RenameField("song", "year", "released")], [("incompatible", "renames the column songs_song.year,")]),
    "rename a column, then drop it": (
        [migrations.RenameField("song", "year", "released"), migrations.RemoveField("song", "released")],
        [("incompatible", "renames the column songs_song.year,"), ("incompatible", "drops the column songs_song.released,")],
    ),
    "rename a many-to-many": ([migrations.RenameField("song", "tags", "marks")], [("incompatible", "renames the table songs_song_tags")]),
    "another db_column": (
        [alter("label", models.CharField(max_length=20, db_column="firm", default=""))],
        [("incompatible", "renames the column songs_song.company,")],
    ),
    "rename a model": ([migrations.RenameModel("Song", "Track")], [("incompatible", "renames the table songs_song,")]),
    "rename a model, then drop a column": (
        [migrations.RenameModel("Song", "Track"), migrations.RemoveField("track", "year")],
        [("incompatible", "renames the table songs_song,"), ("incompatible", "drops the column songs_track.year,")],
    ),
    "another table": ([migrations.AlterModelTable("song", "track")], [("incompatible", "renames the table songs_song,")]),
    "no db_table any more": ([migrations.AlterModelTable("shelf", None)], [("incompatible", "renames the table Shelves,")]),
    "new column, NOT NULL": (
        [add("x", models.BooleanField(default=False))],
        [("incompatible", "adds the column songs_song.x as NOT NULL")],
    ),
    "new foreign key": ([add("x", models.ForeignKey("songs.Album", CASCADE, null=True))], [("lock", "builds an index on songs_song ")]),
    "new column, indexed": ([add("x", models.SlugField(null=True))], [("lock", "builds an index on songs_song ")]),
    "new column, unique": ([add("x", models.SlugField(null=True, unique=True))], [("lock", "builds a unique index on songs_song ")]),
    "new column, then required": (
        [add("x", models.IntegerField(null=True)), alter("x", models.IntegerField(default=0))],
        [("incompatible", "makes songs_song.x NOT NULL")],
    ),
    "NOT NULL": ([alter("year", models.IntegerField(default=0))], [("incompatible", "makes songs_song.year NOT NULL")]),
    "shorter varchar": (
        [alter("title", models.CharField(max_length=100))],
        [("incompatible", "changes the type of songs_song.title from varchar(200) to varchar(100),")],
    ),
    "text to varchar": (
        [alter("notes", models.CharField(max_length=100, default=""))],
        [("incompatible", "changes the type of songs_song.notes from text to varchar(100),")],
    ),
    "another type": (
        [alter("year", models.CharField(max_length=4, null=True))],
        [("incompatible", "changes the type of songs_song.year from integer to varchar(4),")],
    ),
    "other decimals": (
        [alter("price", models.DecimalField(max_digits=9, decimal_places=4, default=0))],
        [("incompatible", "changes the type of songs_song.price from numeric(5, 2) to numeric(9, 4),")],
    ),
    "larger integer": (
        [alter("id", models.BigAutoField(primary_key=True))],
        [("lock", "changes the type of songs_song.id from integer to bigint,")],
    ),
    "another collation": (
        [alter("title", models.CharField(max_length=200, db_collation="C"))],
        [("incompatible", "changes the type of songs_song.title from varchar(200) to varchar(200) COLLATE C,")],
    ),
    "a check of the field's own": (
        [alter("year", models.PositiveIntegerField(null=True))],
        [("lock", "adds a constraint to songs_song that reads all rows")],
    ),
    "integer to foreign key": (
        [alter("maker", models.ForeignKey("songs.Album", CASCADE, db_column="maker", db_index=False, default=0))],
        [("lock", "changes the type of songs_song.maker from integer to bigint,"), ("lock", "adds a constraint to songs_song ")],
    ),
    "another target of a foreign key": (
        [alter("album", models.ForeignKey("songs.Tag", CASCADE, null=True))],
        [("lock", "adds a constraint to songs_song ")],
    ),
    "db_index": ([alter("year", models.IntegerField(null=True, db_index=True))], [("lock", "builds an index on songs_song ")]),
    "unique": ([alter("year", models.IntegerField(null=True, unique=True))], [("lock", "builds a unique index on songs_song ")]),
    "index": ([migrations.AddIndex("song", YEAR_INDEX)], [("lock", "builds an index on songs_song ")]),
    "unique constraint": ([migrations.AddConstraint("song", YEAR_UNIQUE)], [("lock", "builds a unique index on songs_song ")]),
    "check constraint": ([migrations.AddConstraint("song", YEAR_CHECK)], [("lock", "adds a constraint to songs_song ")]),
    "unique_together": (
        [migrations.AlterUniqueTogether("song", {("title", "year"), ("title", "label")})],
        [("lock", "builds a unique index on songs_song ")],
    ),
    "index_together": ([migrations.AlterIndexTogether("song", {("title", "label")})], [("lock", "builds an index on songs_song ")]),
    "order": (
        [migrations.AlterOrderWithRespectTo("song", "album"), migrations.AlterOrderWithRespectTo("song", None)],
        [("incompatible", "adds the column songs_song._order as NOT NULL"), ("incompatible", "drops the column songs_song._order,")],
    ),
    "below a state of its own": (
        [separate(migrations.AddIndex("song", YEAR_INDEX), migrations.RemoveField("song", "year"), state=[])],
        [("lock", "builds an index on songs_song "), ("incompatible", "drops the column songs_song.year,")],
    ),
    "a model that is taken over from another app": (
        [
            separate(state=[migrations.CreateModel("Disc", [("id", models.BigAutoField(primary_key=True))], {"db_table": "songs_song"})]),
            add("x", models.IntegerField(), "disc"),
        ],
        [("incompatible", "adds the column songs_song.x as NOT NULL")],
    ),
    "state first, column in the same plan": (
        [separate(state=[migrations.RemoveField("song", "year")]), migrations.RunSQL(DROP_YEAR)],
        [("incompatible", "drops the column songs_song.year,")],
    ),
    "SQL: drop": (
        [migrations.RunSQL('drop table if exists x, public."songs_song" cascade; ALTER TABLE ONLY songs_tag DROP IF EXISTS "id"')],
        [("incompatible", "drops the table songs_song,"), ("incompatible", "drops the column songs_tag.id,")],
    ),
    "SQL: rename": (
        [migrations.RunSQL([('ALTER TABLE "songs_song"\n  RENAME year TO y', []), "ALTER TABLE songs_song RENAME TO x"])],
        [("incompatible", "renames the column songs_song.year,"), ("incompatible", "renames the table songs_song,")],
    ),
    "SQL: types and NOT NULL": (
        [
            migrations.RunSQL(
                "alter table songs_song alter year set data type numeric(5, 2) using year::numeric, alter column year set not null"
            )
        ],
        [("incompatible", "changes the type of songs_song.year to numeric(5,"), ("incompatible", "makes songs_song.year NOT NULL")],
    ),
    "SQL: new columns": (
        [migrations.RunSQL("ALTER TABLE songs_song ADD COLUMN a int NOT NULL, ADD b text UNIQUE")],
        [("incompatible", "adds the column songs_song.a as NOT NULL"), ("lock", "builds a unique index on songs_song ")],
    ),
    "SQL: columns with another value for each row": (
        [migrations.RunSQL("ALTER TABLE songs_song ADD a bigserial NOT NULL, ADD b uuid NOT NULL DEFAULT gen_random_uuid()")],
        [
            ("lock", "adds the column with another value for each row, songs_song.a,"),
            ("lock", "adds the column with another value for each row, songs_song.b,"),
        ],
    ),
    "SQL: default": (
        [migrations.RunSQL("ALTER TABLE songs_song ALTER COLUMN year DROP DEFAULT, ALTER left_over DROP DEFAULT")],
        [("incompatible", "takes the default of songs_song.year out")],
    ),
    "SQL: empty": (
        [migrations.RunSQL('TRUNCATE left_over, ONLY "songs_song" RESTART IDENTITY CASCADE; truncate table public.songs_tag')],
        [("incompatible", "empties the table songs_song,"), ("incompatible", "empties the table songs_tag,")],
    ),
    "SQL: indexes": (
        [
            migrations.RunSQL(
                "CREATE INDEX IF NOT EXISTS i ON songs_song USING gin (title); CREATE UNIQUE INDEX u ON ONLY public.songs_song (year)"
            )
        ],
        [("lock", "builds an index on songs_song "), ("lock", "builds a unique index on songs_song ")],
    ),
    "SQL: constraints": (
        [
            migrations.RunSQL(
                "ALTER TABLE songs_song ADD CONSTRAINT c CHECK (year > 0), "
                "ADD FOREIGN KEY (maker) REFERENCES songs_album (id), ADD UNIQUE (year, title)"
            )
        ],
        [
            ("lock", "adds a constraint to songs_song "),
            ("lock", "adds a constraint to songs_song "),
            ("lock", "builds a unique index on songs_song "),
        ],
    ),
}

SAFE["new column with a default in the database"] = [add("x", models.IntegerField(db_default=0))]
SAFE["default in the database, and one in the code"] = [
    add("x", models.IntegerField(db_default=0, default=0)),
    alter("x", models.IntegerField(default=0)),
]
UNSAFE["column with another value for each row"] = (
    [add("x", models.FloatField(db_default=Random()))],
    [("lock", "adds the column with another value for each row, songs_song.x,")],
)
UNSAFE["generated column"] = (
    [add("x", models.GeneratedField(expression=models.F("year"), output_field=models.IntegerField(), db_persist=True))],
    [("lock", "adds the generated column songs_song.x,")],
)


@pytest.mark.parametrize("operations", SAFE.values(), ids=SAFE)
def test_safe(operations: list[Any]) -> None:
    assert judge(*operations) == []


@pytest.mark.parametrize(("operations", "expected"), UNSAFE.values(), ids=UNSAFE)
def test_unsafe(operations: list[Any], expected: list[tuple[str, str]]) -> None:
    found = judge(*operations)
    assert [(item["kind"], item["problem"][: len(start)]) for item, (_kind, start) in zip(found, expected)] == expected
    assert len(found) == len(expected), found
    assert all(item["migration"] == "songs.0002_x" and item["instead"] for item in found)


def test_default_that_the_release_before_relies_on() -> None:
    state = state_before()
    add("x", models.IntegerField(db_default=0)).state_forwards("songs", state)
    (found,) = judge(alter("x", models.IntegerField(default=0)), state=state)
    assert found["kind"] == "incompatible" and found["problem"].startswith("takes the default of songs_song.x out of the database")


def test_table_of_another_database() -> None:
    ELSEWHERE.add("song")
    assert judge(migrations.RemoveField("song", "year"), migrations.AddIndex("song", models.Index(fields=["title"], name="i"))) == []


def test_subclass_is_judged_like_what_it_is_derived_from() -> None:
    class AddLargeIndex(migrations.AddIndex):
        pass

    assert [found["kind"] for found in judge(AddLargeIndex("song", YEAR_INDEX))] == ["lock"]


def test_each_migration_has_its_own() -> None:
    names = ["0002_a", "0003_b", "0004_c"]
    steps: list[Any] = [migrations.RemoveField("song", "year"), migrations.RunPython(code), migrations.RemoveField("song", "notes")]
    plan = [type("Migration", (migrations.Migration,), {"operations": [step]})(name, "songs") for name, step in zip(names, steps)]
    assert [found["migration"] for found in unsafe_operations(plan, state_before(), connection)] == ["songs.0002_a", "songs.0004_c"]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("", [""]),
        ("SELECT 'it''s; -- no'; SELECT\n 2 -- don't; DROP", ["SELECT ''", "SELECT 2"]),
        (["a", ("b %s", [1])], ["a", "b %s"]),
    ],
)
def test_statements(sql: Any, expected: list[str]) -> None:
    assert statements(sql) == expected
