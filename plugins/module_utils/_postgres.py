# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Role, database and extensions of a project: what to ask the server, and which statements make it as wanted.

Pure: no I/O, no Ansible. Passwords leave this file as SCRAM verifiers only, so that the server never sees, and never logs, one in
the clear; whether a stored verifier belongs to a password is computed here, so that an unchanged password is no change.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import stringprep
import typing as t
import unicodedata
from dataclasses import dataclass

from ansible_collections.berth.django.plugins.module_utils import _postgres_app_role

# PostgreSQL's own: scram_iterations and SCRAM_DEFAULT_SALT_LEN.
ITERATIONS = 4096
SALT_LENGTH = 16

# Least privilege: what a role of a project must not have, by its column in pg_roles.
FORBIDDEN = {
    "rolsuper": "SUPERUSER",
    "rolcreatedb": "CREATEDB",
    "rolcreaterole": "CREATEROLE",
    "rolreplication": "REPLICATION",
    "rolbypassrls": "BYPASSRLS",
}
# What pg_rewind calls on the server that it copies from (its documentation, on roles that are no superuser).
REWIND_FUNCTIONS = (
    "pg_ls_dir(text, boolean, boolean)",
    "pg_stat_file(text, boolean)",
    "pg_read_binary_file(text)",
    "pg_read_binary_file(text, bigint, bigint, boolean)",
)
OWN_DATABASES = ("postgres", "template0", "template1")
UNKNOWN_WITHOUT_SERVER = (
    "whether data of an earlier container is there, with role and database in it",
    "whether the image holds the extensions",
)


@dataclass(frozen=True)
class Wanted:
    """What a project needs of its server."""

    role: str
    password: str
    database: str
    encoding: str = "UTF8"
    locale: str = "C.UTF-8"
    locale_provider: str = "builtin"
    extensions: tuple[str, ...] = ()
    superuser: str = "postgres"
    superuser_password: str = ""
    change_password: bool = False
    replication_role: str = ""
    replication_password: str = ""
    # Who reads and writes rows while `role` owns the tables; nobody else than `role` when empty.
    app_role: str = ""
    app_password: str = ""


@dataclass(frozen=True)
class Actual:
    """What the server has. The defaults describe a new one; `known` is false when there is none to ask yet."""

    known: bool = True
    role: dict[str, t.Any] | None = None
    superuser_verifier: str = ""
    replication: dict[str, t.Any] | None = None
    app: dict[str, t.Any] | None = None
    app_lacks: tuple[str, ...] = ()
    database: dict[str, t.Any] | None = None
    extensions: tuple[str, ...] = ()
    available: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Statements in order, what they do in words, and the state before and after."""

    statements: tuple[str, ...]
    actions: tuple[str, ...]
    before: dict[str, t.Any]
    after: dict[str, t.Any]

    @property
    def diff(self) -> dict[str, t.Any]:
        return dict(before=self.before or "", after=self.after) if self.statements else dict(before="", after="")


# --- quoting ----------------------------------------------------------------------------------------------------------------------


def literal(text: str) -> str:
    """A string constant; standard_conforming_strings is on in every session of ours, so that a backslash is a backslash."""
    if "\0" in text:
        raise ValueError("a text for PostgreSQL holds a NUL character.")
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A quoted name. Longer ones would be cut off by the server, without an error."""
    if not name or "\0" in name or len(name.encode()) > 63:
        raise ValueError(f"{name!r} is not a name for PostgreSQL: use 1 to 63 bytes.")
    return '"' + name.replace('"', '""') + '"'


# --- passwords --------------------------------------------------------------------------------------------------------------------


def saslprep(password: str) -> str:
    """RFC 4013, as server and clients apply it to a password. What it forbids is used as it is, which is what PostgreSQL does."""
    if password.isascii():
        return password
    mapped = "".join(" " if stringprep.in_table_c12(char) else char for char in password if not stringprep.in_table_b1(char))
    text = unicodedata.normalize("NFKC", mapped)
    prohibited = (
        stringprep.in_table_a1, stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3, stringprep.in_table_c4,
        stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7, stringprep.in_table_c8, stringprep.in_table_c9,
    )  # fmt: skip
    if not text or any(check(char) for char in text for check in prohibited):
        return password
    if any(map(stringprep.in_table_d1, text)):  # right to left: all of it, and at both ends
        ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
        if not ends or any(map(stringprep.in_table_d2, text)):
            return password
    return text


