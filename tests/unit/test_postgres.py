# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables for what a project needs of its PostgreSQL server: quoting, SCRAM verifiers, the plan of statements."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
from typing import Any

import pytest
from ansible_collections.berth.django.plugins.module_utils import _postgres
from ansible_collections.berth.django.plugins.module_utils._postgres import Actual, Wanted

WANTED = Wanted(role="music", password="correct horse", database="music")

# Made by PostgreSQL 17 itself (ALTER ROLE ... PASSWORD, then pg_authid), with scram_iterations as they say.
FROM_THE_SERVER = [
    (
        "pencil",
        "SCRAM-SHA-256$4096:6sIsnt5QTljWsWBdj0LrXQ==$olhTUCgR9NsFxqLnlLaxO1+FSZbNDSe1sweMemxMi6A=:hcqNhnPg5oqIkYrl5MypQBTOtQrUBkJEGGq/hbTY0qw=",
    ),
    (
        "correct horse 'battery'",
        "SCRAM-SHA-256$4096:YMojfWImzCLdz9fmX0pygQ==$CAZI3KIEfbM4tvt3GgPGM6aTv/lBMNzid9grCNTnxM0=:RERsy4CHGQmF/FP0JdRwWaraFd8t1A1MFhejBIVSW14=",
    ),
    (
        "pässwörd",
        "SCRAM-SHA-256$4096:lVrfd+DBBCOZBMxPD+JaWg==$uGNTvrNNpxSCXS35+G3sWnuur5pb8hANjNNDm7VygaA=:UzLZdFrOAC+q3q/S9FNLDvFOmu3TTBfr0P6vqjinhXg=",
    ),
    (
        "I\u00adX",
        "SCRAM-SHA-256$4096:6Bo3tb7qr91q+dfwtkEssw==$bVoTGzNkkZ/86UXnIqPL+4LksKqmzQbeHJPovtwFl+A=:QCZoWmbnGG9r0WcLL1t1ZA+S6xcslhd/dxaOh3xYmMY=",
    ),
    (
        "ﬁne\u00a0Ⅸ",
        "SCRAM-SHA-256$4096:y4er6mihFEZlXeRp4jFP2w==$CRCAS+gKfvCOliOEAevIHabvn6/4aiSD76HLL6tDNGo=:X1s0tRrRJgD/DiS0+CbGaYB2aUOSYpUvLsUhoLlcCws=",
    ),
    (
        "a\u0221b",
        "SCRAM-SHA-256$4096:Hu7dLlkf4nTjFrEiDvmbwQ==$KdDuAl1fzOWP7EtBlsyzKGhlReaKQ61fPJnTmhmDW0s=:6KhLHOJHdAbyiye0bkfWRMgs2BgZa8xoK5nCr4KjbDk=",
    ),
    (
        "\u0627\u0031",
        "SCRAM-SHA-256$4096:1+jBY2Aiy5hMuSj+cuAtvg==$MUZFRJ8/t41ZzKLO8LlXR2dTUO+/WAsTu+ZKsrHHuRs=:YJ6M+MO04vN0MnrTF4xK6OECx1nQKHnSqeBBuqK9x0g=",
    ),
    (
        "many",
        "SCRAM-SHA-256$10000:Le3JKssZbq1CUWa3Yt7qFw==$GEwaOcr83tYB3qrxYAcJ9wqhCXIcmFSuDCosg496Z74=:4tH8Uhuptfiw+TJtRucQSDIu8oTqb47lEwkOlrx1nJ4=",
    ),
]


@pytest.mark.parametrize(("password", "verifier"), FROM_THE_SERVER)
def test_verifiers_of_the_server(password: str, verifier: str) -> None:
    assert _postgres.verifies(password, verifier)
    assert not _postgres.verifies(password + "x", verifier)


def test_vector_of_rfc_7677() -> None:
    """The RFC shows no verifier, but the server's signature, which follows from it."""
    verifier = _postgres.scram_verifier("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
    server_key = base64.b64decode(verifier.rpartition(":")[2])
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    auth = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}"
    signature = hmac.digest(server_key, auth.encode(), hashlib.sha256)
    assert base64.b64encode(signature).decode() == "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


@pytest.mark.parametrize("verifier", [None, "", "md5d41d8cd98f00b204e9800998ecf8427e", "SCRAM-SHA-256$4096:c2FsdA==$x", "pencil"])
def test_what_is_no_verifier(verifier: str | None) -> None:
    assert not _postgres.verifies("pencil", verifier)


def test_salt_differs_each_time() -> None:
    assert _postgres.scram_verifier("pencil") != _postgres.scram_verifier("pencil")


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain", "'plain'"),
        ("it's", "'it''s'"),
        ("back\\slash", "'back\\slash'"),
        (":var", "':var'"),
        ("'; DROP ROLE x; --", "'''; DROP ROLE x; --'"),
    ],
)
def test_literal(text: str, quoted: str) -> None:
    assert _postgres.literal(text) == quoted


