# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest import mock

from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from django.test import TestCase, override_settings
from rest_framework.test import APITestCase

from songs.models import Song

PLAIN_STATIC_FILES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 16


class SongsTest(APITestCase):
    def test_a_song_posted_is_listed(self) -> None:
        created = self.client.post("/api/music/", {"title": "So What", "artist": "Miles Davis"})
        self.assertEqual(created.status_code, 201, created.content)
        listed = self.client.get("/api/music/").json()
        self.assertEqual([song["title"] for song in listed["results"]], ["So What"])

    def test_the_newest_is_first(self) -> None:
        for title in ("one", "two"):
            Song.objects.create(title=title, artist="someone")
        titles = [song["title"] for song in self.client.get("/api/music/").json()["results"]]
        self.assertEqual(titles, ["two", "one"])

    def test_a_song_needs_a_title(self) -> None:
        refused = self.client.post("/api/music/", {"artist": "Miles Davis"})
        self.assertEqual(refused.status_code, 400)
        self.assertIn("title", refused.json())

    def test_plays_are_counted_and_cannot_be_set(self) -> None:
        song = self.client.post("/api/music/", {"title": "a", "artist": "b", "play_count": 1000}).json()
        self.assertEqual(song["play_count"], 0)
        for expected in (1, 2):
            self.assertEqual(self.client.post(f"/api/music/{song['id']}/play/").json()["play_count"], expected)


class CoversTest(APITestCase):
    def setUp(self) -> None:
        media = tempfile.TemporaryDirectory()
        self.addCleanup(media.cleanup)
        self.media = Path(media.name)
        self.enterContext(override_settings(MEDIA_ROOT=media.name))

    def post(self, name: str, content: bytes):
        cover = SimpleUploadedFile(name, content)
        return self.client.post("/api/music/", {"title": "a", "artist": "b", "cover": cover}, format="multipart")

    def test_a_cover_is_stored_under_media(self) -> None:
        created = self.post("cover.png", PNG)
        self.assertEqual(created.status_code, 201, created.content)
        self.assertIn("/media/covers/", created.json()["cover"])
        self.assertEqual([path.read_bytes() for path in self.media.rglob("*.png")], [PNG])

    def test_what_is_no_image_is_refused(self) -> None:
        for name, content in (("cover.png", b"<script>"), ("cover.html", PNG), ("cover.jpg", PNG)):
            with self.subTest(name):
                self.assertEqual(self.post(name, content).status_code, 400)
        self.assertEqual(list(self.media.rglob("*.*")), [])


class SiteTest(TestCase):
    def test_health_asks_the_database(self) -> None:
        self.assertEqual(self.client.get("/health/").content, b"ok\n")
        with mock.patch("songs.views.connection.cursor", side_effect=OperationalError("gone")):
            self.assertEqual(self.client.get("/health/").status_code, 503)

    @override_settings(ALLOWED_HOSTS=["music.example.com"])
    def test_an_unknown_host_is_refused(self) -> None:
        self.assertEqual(self.client.get("/health/", headers={"host": "elsewhere.example.com"}).status_code, 400)

    def test_slow_is_bounded(self) -> None:
        with mock.patch("songs.views.time.sleep") as sleep:
            self.assertEqual(self.client.get("/api/slow/?seconds=3600").json(), {"slept": 10.0})
            self.assertEqual(self.client.get("/api/slow/?seconds=soon").status_code, 400)
        sleep.assert_called_once_with(10.0)

    def test_who_answered_is_told(self) -> None:
        self.assertTrue(self.client.get("/health/")["X-Served-By"])

    @override_settings(STORAGES=PLAIN_STATIC_FILES)
    def test_a_song_is_on_the_page(self) -> None:
        self.assertContains(self.client.get("/"), "No songs yet")
        Song.objects.create(title="<So What>", artist="Miles Davis", cover="covers/so_what.png")
        page = self.client.get("/")
        self.assertContains(page, "<b>&lt;So What&gt;</b> Miles Davis", html=False)
        self.assertContains(page, 'src="/media/covers/so_what.png"')

    @override_settings(STORAGES=PLAIN_STATIC_FILES)
    def test_admin_logs_in_and_the_session_is_a_row(self) -> None:
        self.assertEqual(self.client.get("/admin/login/").status_code, 200)
        get_user_model().objects.create_superuser("boss", "boss@example.com", "correct horse battery")
        self.client.post("/admin/login/", {"username": "boss", "password": "correct horse battery", "next": "/admin/"})
        self.assertEqual(self.client.get("/admin/songs/song/").status_code, 200)
        from django.contrib.sessions.models import Session

        self.assertEqual(Session.objects.count(), 1)