def scram_verifier(password: str, salt: bytes | None = None, iterations: int = ITERATIONS) -> str:
    """What pg_authid keeps for a password (RFC 5803): ``SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>``."""
    salt = os.urandom(SALT_LENGTH) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", saslprep(password).encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    shown = [base64.b64encode(value).decode() for value in (salt, stored, server)]
    return f"SCRAM-SHA-256${iterations}:{shown[0]}${shown[1]}:{shown[2]}"


def verifies(password: str, verifier: str | None) -> bool:
    """Whether a stored verifier belongs to `password`. An MD5 hash never does: it is to be replaced."""
    match = re.fullmatch(r"SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/=]+)\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+", verifier or "")
    if not match:
        return False
    again = scram_verifier(password, base64.b64decode(match[2]), int(match[1]))
    return hmac.compare_digest(again, verifier or "")


def without_verifiers(text: str) -> str:
    """The server quotes the statement that it refuses."""
    return re.sub(r"SCRAM-SHA-256\$[^'\s]+", "********", text)


# --- asking -----------------------------------------------------------------------------------------------------------------------

# Nothing of ours in the server's log, verifiers included; any error ends the session.
_PREAMBLE = (
    r"\set ON_ERROR_STOP on",
    "SET log_statement = 'none'; SET log_min_error_statement = 'panic'; SET log_min_duration_statement = -1;",
    "SET log_min_duration_sample = -1; SET log_duration = off; SET standard_conforming_strings = on; SET search_path = pg_catalog;",
)


def question(wanted: Wanted) -> str:
    """A script for psql whose output :func:`answer` reads: one line of JSON, and one more when the database exists."""
    role, superuser, database, replication, app = map(
        literal, (wanted.role, wanted.superuser, wanted.database, wanted.replication_role, wanted.app_role)
    )
    may_rewind = " AND ".join(f"has_function_privilege(r.oid, {literal(function)}, 'EXECUTE')" for function in REWIND_FUNCTIONS)
    extensions = ", ".join(map(literal, wanted.extensions))
    query = f"""
        SELECT jsonb_build_object(
            'role', (SELECT to_jsonb(r) FROM pg_authid r WHERE rolname = {role}),
            'replication', (
                SELECT to_jsonb(r) || jsonb_build_object('may_rewind', {may_rewind}) FROM pg_authid r WHERE rolname = {replication}),
            'app', (
                SELECT to_jsonb(r) || jsonb_build_object('member', EXISTS (
                    SELECT FROM pg_auth_members m JOIN pg_roles o ON o.oid = m.roleid WHERE m.member = r.oid AND o.rolname = {role}))
                FROM pg_authid r WHERE rolname = {app}),
            'superuser_verifier', (SELECT rolpassword FROM pg_authid WHERE rolname = {superuser}),
            'database', (
                SELECT to_jsonb(d) || jsonb_build_object(
                    'owner', pg_get_userbyid(datdba), 'encoding_name', pg_encoding_to_char(encoding),
                    'public', has_database_privilege('public', oid, 'CONNECT') OR has_database_privilege('public', oid, 'TEMPORARY'))
                FROM pg_database d WHERE datname = {database}),
            'available', (
                SELECT coalesce(jsonb_agg(name), '[]') FROM pg_available_extensions WHERE name = ANY (ARRAY[{extensions}]::text[])));
        SELECT EXISTS (SELECT FROM pg_database WHERE datname = {database}) AS berth_found \\gset
    """  # noqa: S608 (quoted above)
    in_database = f"""
        SELECT jsonb_build_object(
            'extensions', (SELECT coalesce(jsonb_agg(extname ORDER BY extname), '[]') FROM pg_extension),
            'app_lacks', {_postgres_app_role.question(app, role)});
    """  # noqa: S608
    return script((query, r"\if :berth_found", rf"\connect {identifier(wanted.database)}", in_database, r"\endif"))


