# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""What runs inside the container, in the project's own Python, after the project's own manage.py has set Django up.

Its source, and that of what it imports, is handed to `manage.py shell -c`, so that nothing has to be installed in the image and
whatever manage.py does (settings, paths, a .env file) has been done. A request comes as JSON on standard input, where no process list
shows it; the answer is the last line of standard output. Django is imported in functions: on the host this file is only read.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import time
import traceback
import typing as t

from ansible_collections.berth.django.plugins.module_utils._django_migration_safety import unsafe_operations
from ansible_collections.berth.django.plugins.module_utils._django_schema import cannot_run, compare, known, state_known

ANSWER = "BERTH-ANSWER "
# Two numbers that mean "a berth.django migration" inside one database.
LOCK = (1650815604, 1835627369)
POLL = 0.5
ASK = "ask"
UNMIGRATED = "the models have changes that are not in a migration: run manage.py makemigrations, and build the image again"
CONCURRENTLY = re.compile(r"\s*(?:CREATE|DROP|REINDEX)\b.*\bCONCURRENTLY\b", re.IGNORECASE | re.DOTALL)


class Refused(Exception):
    """One sentence for the operator, and what else the answer says."""

    def __init__(self, sentence: str, **answer: t.Any) -> None:
        super().__init__(sentence)
        self.answer = answer


def main(source: t.TextIO, target: t.TextIO) -> None:
    """Reads one request, does it, writes one answer."""
    request = json.loads(source.read())
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        answer = answered(request)
    target.write("\n" + ANSWER + json.dumps({**answer, "printed": printed.getvalue()}) + "\n")
    target.flush()


def answered(request: dict[str, t.Any]) -> dict[str, t.Any]:
    from django.core.management.base import CommandError

    try:
        return WORK[request["do"]](request)
    except Refused as error:
        return {"error": str(error), **error.answer}
    except CommandError as error:
        return {"error": str(error)}
    except Exception as error:
        return {"error": tell(error)}


def connected(alias: str) -> t.Any:
    """The connection to a database of the project, once it answers."""
    from django.db import DatabaseError, connections

    if alias not in connections:
        raise Refused(f"the project has no database {alias!r}, but {', '.join(connections)}")
    try:
        connections[alias].ensure_connection()
    except DatabaseError as error:
        raise Refused(f"the database {alias!r} does not answer: {' '.join(str(error).split())}", unreachable=True) from None
    return connections[alias]


def tell(error: BaseException) -> str:
    """An exception as an operator wants it: what, and which line of the project."""
    text = f"{type(error).__name__}: {error}".strip()
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_project(frame.filename)]
    return f"{text}\n(raised in {frames[-1].filename}, line {frames[-1].lineno}: {frames[-1].line})" if frames else text


def is_project(filename: str) -> bool:
    return not any(part in filename for part in ("/site-packages/", "/dist-packages/", "/lib/python", "<"))


# --- migrate ----------------------------------------------------------------------------------------------------------------------


def migrate(request: dict[str, t.Any]) -> dict[str, t.Any]:
    """What would run (with its SQL, when asked), or runs it under the lock."""
    connection = connected(request["database"])
    check_deploy(request["check_deploy"], request["silenced_checks"])
    refuse_empty_packages(connection)
    if not request["apply"]:
        return {"plan": describe(connection, request)}
    with locked(connection, request) as waited_for:
        return {"waited_for": waited_for, **apply(connection, request)}


def check_deploy(fail_level: str, silenced: list[str]) -> None:
    """`manage.py check --deploy`, on top of what the project silences itself."""
    from django.core import checks

    if not fail_level:
        return
    level = getattr(checks, fail_level)
    found = [item for item in checks.run_checks(include_deployment_checks=True) if item.is_serious(level) and not item.is_silenced()]
    # Django runs them in no order of its own.
    found = sorted((item for item in found if item.id not in silenced), key=str)
    if found:
        ids = ", ".join(dict.fromkeys(item.id for item in found if item.id))
        said = "\n".join(str(item) for item in found)
        raise Refused(
            f"manage.py check --deploy --fail-level {fail_level} finds {ids}:\n{said}\n"
            f"Correct the settings, or silence what does not apply here: django_uwsgi_silenced_checks: [{ids}]"
        )


