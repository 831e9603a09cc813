# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from unittest import mock

from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase
from site_settings import environment


class EnvironmentTest(SimpleTestCase):
    def test_database_url(self) -> None:
        found = environment.parse_url("postgresql://music:p%40ss@db.example.com:6432/music?sslmode=require")
        self.assertEqual(found["PASSWORD"], "p@ss")
        self.assertEqual((found["HOST"], found["PORT"], found["NAME"]), ("db.example.com", "6432", "music"))
        self.assertEqual(found["OPTIONS"], {"sslmode": "require"})

    def test_database_parts(self) -> None:
        parts = {f"DATABASE_{key}": key.lower() for key in ("HOST", "NAME", "USER", "PASSWORD")}
        with mock.patch.dict("os.environ", parts, clear=True):
            found = environment.database()
        self.assertEqual((found["HOST"], found["PORT"], found["PASSWORD"]), ("host", "5432", "password"))

    def test_what_is_wrong_is_named(self) -> None:
        for variables, ask, name in (
            ({}, lambda: environment.text("SECRET_KEY"), "SECRET_KEY"),
            ({"DEBUG": "maybe"}, lambda: environment.boolean("DEBUG"), "DEBUG"),
            ({"CONN_MAX_AGE": "long"}, lambda: environment.integer("CONN_MAX_AGE", 0), "CONN_MAX_AGE"),
            ({"DATABASE_URL": "mysql://x"}, environment.database, "DATABASE_URL"),
            ({}, environment.database, "DATABASE_HOST"),
        ):
            with self.subTest(name), mock.patch.dict("os.environ", variables, clear=True):
                self.assertRaisesRegex(ImproperlyConfigured, name, ask)

    def test_words(self) -> None:
        with mock.patch.dict("os.environ", {"ALLOWED_HOSTS": "a.example.com, .b.example.com,"}):
            self.assertEqual(environment.words("ALLOWED_HOSTS"), ["a.example.com", ".b.example.com"])