def answer(text: str) -> Actual:
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    if not lines:
        raise ValueError(f"PostgreSQL gave no answer that can be read: {text[:200]!r}")
    return Actual(
        role=lines[0]["role"],
        superuser_verifier=lines[0]["superuser_verifier"] or "",
        replication=lines[0].get("replication"),
        app=lines[0].get("app"),
        app_lacks=tuple(lines[1]["app_lacks"]) if len(lines) > 1 else (),
        database=lines[0]["database"],
        extensions=tuple(lines[1]["extensions"]) if len(lines) > 1 else (),
        available=tuple(lines[0]["available"]),
    )


# --- planning ---------------------------------------------------------------------------------------------------------------------


def check(wanted: Wanted) -> None:
    """Raises ``ValueError`` with one sentence for what no server can be asked."""
    for key, name in (("role", wanted.role), ("database", wanted.database), ("app_role", wanted.app_role or wanted.role)):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,62}", name):
            raise ValueError(f"{key} is {name!r}: use up to 63 letters, digits, underscores and hyphens, a letter first.")
    if wanted.role == wanted.superuser or wanted.role.startswith("pg_"):
        raise ValueError(f"role is {wanted.role!r}, which belongs to PostgreSQL itself: give the project a role of its own.")
    if wanted.database in OWN_DATABASES:
        raise ValueError(f"database is {wanted.database!r}, which belongs to PostgreSQL itself: give the project a database of its own.")
    if wanted.app_role in (wanted.role, wanted.superuser):
        raise ValueError(f"app_role is {wanted.app_role!r}, which may do more than read and write rows: give it a role of its own.")
    if wanted.app_role and not wanted.app_password:
        raise ValueError("app_password is empty: the role could not log in.")
    if not wanted.password:
        raise ValueError("password is empty: the role could not log in.")


def plan(wanted: Wanted, actual: Actual) -> Plan:
    """What to run so that the server has what is wanted; nothing when it does. Raises ``ValueError`` for what cannot be changed."""
    check(wanted)
    _check_available(wanted, actual)
    _check_password(wanted, actual)
    steps = [
        *_superuser(wanted, actual),
        *_replication(wanted, actual),
        *_login(wanted.role, wanted.password, actual.role),
        *(_login(wanted.app_role, wanted.app_password, actual.app) if wanted.app_role else []),
        *_database(wanted, actual),
        *_extensions(wanted, actual),
        *_app(wanted, actual),
    ]
    return Plan(
        statements=tuple(statement for statement, _sentence in steps),
        actions=tuple(sentence for _statement, sentence in steps),
        before=_shown_before(wanted, actual),
        after=_shown_after(wanted, actual),
    )


def script(statements: t.Iterable[str]) -> str:
    return "\n".join((*_PREAMBLE, *statements, ""))


_Steps = list[tuple[str, str]]


def _check_available(wanted: Wanted, actual: Actual) -> None:
    missing = [name for name in wanted.extensions if actual.known and name not in actual.available]
    if missing:
        raise ValueError(
            f"the server's image does not hold the extension {missing[0]}: "
            "add its Debian package to postgres_packages, or use an image that has it."
        )


def _check_password(wanted: Wanted, actual: Actual) -> None:
    """A release that serves keeps the password that it was started with. Where none is stored, nobody can have logged in with it."""
    for name, password, variable, found in (
        (wanted.role, wanted.password, "password (postgres_password)", actual.role),
        (wanted.app_role, wanted.app_password, "app_password (postgres_app_password)", actual.app),
    ):
        stored = (found or {}).get("rolpassword")
        if stored and not wanted.change_password and not verifies(password, stored):
            raise ValueError(
                f"{variable} is not the one that role {name} has, and changing it would cut the release that serves "
                f"off from database {wanted.database}, until one with the new password serves: switch maintenance on "
                "(playbooks/maintenance.yml -e state=on), run this again with -e change_password=true, and switch maintenance off."
            )


def _superuser(wanted: Wanted, actual: Actual) -> _Steps:
    """A new server has it from its first start."""
    if not wanted.superuser_password or not actual.known or verifies(wanted.superuser_password, actual.superuser_verifier):
        return []
    change = f"ALTER ROLE {identifier(wanted.superuser)} PASSWORD {literal(scram_verifier(wanted.superuser_password))};"
    return [(change, f"change the password of the superuser {wanted.superuser}")]


