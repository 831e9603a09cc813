# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Which operations of migrations are not safe while the release before still serves. Runs inside the container, like _django_inside.py.

What the release before uses is the state of the models before the plan. A table or a column that is not in it is nobody's yet (this
plan makes it), or nobody's any more (an earlier release took it out of the models), and may be changed at will.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.berth.django.plugins.module_utils._django_migration_problems import (
    INCOMPATIBLE,
    LOCK,
    Problem,
    adds_required,
    builds_index,
    builds_unique_index,
    changes_type,
    drops_column,
    drops_default,
    drops_table,
    renames_column,
    renames_table,
    requires,
    rewrites,
    validates,
)
from ansible_collections.berth.django.plugins.module_utils._django_migration_sql import judge_sql


@dataclasses.dataclass(frozen=True)
class Step:
    """One operation, and what it works on."""

    operation: t.Any
    app: str
    # The models before the operation.
    state: t.Any
    # Table -> columns that the release before uses, in lower case.
    used: dict[str, set[str]]
    connection: t.Any

    def model(self, name: str) -> t.Any:
        return self.state.models[self.app, name.lower()]

    def used_table(self, name: str) -> str:
        """The model's table, when the release before uses it and migrations touch it; an empty string otherwise."""
        model = self.model(name)
        return table_of(model) if is_migrated(model, self.connection) and table_of(model).lower() in self.used else ""

    def uses(self, table: str, column: str) -> bool:
        return column.lower() in self.used.get(table.lower(), ())

    def rename_table(self, old: str, new: str) -> None:
        self.used[new.lower()] = self.used.pop(old.lower(), set())

    def rename_column(self, table: str, old: str, new: str) -> None:
        self.used[table.lower()] = self.used[table.lower()] - {old.lower()} | {new.lower()}


Rule = t.Callable[[Step], t.Iterator[Problem]]


def unsafe_operations(plan: t.Iterable[t.Any], state: t.Any, connection: t.Any, serving: t.Any = None) -> list[dict[str, str]]:
    """What is not safe in these forward migrations.

    `state` is that of the models before the first one, and is carried along; `serving` is that of the release before, where it differs.
    """
    used = used_tables(serving or state)
    return [
        {"migration": f"{migration.app_label}.{migration.name}", **dataclasses.asdict(found)}
        for migration in plan
        for found in judge(migration.operations, migration.app_label, state, used, connection)
    ]


def judge(operations: t.Iterable[t.Any], app: str, state: t.Any, used: dict[str, set[str]], connection: t.Any) -> t.Iterator[Problem]:
    for operation in operations:
        # By name: to import the classes of PostgreSQL needs its driver. A subclass is judged like what it is derived from.
        rule = next((RULES[kind.__name__] for kind in type(operation).__mro__ if kind.__name__ in RULES), None)
        if rule:
            yield from rule(Step(operation, app, state, used, connection))
        operation.state_forwards(app, state)


# --- models and their tables ------------------------------------------------------------------------------------------------------


def table_of(model: t.Any) -> str:
    return model.options.get("db_table") or f"{model.app_label}_{model.name.lower()}"


def join_table_of(model: t.Any, name: str, field: t.Any) -> str:
    """The table that Django makes for a many-to-many field; an empty string when the project has a model for it."""
    return (field.db_table or f"{table_of(model)}_{name}") if field.many_to_many and field.remote_field.through is None else ""


def column_of(name: str, field: t.Any) -> str:
    if field.many_to_many:
        return ""
    return field.db_column or (f"{name}_id" if field.many_to_one or field.one_to_one else name)


def used_tables(state: t.Any) -> dict[str, set[str]]:
    used: dict[str, set[str]] = {}
    for model in state.models.values():
        if model.options.get("proxy"):
            continue
        columns = {column_of(name, field).lower() for name, field in model.fields.items()} - {""}
        used.setdefault(table_of(model).lower(), set()).update(columns)
        used.update({table.lower(): set() for name, field in model.fields.items() if (table := join_table_of(model, name, field))})
    return used


def is_migrated(model: t.Any, connection: t.Any) -> bool:
    """Whether migrations of this database touch the model's table at all."""
    from django.conf import settings
    from django.db import router

    options, label = model.options, f"{model.app_label}.{model.name}"
    swappable = options.get("swappable")
    if options.get("proxy") or not options.get("managed", True) or (swappable and getattr(settings, swappable).lower() != label.lower()):
        return False
    return router.allow_migrate(connection.alias, model.app_label, model_name=model.name.lower())