def planned(executor: t.Any, request: dict[str, t.Any]) -> list[tuple[t.Any, bool]]:
    """The plan as `manage.py migrate` makes it, with its own refusals."""
    loader = executor.loader
    loader.check_consistent_history(executor.connection)
    conflicts = loader.detect_conflicts()
    if conflicts:
        listed = "; ".join(f"{', '.join(names)} in {app}" for app, names in conflicts.items())
        raise Refused(f"conflicting migrations: {listed}. Run manage.py makemigrations --merge, and build the image again.")
    app, name = request["app"], request["migration"]
    if app and app not in loader.migrated_apps:
        raise Refused(f"the project has no app {app!r} with migrations, but {', '.join(sorted(loader.migrated_apps))}")
    targets: list[tuple[str, t.Any]]
    if app and name == "zero":
        targets = [(app, None)]
    elif app and name:
        targets = [found(loader, app, name)]
    elif app:
        targets = [key for key in loader.graph.leaf_nodes() if key[0] == app]
    else:
        targets = loader.graph.leaf_nodes()
    return executor.migration_plan(targets)


def refuse_empty_packages(connection: t.Any) -> None:
    """An app that has a package of migrations, and none in it: Django would make no table for it, and not complain."""
    from django.apps import apps
    from django.db import router
    from django.db.migrations.loader import MigrationLoader

    loader = MigrationLoader(connection)
    for label in sorted(loader.migrated_apps - {app for app, _name in loader.disk_migrations}):
        models = router.get_migratable_models(apps.get_app_config(label), connection.alias)
        tables = {model._meta.db_table for model in models if model._meta.can_migrate(connection)}
        missing = sorted(tables - {*connection.introspection.table_names()})
        if missing:
            raise Refused(
                f"the package of migrations of {label} is empty, so that nothing makes its tables ({', '.join(missing)}). Where the source "
                f"cannot be changed: MIGRATION_MODULES = {{'{label}': None}} in a file of django_uwsgi_settings_files, and the command "
                "migrate --run-syncdb in django_uwsgi_after_migrate"
            )


def found(loader: t.Any, app: str, name: str) -> tuple[str, str]:
    from django.db.migrations.exceptions import AmbiguityError

    try:
        migration = loader.get_migration_by_prefix(app, name)
    except AmbiguityError:
        raise Refused(f"several migrations of {app} begin with {name!r}: write more of the name") from None
    except KeyError:
        raise Refused(f"{app} has no migration that begins with {name!r}") from None
    key = (app, migration.name)
    # A squashed migration that is applied in part is not in the graph, what it replaces is.
    if key not in loader.graph.nodes and key in loader.replacements:
        key = loader.replacements[key].replaces[-1]
    return key