def _replication(wanted: Wanted, actual: Actual) -> _Steps:
    """Nobody else logs in as this role, and members ask for its password each time: it may change at any moment."""
    name, found = wanted.replication_role, actual.replication or {}
    if not name:
        return []
    steps = []
    if not (found.get("rolreplication") and found.get("rolcanlogin") and verifies(wanted.replication_password, found.get("rolpassword"))):
        options = f"LOGIN REPLICATION PASSWORD {literal(scram_verifier(wanted.replication_password))}"
        sentence = f"let role {name} copy the data" if found else f"create role {name} for replication"
        steps.append((f"{'ALTER' if found else 'CREATE'} ROLE {identifier(name)} {options};", sentence))
    if not found.get("may_rewind"):
        grants = (f"GRANT EXECUTE ON FUNCTION pg_catalog.{function} TO {identifier(name)};" for function in REWIND_FUNCTIONS)
        steps.append(("\n".join(grants), f"let role {name} rewind"))
    return steps


def _login(role: str, password: str, found: dict[str, t.Any] | None) -> _Steps:
    name = identifier(role)
    if found is None:
        return [(f"CREATE ROLE {name} LOGIN PASSWORD {literal(scram_verifier(password))};", f"create role {role}")]
    steps = []
    wrong = [attribute for column, attribute in FORBIDDEN.items() if found.get(column)]
    if wrong:
        taken = " ".join(f"NO{attribute}" for attribute in wrong)
        steps.append((f"ALTER ROLE {name} {taken};", f"take {', '.join(wrong)} from role {role}"))
    if not found.get("rolcanlogin"):
        steps.append((f"ALTER ROLE {name} LOGIN;", f"let role {role} log in"))
    if found.get("rolvaliduntil") not in (None, "infinity"):
        steps.append((f"ALTER ROLE {name} VALID UNTIL 'infinity';", f"let the password of role {role} not expire"))
    if not verifies(password, found.get("rolpassword")):
        steps.append((f"ALTER ROLE {name} PASSWORD {literal(scram_verifier(password))};", f"change the password of role {role}"))
    return steps


def _database(wanted: Wanted, actual: Actual) -> _Steps:
    name, owner = identifier(wanted.database), identifier(wanted.role)
    close = (f"REVOKE ALL ON DATABASE {name} FROM PUBLIC;", f"let nobody but its owner connect to database {wanted.database}")
    if actual.database is None:
        locale = {
            "builtin": f"LOCALE_PROVIDER builtin BUILTIN_LOCALE {literal(wanted.locale)}",
            "icu": f"LOCALE_PROVIDER icu ICU_LOCALE {literal(wanted.locale)}",
            "libc": f"LOCALE_PROVIDER libc LOCALE {literal(wanted.locale)}",
        }[wanted.locale_provider]
        create = f"CREATE DATABASE {name} OWNER {owner} TEMPLATE template0 ENCODING {literal(wanted.encoding)} {locale};"
        return [(create, f"create database {wanted.database}"), close]
    _check_locale(wanted, actual.database)
    steps = []
    if actual.database["owner"] != wanted.role:
        steps.append((f"ALTER DATABASE {name} OWNER TO {owner};", f"give database {wanted.database} to role {wanted.role}"))
    return [*steps, *([close] if actual.database["public"] else [])]


def _check_locale(wanted: Wanted, database: dict[str, t.Any]) -> None:
    """Encoding and locale are fixed when a database is made: an other wish is an error, not a silent difference."""
    for key, want, have in (
        ("encoding", wanted.encoding, database["encoding_name"]),
        ("locale_provider", wanted.locale_provider, _provider(database)),
        ("locale", wanted.locale, _locale(database)),
    ):
        if re.sub(r"[\W_]", "", want).lower() != re.sub(r"[\W_]", "", have).lower():
            raise ValueError(
                f"database {wanted.database} has {key} {have}, and {want} is wanted: it cannot be changed in place. "
                f"Put {have} into the inventory, or dump the database, drop it, and restore it after the next run."
            )