# --- operations of Django ---------------------------------------------------------------------------------------------------------


def delete_model(step: Step) -> t.Iterator[Problem]:
    if table := step.used_table(step.operation.name):
        yield drops_table(table)


def rename_model(step: Step) -> t.Iterator[Problem]:
    """With a db_table of its own the table stays as it is."""
    old, new = step.operation.old_name, step.operation.new_name
    table = step.used_table(old)
    if table and not step.model(old).options.get("db_table"):
        yield renames_table(table)
        step.rename_table(table, f"{step.app}_{new.lower()}")


def alter_model_table(step: Step) -> t.Iterator[Problem]:
    table = step.used_table(step.operation.name)
    new = step.operation.table or f"{step.app}_{step.operation.name.lower()}"
    if table and table != new:
        yield renames_table(table)
        step.rename_table(table, new)


def add_field(step: Step) -> t.Iterator[Problem]:
    table, field = step.used_table(step.operation.model_name), step.operation.field
    column = column_of(step.operation.name, field)
    if not table or not column:
        return
    if getattr(field, "generated", False):
        if field.db_persist:
            yield rewrites(table, column)
    elif has_db_default(field):
        if differs_by_row(field.db_default):
            yield rewrites(table, column, "column with another value for each row,")
    elif not field.null:
        yield adds_required(table, column)
    yield from indexes(table, field)


def indexes(table: str, field: t.Any) -> t.Iterator[Problem]:
    if field.unique:
        yield builds_unique_index(table)
    elif field.db_index:
        yield builds_index(table)


def has_db_default(field: t.Any) -> bool:
    """Django 4.2 has none."""
    from django.db.models import NOT_PROVIDED

    return getattr(field, "db_default", NOT_PROVIDED) is not NOT_PROVIDED


def differs_by_row(default: t.Any) -> bool:
    """Whether an expression has another value for each row. By name, as these come with versions of Django and with PostgreSQL."""
    parts = default.flatten() if hasattr(default, "flatten") else ()
    return any(type(part).__name__ in ("Random", "RandomUUID", "UUID4", "UUID7") for part in parts)


def remove_field(step: Step) -> t.Iterator[Problem]:
    name, table = step.operation.name, step.used_table(step.operation.model_name)
    if not table:
        return
    model = step.model(step.operation.model_name)
    field = model.fields[name]
    column, join_table = column_of(name, field), join_table_of(model, name, field)
    if join_table.lower() in step.used:
        yield drops_table(join_table)
    elif step.uses(table, column):
        yield drops_column(table, column)


def rename_field(step: Step) -> t.Iterator[Problem]:
    old, new, table = step.operation.old_name, step.operation.new_name, step.used_table(step.operation.model_name)
    if not table:
        return
    model = step.model(step.operation.model_name)
    field = model.fields[old]
    yield from renamed(
        step,
        table,
        (column_of(old, field), column_of(new, field)),
        (join_table_of(model, old, field), join_table_of(model, new, field)),
    )


def renamed(step: Step, table: str, columns: tuple[str, str], join_tables: tuple[str, str]) -> t.Iterator[Problem]:
    if columns[0] != columns[1] and step.uses(table, columns[0]):
        yield renames_column(table, columns[0])
        step.rename_column(table, *columns)
    if join_tables[0] != join_tables[1] and join_tables[0].lower() in step.used:
        yield renames_table(join_tables[0])
        step.rename_table(*join_tables)


def alter_field(step: Step) -> t.Iterator[Problem]:
    operation, table = step.operation, step.used_table(step.operation.model_name)
    if not table:
        return
    # The type of a foreign key is known only where the models stand together.
    before = step.state.clone()
    after = before.clone()
    operation.state_forwards(step.app, after)
    old, new = (state.apps.get_model(step.app, operation.model_name)._meta.get_field(operation.name) for state in (before, after))
    join_tables = tuple(field.m2m_db_table() if field.many_to_many else "" for field in (old, new))
    yield from renamed(step, table, (old.column or "", new.column or ""), t.cast("tuple[str, str]", join_tables))
    if not (old.column and new.column):
        return
    yield from altered_type(step, table, old, new)
    # A column that this plan adds is not written by the release before at all, which is worse.
    if old.null and not new.null:
        yield requires(table, new.column)
    elif not new.null and has_db_default(old) and not has_db_default(new) and not old.has_default() and step.uses(table, new.column):
        yield drops_default(table, new.column)
    if new.unique and not old.unique:
        yield builds_unique_index(table)
    elif new.db_index and not (old.db_index or old.unique):
        yield builds_index(table)
    if refers_to(new) not in (None, refers_to(old)):
        yield validates(table)


