# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""The SQL of a RunSQL, judged by its text. Runs inside the container, see _django_migration_safety.py."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.berth.django.plugins.module_utils._django_migration_problems import (
    Problem,
    adds_required,
    builds_index,
    builds_unique_index,
    changes_type,
    drops_column,
    drops_default,
    drops_table,
    empties,
    renames_column,
    renames_table,
    requires,
    rewrites,
    validates,
)

_NAME = r'(?:"?[\w$]+"?\.)?"?(?P<{}>[\w$]+)"?'
_TABLE, _COLUMN = _NAME.format("table"), _NAME.format("column")
_IGNORED = re.compile(r"(?P<literal>'(?:[^']|'')*')|--[^\n]*|/\*.*?\*/", re.DOTALL)
_DROP_TABLE = re.compile(r"DROP TABLE (?:IF EXISTS )?(?P<names>.*?)(?: CASCADE| RESTRICT)?$", re.IGNORECASE)
_TRUNCATE = re.compile(
    r"TRUNCATE (?:TABLE )?(?P<names>.*?)(?: RESTART IDENTITY| CONTINUE IDENTITY)?(?: CASCADE| RESTRICT)?$", re.IGNORECASE
)
_CREATE_INDEX = re.compile(rf"CREATE (?P<unique>UNIQUE )?INDEX (?!CONCURRENTLY\b).*?\bON (?:ONLY )?{_TABLE}", re.IGNORECASE)
_ALTER_TABLE = re.compile(rf"ALTER TABLE (?:IF EXISTS )?(?:ONLY )?{_TABLE} (?P<actions>.*)", re.IGNORECASE)


def _action(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


_DROP_COLUMN = _action(rf"DROP (?!CONSTRAINT\b)(?:COLUMN )?(?:IF EXISTS )?{_COLUMN}")
_RENAME_TABLE = _action(r"RENAME TO |SET SCHEMA ")
_RENAME_COLUMN = _action(rf"RENAME (?!CONSTRAINT\b)(?:COLUMN )?{_COLUMN} TO ")
_CHANGE_TYPE = _action(rf"ALTER (?:COLUMN )?{_COLUMN} (?:SET DATA )?TYPE (?P<type>[^ ]+)")
_SET_NOT_NULL = _action(rf"ALTER (?:COLUMN )?{_COLUMN} SET NOT NULL")
_DROP_DEFAULT = _action(rf"ALTER (?:COLUMN )?{_COLUMN} DROP DEFAULT")
_ADD_CONSTRAINT = _action(r"ADD (?:CONSTRAINT [^ ]+ )?(?:(?P<unique>UNIQUE|PRIMARY KEY)|CHECK|FOREIGN KEY|EXCLUDE)\b")
_ADD_COLUMN = _action(rf"ADD (?:COLUMN )?(?:IF NOT EXISTS )?{_COLUMN} (?P<rest>.*)")

# What has another value for each row is written into every one (https://www.postgresql.org/docs/17/sql-altertable.html#SQL-ALTERTABLE-NOTES).
_OF_EACH_ROW = _action(
    r".*\b(?:\w*SERIAL|AS IDENTITY|STORED|DEFAULT [(]?(?:gen_random_uuid|uuidv[47]|uuid_\w+|random|clock_timestamp|nextval)\b)"
)


def judge_sql(sql: t.Any, used: dict[str, set[str]]) -> t.Iterator[Problem]:
    """`used` are tables and their columns in lower case. Blocks of procedural code are not looked into."""
    for statement in statements(sql):
        if found := _DROP_TABLE.match(statement):
            yield from (drops_table(name) for name in names_of(found["names"]) if name.lower() in used)
        elif found := _TRUNCATE.match(statement):
            yield from (empties(name) for name in names_of(found["names"]) if name.lower() in used)
        elif (found := _CREATE_INDEX.match(statement)) and found["table"].lower() in used:
            yield builds_unique_index(found["table"]) if found["unique"] else builds_index(found["table"])
        elif (found := _ALTER_TABLE.match(statement)) and found["table"].lower() in used:
            for action in actions(found["actions"]):
                yield from judge_action(found["table"], action, used[found["table"].lower()])


def names_of(tables: str) -> list[str]:
    return [name.strip().removeprefix("ONLY ").rpartition(".")[2].strip('"') for name in tables.split(",")]


def statements(sql: t.Any) -> list[str]:
    """One line each, without comments, with empty literals. RunSQL takes a text, or a list of texts and of (text, parameters)."""
    parts = [sql] if isinstance(sql, str) else [part if isinstance(part, str) else part[0] for part in sql or ()]
    text = _IGNORED.sub(lambda found: "''" if found["literal"] else " ", ";".join(parts))
    return [" ".join(statement.split()) for statement in text.split(";")]


def actions(text: str) -> list[str]:
    """What one ALTER TABLE does, separated by the commas that are outside of parentheses."""
    found, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and not depth:
            found.append("")
        else:
            found[-1] += character
    return [action.strip() for action in found]


def judge_action(table: str, action: str, columns: set[str]) -> t.Iterator[Problem]:
    if found := _DROP_COLUMN.match(action):
        if found["column"].lower() in columns:
            yield drops_column(table, found["column"])
    elif _RENAME_TABLE.match(action):
        yield renames_table(table)
    elif found := _RENAME_COLUMN.match(action):
        if found["column"].lower() in columns:
            yield renames_column(table, found["column"])
    elif found := _CHANGE_TYPE.match(action):
        yield changes_type(table, found["column"], f" to {found['type']}")
    elif found := _SET_NOT_NULL.match(action):
        yield requires(table, found["column"])
    elif found := _DROP_DEFAULT.match(action):
        if found["column"].lower() in columns:
            yield drops_default(table, found["column"])
    elif found := _ADD_CONSTRAINT.match(action):
        if not re.search(r"\b(?:NOT VALID|USING INDEX)\b", action, re.IGNORECASE):
            yield builds_unique_index(table) if found["unique"] else validates(table)
    elif found := _ADD_COLUMN.match(action):
        rest = found["rest"].upper()
        if "NOT NULL" in rest and not re.search(r"\b(?:DEFAULT|GENERATED|\w*SERIAL)\b", rest):
            yield adds_required(table, found["column"])
        if _OF_EACH_ROW.match(rest):
            yield rewrites(table, found["column"], "column with another value for each row,")
        if re.search(r"\b(?:UNIQUE|PRIMARY KEY)\b", rest):
            yield builds_unique_index(table)