def _provider(database: dict[str, t.Any]) -> str:
    return {"b": "builtin", "i": "icu", "c": "libc"}.get(database["datlocprovider"], database["datlocprovider"])


def _locale(database: dict[str, t.Any]) -> str:
    return str(database.get("datlocale") or database["datcollate"])


def _extensions(wanted: Wanted, actual: Actual) -> _Steps:
    missing = [name for name in wanted.extensions if name not in actual.extensions]
    steps = [(f"CREATE EXTENSION IF NOT EXISTS {identifier(name)} CASCADE;", f"create extension {name}") for name in missing]
    # With the search path that the database has: it says which schema they go to.
    return [(_in_database(wanted, _PREAMBLE[1:2], statement), sentence) for statement, sentence in steps]


def _app(wanted: Wanted, actual: Actual) -> _Steps:
    if not wanted.app_role:
        return []
    role, owner = identifier(wanted.app_role), identifier(wanted.role)
    steps = []
    if (actual.app or {}).get("member"):
        steps.append((f"REVOKE {owner} FROM {role};", f"take what role {wanted.role} may do from role {wanted.app_role}"))
    if actual.app is None or actual.database is None or actual.app_lacks:
        lines = _postgres_app_role.grants(role, owner, literal(wanted.role), identifier(wanted.database))
        sentence = f"let role {wanted.app_role} read and write the rows of database {wanted.database}"
        steps.append((_in_database(wanted, _PREAMBLE[1:], *lines), sentence))
    return steps


def _in_database(wanted: Wanted, preamble: t.Sequence[str], *statements: str) -> str:
    return "\n".join((rf"\connect {identifier(wanted.database)}", *preamble, *statements))


# --- showing ----------------------------------------------------------------------------------------------------------------------


def _shown_before(wanted: Wanted, actual: Actual) -> dict[str, t.Any]:
    shown: dict[str, t.Any] = {}
    if actual.role is not None:
        shown["role"] = _shown_role(wanted.role, wanted.password, actual.role)
    if wanted.app_role and actual.app is not None:
        lacks = [*actual.app_lacks, *(["a role of its own"] if actual.app.get("member") else [])]
        shown["app_role"] = {**_shown_role(wanted.app_role, wanted.app_password, actual.app), "lacks": lacks}
    if actual.database is not None:
        shown["database"] = {
            "name": wanted.database,
            "owner": actual.database["owner"],
            "encoding": actual.database["encoding_name"],
            "locale_provider": _provider(actual.database),
            "locale": _locale(actual.database),
            "open_to_public": bool(actual.database["public"]),
            "extensions": sorted(actual.extensions),
        }
    if wanted.superuser_password and actual.known:
        valid = verifies(wanted.superuser_password, actual.superuser_verifier)
        shown["superuser"] = {"password": "as in the inventory" if valid else "another one"}
    return shown


def _shown_role(name: str, password: str, found: dict[str, t.Any]) -> dict[str, t.Any]:
    return {
        "name": name,
        "login": bool(found.get("rolcanlogin")),
        "attributes": [attribute for column, attribute in FORBIDDEN.items() if found.get(column)],
        "password": "as in the inventory" if verifies(password, found.get("rolpassword")) else "another one",
        "expires": found.get("rolvaliduntil") or "infinity",
    }


def _shown_after(wanted: Wanted, actual: Actual) -> dict[str, t.Any]:
    have = actual.database
    as_wanted = {"login": True, "attributes": [], "password": "as in the inventory", "expires": "infinity"}
    shown: dict[str, t.Any] = {
        "role": {"name": wanted.role, **as_wanted},
        "database": {
            "name": wanted.database,
            "owner": wanted.role,
            "encoding": have["encoding_name"] if have else wanted.encoding,
            "locale_provider": wanted.locale_provider,
            "locale": _locale(have) if have else wanted.locale,
            "open_to_public": False,
            "extensions": sorted({*(actual.extensions or ("plpgsql",)), *wanted.extensions}),
        },
    }
    if wanted.app_role:
        shown["app_role"] = {"name": wanted.app_role, **as_wanted, "lacks": []}
    if wanted.superuser_password and actual.known:
        shown["superuser"] = {"password": "as in the inventory"}
    return shown