@pytest.mark.parametrize(("name", "quoted"), [("music", '"music"'), ('a"b', '"a""b"'), ("Möwe", '"Möwe"'), ("x" * 63, f'"{"x" * 63}"')])
def test_identifier(name: str, quoted: str) -> None:
    assert _postgres.identifier(name) == quoted


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 64, "ö" * 32])
def test_identifier_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a name for PostgreSQL"):
        _postgres.identifier(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"role": "postgres"}, "role is 'postgres', which belongs to PostgreSQL itself"),
        ({"role": "pg_monitor"}, "role is 'pg_monitor'"),
        ({"role": "dbname=x"}, "role is 'dbname=x': use up to 63 letters"),
        ({"database": "template1"}, "database is 'template1'"),
        ({"database": 'x"; DROP'}, "use up to 63 letters"),
        ({"password": ""}, "password is empty"),
        ({"app_role": "music", "app_password": "x"}, "app_role is 'music', which may do more than read and write rows"),
        ({"app_role": "music_app"}, "app_password is empty"),
        ({"app_role": "a b", "app_password": "x"}, "app_role is 'a b': use up to 63 letters"),
    ],
)
def test_refused_before_asking(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _postgres.check(dataclasses.replace(WANTED, **change))


def role(**changes: Any) -> dict[str, Any]:
    verifier = _postgres.scram_verifier("correct horse", b"salt" * 4)
    return {"rolcanlogin": True, "rolsuper": False, "rolvaliduntil": None, "rolpassword": verifier, **changes}


def database(**changes: Any) -> dict[str, Any]:
    return {
        "owner": "music",
        "encoding_name": "UTF8",
        "datlocprovider": "b",
        "datlocale": "C.UTF-8",
        "datcollate": "C.UTF-8",
        "public": False,
        **changes,
    }


CONVERGED = Actual(role=role(), database=database(), extensions=("plpgsql",))

APP = {"app_role": "music_app", "app_password": "correct horse"}

PLANS: list[tuple[str, dict[str, Any], dict[str, Any], list[str]]] = [
    ("unchanged", {}, {}, []),
    (
        "a new server",
        {"extensions": ("pg_trgm", "unaccent")},
        {"role": None, "database": None, "extensions": (), "available": ("pg_trgm", "unaccent")},
        [
            "create role music",
            "create database music",
            "let nobody but its owner connect to database music",
            "create extension pg_trgm",
            "create extension unaccent",
        ],
    ),
    ("another password", {"password": "new", "change_password": True}, {}, ["change the password of role music"]),
    ("the same password", {"change_password": True}, {}, []),
    ("an old hash", {"change_password": True}, {"role": role(rolpassword="md5" + "0" * 32)}, ["change the password of role music"]),
    ("no password", {}, {"role": role(rolpassword=None)}, ["change the password of role music"]),
    ("too much power", {}, {"role": role(rolsuper=True, rolcreatedb=True)}, ["take SUPERUSER, CREATEDB from role music"]),
    ("no login", {}, {"role": role(rolcanlogin=False)}, ["let role music log in"]),
    ("expiring", {}, {"role": role(rolvaliduntil="2020-01-01T00:00:00+00:00")}, ["let the password of role music not expire"]),
    ("never expiring", {}, {"role": role(rolvaliduntil="infinity")}, []),
    ("another owner", {}, {"database": database(owner="postgres")}, ["give database music to role music"]),
    ("open to all", {}, {"database": database(public=True)}, ["let nobody but its owner connect to database music"]),
    ("extension there", {"extensions": ("plpgsql",)}, {"available": ("plpgsql",)}, []),
    ("the same locale, spelt differently", {"encoding": "utf-8", "locale": "c.utf8"}, {}, []),
    (
        "a role to run as",
        APP,
        {},
        ["create role music_app", "let role music_app read and write the rows of database music"],
    ),
    ("a role to run as, there", APP, {"app": role()}, []),
    (
        "a table that it cannot read",
        APP,
        {"app": role(), "app_lacks": ("tables",)},
        ["let role music_app read and write the rows of database music"],
    ),
    (
        "a role to run as that may do too much",
        APP,
        {"app": role(rolcreatedb=True, member=True)},
        ["take CREATEDB from role music_app", "take what role music may do from role music_app"],
    ),
    ("superuser's password", {"superuser_password": "boss"}, {"superuser_verifier": ""}, ["change the password of the superuser postgres"]),
    ("superuser's password kept", {"superuser_password": "boss"}, {"superuser_verifier": _postgres.scram_verifier("boss")}, []),
]


@pytest.mark.parametrize(("wanted", "actual", "actions"), [row[1:] for row in PLANS], ids=[row[0] for row in PLANS])
def test_plan(wanted: dict[str, Any], actual: dict[str, Any], actions: list[str]) -> None:
    plan = _postgres.plan(dataclasses.replace(WANTED, **wanted), dataclasses.replace(CONVERGED, **actual))
    assert list(plan.actions) == actions
    assert (plan.before != plan.after) == bool(actions), "the diff tells the same as the actions"
    assert (plan.diff["before"] != plan.diff["after"]) == bool(actions)


def test_no_server_yet() -> None:
    """Check mode on an empty host: all of it would be made, and nothing is said about a superuser that initdb will make."""
    plan = _postgres.plan(dataclasses.replace(WANTED, superuser_password="boss", extensions=("pg_trgm",)), Actual(known=False))
    assert plan.actions[0] == "create role music"
    assert plan.actions[-1] == "create extension pg_trgm"
    assert plan.before == {}
    assert "superuser" not in plan.after


@pytest.mark.parametrize(
    ("wanted", "actual", "message"),
    [
        ({"extensions": ("postgis",)}, {}, "does not hold the extension postgis: add its Debian package to postgres_packages"),
        ({"password": "new"}, {}, r"\(postgres_password\) is not the one that role music has.* -e change_password=true"),
        ({**APP, "app_password": "new"}, {"app": role()}, r"\(postgres_app_password\) is not the one that role music_app has"),
        ({}, {"role": role(rolpassword="md5" + "0" * 32)}, "would cut the release that serves off from database music"),
        ({"encoding": "LATIN1"}, {}, "has encoding UTF8, and LATIN1 is wanted: it cannot be changed in place"),
        ({"locale": "de-DE", "locale_provider": "icu"}, {}, "has locale_provider builtin, and icu is wanted"),
        (
            {"locale_provider": "libc", "locale": "de_DE.utf8"},
            {"database": database(datlocprovider="c", datlocale=None)},
            "has locale C.UTF-8",
        ),
    ],
)
def test_what_cannot_be_changed(wanted: dict[str, Any], actual: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _postgres.plan(dataclasses.replace(WANTED, **wanted), dataclasses.replace(CONVERGED, **actual))


def test_extensions_go_where_the_database_says() -> None:
    actual = dataclasses.replace(CONVERGED, available=("pg_trgm",))
    (statement,) = _postgres.plan(dataclasses.replace(WANTED, extensions=("pg_trgm",)), actual).statements
    assert "search_path" not in statement and statement.endswith('CREATE EXTENSION IF NOT EXISTS "pg_trgm" CASCADE;')


@pytest.mark.parametrize(
    ("provider", "locale", "clause"),
    [
        ("builtin", "C.UTF-8", "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"),
        ("icu", "de-DE", "LOCALE_PROVIDER icu ICU_LOCALE 'de-DE'"),
        ("libc", "C.UTF-8", "LOCALE_PROVIDER libc LOCALE 'C.UTF-8'"),
    ],
)
def test_create_database(provider: str, locale: str, clause: str) -> None:
    plan = _postgres.plan(dataclasses.replace(WANTED, locale=locale, locale_provider=provider), Actual())
    assert plan.statements[1] == f'CREATE DATABASE "music" OWNER "music" TEMPLATE template0 ENCODING \'UTF8\' {clause};'


def test_no_password_in_a_statement() -> None:
    plan = _postgres.plan(dataclasses.replace(WANTED, superuser_password="boss word"), dataclasses.replace(CONVERGED, role=None))
    text = _postgres.script(plan.statements)
    assert "correct horse" not in text
    assert "boss word" not in text
    assert text.index("log_statement = 'none'") < text.index("SCRAM-SHA-256$")
    assert "SCRAM" not in json.dumps([plan.actions, plan.before, plan.after])


def test_no_verifier_in_an_error() -> None:
    text = "ERROR:  syntax error\nLINE 1: CREATE ROLE \"music\" PASSWORD 'SCRAM-SHA-256$4096:c2FsdA==$a:b';"
    assert _postgres.without_verifiers(text).endswith("PASSWORD '********';")


def test_answer_reads_what_psql_prints() -> None:
    line = json.dumps({"role": role(), "app": role(), "superuser_verifier": None, "database": database(), "available": ["pg_trgm"]})
    in_database = json.dumps({"extensions": ["pg_trgm", "plpgsql"], "app_lacks": ["tables"]})
    assert _postgres.answer(f"{line}\n{in_database}\n") == Actual(
        role=role(), app=role(), app_lacks=("tables",), database=database(), extensions=("pg_trgm", "plpgsql"), available=("pg_trgm",)
    )
    with pytest.raises(ValueError, match="gave no answer that can be read"):
        _postgres.answer("WARNING: nothing\n")