def refers_to(field: t.Any) -> str | None:
    """The table that the column has a foreign key to."""
    return field.remote_field.model._meta.db_table if field.remote_field and getattr(field, "db_constraint", False) else None


def altered_type(step: Step, table: str, old: t.Any, new: t.Any) -> t.Iterator[Problem]:
    was, becomes = (field.db_parameters(connection=step.connection) for field in (old, new))
    words = [values["type"] + (f" COLLATE {values['collation']}" if values.get("collation") else "") for values in (was, becomes)]
    if words[0] != words[1] and not stays_in_place(*words):
        kind = INCOMPATIBLE if (words[0], words[1]) not in WIDER else LOCK
        yield changes_type(table, new.column, f" from {words[0]} to {words[1]}", kind)
    if becomes["check"] and becomes["check"] != was["check"]:
        yield validates(table)


# The release before can go on with these, once the table is rewritten.
WIDER = {("smallint", "integer"), ("smallint", "bigint"), ("integer", "bigint")}


def stays_in_place(old: str, new: str) -> bool:
    """Whether PostgreSQL neither rewrites nor reads the rows: a limit that is raised or taken away."""
    limits = [re.fullmatch(r"varchar(?:\((\d+)\))?|(text)", words) for words in (old, new)]
    if limits[0] and limits[1]:
        before, after = (int(limit[1]) if limit[1] else None for limit in limits if limit)
        return after is None or (before is not None and before <= after)
    numbers = [re.fullmatch(r"numeric\((\d+), (\d+)\)", words) for words in (old, new)]
    return bool(numbers[0] and numbers[1] and int(numbers[0][1]) <= int(numbers[1][1]) and numbers[0][2] == numbers[1][2])


def add_index(step: Step) -> t.Iterator[Problem]:
    if table := step.used_table(step.operation.model_name):
        yield builds_index(table)


def add_constraint(step: Step) -> t.Iterator[Problem]:
    if table := step.used_table(step.operation.model_name):
        unique = type(step.operation.constraint).__name__ == "UniqueConstraint"
        yield builds_unique_index(table) if unique else validates(table)


def alter_together(step: Step) -> t.Iterator[Problem]:
    from django.db.models.options import normalize_together

    option = step.operation.option_name
    before = normalize_together(step.model(step.operation.name).options.get(option) or ())
    table = step.used_table(step.operation.name)
    if table and set(normalize_together(step.operation.option_value or ())) - set(before):
        yield builds_unique_index(table) if option == "unique_together" else builds_index(table)


def alter_order(step: Step) -> t.Iterator[Problem]:
    """The order is a column of its own, _order, which is NOT NULL."""
    table = step.used_table(step.operation.name)
    before, after = step.model(step.operation.name).options.get("order_with_respect_to"), step.operation.order_with_respect_to
    if table and after and not before:
        yield adds_required(table, "_order")
    elif table and before and not after:
        yield drops_column(table, "_order")


def separate(step: Step) -> t.Iterator[Problem]:
    """What only the state is told changes nothing in the database."""
    return judge(step.operation.database_operations, step.app, step.state.clone(), step.used, step.connection)


def run_sql(step: Step) -> t.Iterator[Problem]:
    from django.db import router

    if router.allow_migrate(step.connection.alias, step.app, **step.operation.hints):
        yield from judge_sql(step.operation.sql, step.used)


def nothing(_step: Step) -> t.Iterator[Problem]:
    return iter(())


# What is not in here is safe (CreateModel, RemoveIndex, RemoveConstraint, ...) or cannot be judged (RunPython).
RULES: dict[str, Rule] = {
    "AddConstraint": add_constraint,
    "AddConstraintNotValid": nothing,
    "AddField": add_field,
    "AddIndex": add_index,
    "AddIndexConcurrently": nothing,
    "AlterField": alter_field,
    "AlterIndexTogether": alter_together,
    "AlterModelTable": alter_model_table,
    "AlterOrderWithRespectTo": alter_order,
    "AlterUniqueTogether": alter_together,
    "DeleteModel": delete_model,
    "RemoveField": remove_field,
    "RenameField": rename_field,
    "RenameModel": rename_model,
    "RunSQL": run_sql,
    "SeparateDatabaseAndState": separate,
}