def describe(connection: t.Any, request: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    plan = planned(executor, request)
    unsafe = not_safe(executor, plan, request)
    entries: list[dict[str, t.Any]] = [
        {
            **dict(app=item.app_label, name=item.name, backwards=backwards, sql=""),
            "unsafe": [found for found in unsafe if found["migration"] == str(item)],
        }
        for item, backwards in plan
    ]
    if request["sql"]:
        state = executor._create_project_state(with_applied_migrations=True)
        for entry, (migration, backwards) in zip(entries, plan):
            entry["sql"], state = sql_of(executor, migration, backwards, state, request["fake"])
    return entries


def not_safe(executor: t.Any, plan: list[tuple[t.Any, bool]], request: dict[str, t.Any]) -> list[dict[str, str]]:
    """What the release that serves would suffer from. A record alone changes nothing, and going back is asked for by name.

    Which migrations that release knows is asked of it only where something depends on it (`known` is ASK then): it costs a second.
    """
    forwards = [migration for migration, backwards in plan if not backwards]
    if request["fake"] or not forwards:
        return []
    if request["known"] == ASK:
        raise Refused("", asks=True)
    serving = state_known(executor, request["known"]) if request["known"] else None
    return unsafe_operations(forwards, executor._create_project_state(with_applied_migrations=True), executor.connection, serving)


def sql_of(executor: t.Any, migration: t.Any, backwards: bool, state: t.Any, fake: bool) -> tuple[str, t.Any]:
    """The SQL of one migration, and the state after it. Some SQL depends on names that the database chose in a migration before it."""
    if fake:
        return "-- recorded as applied, nothing is executed", state
    try:
        if backwards:
            return "\n".join(executor.loader.collect_sql([(migration, True)])), state
        with executor.connection.schema_editor(collect_sql=True, atomic=migration.atomic) as editor:
            after = migration.apply(state.clone(), editor, collect_sql=True)
        return "\n".join(editor.collected_sql), after
    except Exception as error:
        text = " ".join(str(error).split())
        return f"-- not known before the migrations above have run ({text})", migration.mutate_state(state, preserve=True)


@contextlib.contextmanager
def locked(connection: t.Any, request: dict[str, t.Any]) -> t.Iterator[str]:
    """A session lock of PostgreSQL, held by the very session that migrates: it ends with it, however it ends.

    The session's application_name names who holds it, for those who wait and for pg_stat_activity.
    """
    if connection.vendor != "postgresql":
        yield ""
        return
    waited_for, deadline = "", time.monotonic() + request["wait"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('application_name', left(%s, 63), false)", [f"migrate by {request['holder']}"])
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", [f"{request['lock_timeout']}s"])
        while not one(cursor, "SELECT pg_try_advisory_lock(%s, %s)", LOCK):
            waited_for = holder_of_lock(cursor) or waited_for
            if time.monotonic() > deadline:
                who = waited_for or "it does not say who it is"
                raise Refused(f"after {request['wait']} s another migration still holds the lock: {who}")
            time.sleep(POLL)
    try:
        yield waited_for
    finally:
        # A connection that broke took the lock with it.
        with contextlib.suppress(Exception), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", LOCK)


def one(cursor: t.Any, statement: str, values: t.Sequence[t.Any] = ()) -> t.Any:
    cursor.execute(statement, values)
    row = cursor.fetchone()
    return row[0] if row else None


def holder_of_lock(cursor: t.Any) -> str:
    return one(
        cursor,
        "SELECT format('%%s (process %%s of PostgreSQL, from %%s, since %%s)', activity.application_name, activity.pid,"
        " coalesce(host(activity.client_addr), 'a socket'), to_char(activity.backend_start, 'YYYY-MM-DD HH24:MI:SS TZ'))"
        " FROM pg_locks AS lock JOIN pg_stat_activity AS activity USING (pid)"
        " WHERE lock.locktype = 'advisory' AND lock.granted AND lock.classid::bigint = %s AND lock.objid::bigint = %s"
        " AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        LOCK,
    )


def apply(connection: t.Any, request: dict[str, t.Any]) -> dict[str, t.Any]:
    """Runs `migrate` and compares what is recorded before and after: the truth, also when it fails half way.

    Also with nothing to apply: what follows migrations (content types, permissions) may be missing after a run that was killed.
    """
    from django.core.management import call_command
    from django.db import OperationalError
    from django.db.migrations.executor import MigrationExecutor
    from django.db.migrations.recorder import MigrationRecorder

    recorder = MigrationRecorder(connection)
    before = set(recorder.applied_migrations())
    executor = MigrationExecutor(connection)
    migrations = planned(executor, request)
    plan = [(item.app_label, item.name) for item, _backwards in migrations]
    unsafe = not_safe(executor, migrations, request)
    if unsafe and not request["allow_unsafe"]:
        listed = "\n".join(f"{found['migration']}: {found['problem']}: {found['instead']}" for found in unsafe)
        raise Refused(
            f"not safe while the release before still serves, so nothing was applied:\n{listed}\n"
            "To apply it all the same, give -e allow_unsafe_migrations=true.",
            unsafe=unsafe,
        )
    words = [word for word in (request["app"], request["migration"]) if word]
    options = dict(database=request["database"], fake=request["fake"], interactive=False, no_color=True, verbosity=1)
    error, printed = "", io.StringIO()
    try:
        with connection.execute_wrapper(patient_with_indexes(request)):
            call_command("migrate", *words, stdout=printed, stderr=printed, **options)
    except Exception as problem:
        error = tell(problem)
        if isinstance(problem, OperationalError) and "lock timeout" in str(problem):
            error = f"another session kept a lock on the table for more than {request['lock_timeout']} s, try again later. {error}"
    after = set(recorder.applied_migrations())
    answer: dict[str, t.Any] = {
        "applied": ordered(after - before, plan),
        "unapplied": ordered(before - after, plan),
        "unsafe": unsafe,
        "output": printed.getvalue(),
    }
    if error:
        rest = [key for key in plan if (key in after) == (key in before)]
        answer["error"] = f"the migration {'.'.join(rest[0])} failed: {error}" if rest else error
    return answer


def patient_with_indexes(request: dict[str, t.Any]) -> t.Callable[..., t.Any]:
    """What is built concurrently waits for transactions, and nobody for it. Given up early, it leaves an index that is not valid."""

    def run(execute: t.Callable[..., t.Any], sql: t.Any, params: t.Any, many: bool, context: dict[str, t.Any]) -> t.Any:
        if context["connection"].vendor != "postgresql" or not CONCURRENTLY.match(str(sql)):
            return execute(sql, params, many, context)
        # Not through Django's own cursor, which would come here again.
        cursor = context["cursor"].cursor
        cursor.execute(f"SET lock_timeout = '{request['wait']}s'")
        try:
            return execute(sql, params, many, context)
        finally:
            cursor.execute(f"SET lock_timeout = '{request['lock_timeout']}s'")

    return run


def ordered(keys: set[tuple[str, str]], plan: list[tuple[str, str]]) -> list[str]:
    """In the order of the plan; what the plan did not name (a squashed migration that is now complete) at the end."""
    return [".".join(key) for key in plan if key in keys] + [".".join(key) for key in sorted(keys - set(plan))]


# --- superuser --------------------------------------------------------------------------------------------------------------------


def superuser(request: dict[str, t.Any]) -> dict[str, t.Any]:
    """Creates the account, or makes it what was asked for. Says which fields that are, never their values."""
    from django.contrib.auth import get_user_model

    connection = connected(request["database"])
    model = get_user_model()
    if model._meta.db_table not in connection.introspection.table_names():
        raise Refused("the table of users does not exist: run the migrations first", no_table=True)
    manager = model._default_manager.db_manager(connection.alias)
    user = found_user(model, manager, request["username"])
    return create_user(model, manager, request) if user is None else update_user(user, request)


def named_by_email(model: t.Any) -> bool:
    return model.get_email_field_name() == model.USERNAME_FIELD


def found_user(model: t.Any, manager: t.Any, name: str) -> t.Any:
    """Managers keep addresses in lower case, as a whole or the domain alone: the one that was created would not be found again."""
    exact = manager.filter(**{model.USERNAME_FIELD: name}).first()
    if exact is not None or not named_by_email(model):
        return exact
    return manager.filter(**{f"{model.USERNAME_FIELD}__iexact": name}).first()


def wanted_fields(model: t.Any, request: dict[str, t.Any]) -> dict[str, t.Any]:
    if named_by_email(model) and request["email"].lower() not in ("", request["username"].lower()):
        raise Refused(f"the user model knows its users by {model.USERNAME_FIELD}: give the address as username, and leave email out")
    email = {model.get_email_field_name(): request["email"]} if request["email"] and not named_by_email(model) else {}
    fields = {**email, **request["fields"]}
    known = {field.name for field in model._meta.get_fields()}
    unknown = sorted(set(fields) - known)
    if unknown:
        raise Refused(f"the user model has no field {unknown[0]!r}")
    return fields


def create_user(model: t.Any, manager: t.Any, request: dict[str, t.Any]) -> dict[str, t.Any]:
    fields = wanted_fields(model, request)
    missing = sorted(set(model.REQUIRED_FIELDS) - set(fields) - {model.get_email_field_name()})
    if missing:
        raise Refused(f"the user model requires {', '.join(missing)}: give it in fields")
    if request["apply"]:
        email = {model.get_email_field_name(): ""} if model.get_email_field_name() in model.REQUIRED_FIELDS else {}
        manager.create_superuser(**{model.USERNAME_FIELD: request["username"], **email, **fields, "password": request["password"]})
    return {"created": True, "updated": []}


def update_user(user: t.Any, request: dict[str, t.Any]) -> dict[str, t.Any]:
    from django.contrib.auth.hashers import check_password

    wanted = {**wanted_fields(type(user), request), "is_superuser": True, "is_staff": True, "is_active": True}
    present = {field.attname for field in user._meta.concrete_fields}
    updated = [name for name, value in wanted.items() if name in present and getattr(user, name) != value]
    for name in updated:
        setattr(user, name, wanted[name])
    # Not user.check_password(): that one also stores a new hash, in check mode, too.
    if request["update_password"] and not check_password(request["password"], user.password):
        user.set_password(request["password"])
        updated.append("password")
    if updated and request["apply"]:
        user.save(update_fields=updated)
    return {"created": False, "updated": updated}


# --- drift ------------------------------------------------------------------------------------------------------------------------


def drift(request: dict[str, t.Any]) -> dict[str, t.Any]:
    """What is not as it should be, one phrase each. Changes nothing: Django is started once for all questions."""
    reasons, warnings = [], []
    if request["migrate"]:
        names = [f"{entry['app']}.{entry['name']}" for entry in migrate(request["migrate"])["plan"]]
        reasons += [f"migrations are not applied: {', '.join(names)}"] if names else follow_up(request["migrate"]["database"])
        warnings += [] if names else unmigrated(request["migrate"]["database"])
    if request["superuser"] and not reasons:
        found = superuser(request["superuser"])
        reasons += ["the superuser does not exist"] if found["created"] else []
        reasons += [f"the superuser differs: {', '.join(found['updated'])}"] if found["updated"] else []
    return {"reasons": reasons, "warnings": warnings}


def follow_up(alias: str) -> list[str]:
    """What `migrate` does after the last migration: missing where a run was killed before it."""
    from django.apps import apps
    from django.db import router

    installed = [
        model
        for config in apps.get_app_configs()
        if config.models_module
        for model in config.get_models()
        if router.allow_migrate_model(alias, model)
    ]
    if not apps.is_installed("django.contrib.contenttypes"):
        return []
    types = apps.get_model("contenttypes", "ContentType").objects.using(alias)
    known = set(types.values_list("app_label", "model"))
    found = [
        f"{model._meta.label} has no content type" for model in installed if (model._meta.app_label, model._meta.model_name) not in known
    ]
    if apps.is_installed("django.contrib.auth") and not found:
        permissions = apps.get_model("auth", "Permission").objects.using(alias)
        given = set(permissions.values_list("content_type__app_label", "codename"))
        wanted = {(model, f"{action}_{model._meta.model_name}") for model in installed for action in model._meta.default_permissions}
        found = sorted(f"{model._meta.label} lacks {code}" for model, code in wanted if (model._meta.app_label, code) not in given)
    return [f"what follows migrations is missing: {', '.join(found)}"] if found else []


def unmigrated(alias: str) -> list[str]:
    """As `migrate` finds it."""
    from django.apps import apps
    from django.db import connections
    from django.db.migrations.autodetector import MigrationAutodetector
    from django.db.migrations.loader import MigrationLoader
    from django.db.migrations.state import ProjectState

    loader = MigrationLoader(connections[alias])
    return [UNMIGRATED] if MigrationAutodetector(loader.project_state(), ProjectState.from_apps(apps)).changes(graph=loader.graph) else []


WORK: dict[str, t.Callable[[dict[str, t.Any]], dict[str, t.Any]]] = {
    "migrate": migrate,
    "known": lambda _request: known(),
    "compare": lambda request: compare(connected(request["database"])),
    "cannot_run": lambda request: cannot_run(connected(request["database"]), request["unknown"]),
    "superuser": superuser,
    "drift": drift,
}
