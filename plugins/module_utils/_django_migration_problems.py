# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""What an operation of a migration does to the release that serves while it runs, and what to do instead: words for the operator."""

from __future__ import annotations

import dataclasses

# The release before cannot run on the schema after it.
INCOMPATIBLE = "incompatible"
# Traffic waits for it while it runs; afterwards both releases can run.
LOCK = "lock"


@dataclasses.dataclass(frozen=True)
class Problem:
    kind: str
    problem: str
    instead: str


def drops_table(table: str) -> Problem:
    return Problem(
        INCOMPATIBLE,
        f"drops the table {table}, which the release before still uses",
        "take the model out of the state only (state_operations of SeparateDatabaseAndState), and drop the table with RunSQL in the"
        " next release",
    )


def drops_column(table: str, column: str) -> Problem:
    return Problem(
        INCOMPATIBLE,
        f"drops the column {table}.{column}, which the release before still uses",
        "make it nullable and take it out of the state only (state_operations of SeparateDatabaseAndState), and drop it with RunSQL in the"
        " next release",
    )


def renames_table(table: str) -> Problem:
    return Problem(INCOMPATIBLE, f"renames the table {table}, which the release before still uses", "keep its name with db_table")


def renames_column(table: str, column: str) -> Problem:
    return Problem(
        INCOMPATIBLE, f"renames the column {table}.{column}, which the release before still uses", "keep its name with db_column"
    )


def adds_required(table: str, column: str) -> Problem:
    return Problem(
        INCOMPATIBLE,
        f"adds the column {table}.{column} as NOT NULL without a default in the database, so the release before cannot insert rows",
        "give it a db_default (Django 5.0 or later), or null=True",
    )


def requires(table: str, column: str) -> Problem:
    return Problem(
        INCOMPATIBLE,
        f"makes {table}.{column} NOT NULL, where the release before may write NULL, and reads all rows under an exclusive lock",
        "fill the column, then use AddConstraintNotValid and, in a later migration, ValidateConstraint",
    )


def drops_default(table: str, column: str) -> Problem:
    return Problem(
        INCOMPATIBLE,
        f"takes the default of {table}.{column} out of the database, on which the release before relies to insert rows",
        "first release a version whose field has a default beside its db_default",
    )


def changes_type(table: str, column: str, change: str, kind: str = INCOMPATIBLE) -> Problem:
    return Problem(
        kind,
        f"changes the type of {table}.{column}{change}, which rewrites or reads all rows under an exclusive lock",
        "add a second column of the new type, write both, and drop the first one in a later release",
    )


def empties(table: str) -> Problem:
    return Problem(
        INCOMPATIBLE, f"empties the table {table}, whose rows the release before still serves", "delete rows in small steps, with RunPython"
    )


def rewrites(table: str, column: str, kind: str = "generated column") -> Problem:
    return Problem(
        LOCK,
        f"adds the {kind} {table}.{column}, which rewrites all rows under an exclusive lock",
        "add a column with null=True, and fill it",
    )


def builds_index(table: str) -> Problem:
    return Problem(
        LOCK,
        f"builds an index on {table} without CONCURRENTLY, so nobody can write to the table meanwhile",
        "use AddIndexConcurrently in a migration with atomic = False, and db_index=False for a field",
    )


def builds_unique_index(table: str) -> Problem:
    return Problem(
        LOCK,
        f"builds a unique index on {table} under a lock, so nobody can write to the table meanwhile",
        "build it with CREATE UNIQUE INDEX CONCURRENTLY (RunSQL), and add the constraint with USING INDEX",
    )


def validates(table: str) -> Problem:
    return Problem(
        LOCK,
        f"adds a constraint to {table} that reads all rows under a lock",
        "add it as NOT VALID (AddConstraintNotValid), and validate it in a later migration (ValidateConstraint)",
    )
