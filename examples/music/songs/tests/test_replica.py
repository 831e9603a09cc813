# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who reads from the replica, and who must not."""

from __future__ import annotations

import os
from unittest import mock

from django.contrib.sessions.models import Session
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, SimpleTestCase, TransactionTestCase
from site_settings import environment, replica

from songs.models import Song

ROUTER = replica.ReadsFromReplica()


def reads(request: HttpRequest, writes: bool = False) -> tuple[list[str], HttpResponse]:
    """Where a request reads songs from, before and after it has written, if it does."""
    seen: list[str] = []

    def view(_request: HttpRequest) -> HttpResponse:
        seen.append(ROUTER.db_for_read(Song))
        if writes:
            assert ROUTER.db_for_write(Song) == "default"
        seen.append(ROUTER.db_for_read(Song))
        return HttpResponse()

    response = replica.reads_own_writes(view)(request)
    return seen, response


class RouterTest(TransactionTestCase):
    def test_a_request_that_only_reads(self) -> None:
        seen, response = reads(RequestFactory().get("/"))
        self.assertEqual(seen, ["replica", "replica"])
        self.assertNotIn("wrote", response.cookies)

    def test_what_was_written_is_read_where_it_was_written(self) -> None:
        seen, response = reads(RequestFactory().get("/"), writes=True)
        self.assertEqual(seen, ["replica", "default"])
        self.assertEqual(response.cookies["wrote"]["max-age"], 5)

    def test_a_request_that_may_write_reads_from_the_primary(self) -> None:
        self.assertEqual(reads(RequestFactory().post("/"))[0], ["default", "default"])

    def test_a_client_that_just_wrote_does_as_well(self) -> None:
        request = RequestFactory().get("/")
        request.COOKIES["wrote"] = "1"
        self.assertEqual(reads(request)[0], ["default", "default"])

    def test_the_next_request_begins_anew(self) -> None:
        reads(RequestFactory().get("/"), writes=True)
        self.assertEqual(reads(RequestFactory().get("/"))[0], ["replica", "replica"])

    def test_in_a_transaction_all_is_on_the_primary(self) -> None:
        with transaction.atomic():
            self.assertEqual(ROUTER.db_for_read(Song), "default")

    def test_sessions_are_read_from_the_primary(self) -> None:
        self.assertEqual(ROUTER.db_for_read(Session), "default")

    def test_the_replica_is_never_migrated(self) -> None:
        self.assertTrue(ROUTER.allow_migrate("default", "songs"))
        self.assertFalse(ROUTER.allow_migrate("replica", "songs"))


class SettingsTest(SimpleTestCase):
    def test_a_replica_is_the_same_database_elsewhere(self) -> None:
        known = {"DATABASE_HOST": "db", "DATABASE_NAME": "music", "DATABASE_USER": "music", "DATABASE_PASSWORD": "secret"}
        with mock.patch.dict(os.environ, known, clear=True):
            self.assertEqual(environment.replica(), None)
            os.environ["DATABASE_REPLICA_PORT"] = "6433"
            found = environment.replica()
            assert found is not None
            self.assertEqual((found["HOST"], found["PORT"], found["NAME"]), ("db", "6433", "music"))
            os.environ["DATABASE_REPLICA_HOST"] = "other"
            found = environment.replica()
            assert found is not None
            self.assertEqual(found["HOST"], "other")

    def test_a_pool_keeps_what_else_is_said_of_connections(self) -> None:
        with mock.patch.dict(os.environ, {"DATABASE_URL": "postgresql://a:b@db/music?sslmode=require"}, clear=True):
            self.assertEqual(environment.database()["OPTIONS"], {"sslmode": "require"})
            os.environ["DATABASE_POOL_SIZE"] = "2"
            self.assertEqual(environment.database()["OPTIONS"], {"sslmode": "require", "pool": {"min_size": 1, "max_size": 2}})
