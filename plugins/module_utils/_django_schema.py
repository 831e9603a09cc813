# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Whether an older release can run on the schema as it is. Runs inside the containers, like _django_inside.py."""

from __future__ import annotations

import typing as t

from ansible_collections.berth.django.plugins.module_utils._django_migration_problems import INCOMPATIBLE
from ansible_collections.berth.django.plugins.module_utils._django_migration_safety import unsafe_operations


def compare(connection: t.Any) -> dict[str, t.Any]:
    """Asked of the older release: the applied migrations that it does not know, in their order, and those that it needs and that are not.

    What was applied before the last migration that it knows was there when it was deployed, such as those of an app that was taken out.
    """
    from django.db.migrations.executor import MigrationExecutor
    from django.db.migrations.recorder import MigrationRecorder

    executor = MigrationExecutor(connection)
    loader, known = executor.loader, known_to(executor.loader)
    recorded = {key: row.pk for key, row in MigrationRecorder(connection).applied_migrations().items()}
    last = max((number for key, number in recorded.items() if key in known), default=0)
    unknown = sorted((key for key, number in recorded.items() if key not in known and number > last), key=recorded.__getitem__)
    missing = executor.migration_plan(loader.graph.leaf_nodes())
    return {"unknown": unknown, "missing": [str(migration) for migration, _backwards in missing]}


def known() -> dict[str, t.Any]:
    """Asked of the release that serves: the migrations that it knows. The database is not asked."""
    from django.db.migrations.loader import MigrationLoader

    return {"known": sorted(known_to(MigrationLoader(None)))}


def known_to(loader: t.Any) -> set[tuple[str, str]]:
    return set(loader.disk_migrations).union(*(map(tuple, migration.replaces) for migration in loader.disk_migrations.values()))


def state_known(executor: t.Any, names: t.Iterable[t.Sequence[str]]) -> t.Any:
    """The models of a release that knows these migrations: after a rollback they are older than what is applied."""
    known = {(app, name) for app, name in names}
    return state_with(executor, lambda item: key_of(item) in known or (bool(item.replaces) and known.issuperset(map(tuple, item.replaces))))


def cannot_run(connection: t.Any, unknown: t.Iterable[t.Sequence[str]]) -> dict[str, t.Any]:
    """Asked of the release that serves: which of the migrations that an older release does not know it cannot run on, and how to go back.

    What is not safe while that release serves is what it cannot run on afterwards. A lock that was taken then hurts nobody any more.
    """
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    loader, names = executor.loader, {(app, name) for app, name in unknown}
    later = [migration for migration in every_migration(executor) if key_of(migration) in names]
    state = state_with(executor, lambda migration: key_of(migration) not in names)
    found = [item for item in unsafe_operations(later, state, connection) if item["kind"] == INCOMPATIBLE]
    return {
        "incompatible": found,
        "strange": sorted(".".join(key) for key in names - squashed(loader) - {key_of(migration) for migration in later}),
        "back_to": back_to([migration for migration in later if str(migration) in {item["migration"] for item in found}]),
    }


def every_migration(executor: t.Any) -> list[t.Any]:
    loader = executor.loader
    plan = executor.migration_plan(loader.graph.leaf_nodes(), clean_start=True)
    return [part for migration, _backwards in plan for part in parts_of(loader, migration)]


def state_with(executor: t.Any, counts: t.Callable[[t.Any], bool]) -> t.Any:
    """The models after those applied migrations that count."""
    state = executor._create_project_state()
    for migration in every_migration(executor):
        if key_of(migration) in executor.loader.applied_migrations and counts(migration):
            migration.mutate_state(state, preserve=False)
    return state


def key_of(migration: t.Any) -> tuple[str, str]:
    return migration.app_label, migration.name


def parts_of(loader: t.Any, migration: t.Any) -> list[t.Any]:
    """The migrations that a squashed one stands for, where the project still has them; any other one itself."""
    parts = [loader.disk_migrations.get(tuple(key)) for key in migration.replaces]
    return parts if parts and all(parts) else [migration]


def squashed(loader: t.Any) -> set[tuple[str, str]]:
    """They are recorded beside those that they replace, and say nothing more than those do."""
    return {key for key, migration in loader.disk_migrations.items() if migration.replaces}


def back_to(incompatible: list[t.Any]) -> dict[str, str]:
    """For each app, the migration before the first one that is in the way."""
    targets: dict[str, str] = {}
    for migration in incompatible:
        before = [name for app, name in migration.dependencies if app == migration.app_label]
        targets.setdefault(migration.app_label, before[-1] if before else "zero")
    return targets
