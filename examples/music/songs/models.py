# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.files.base import File
from django.core.validators import FileExtensionValidator
from django.db import models

COVER_LIMIT = 5 * 1024 * 1024
# First bytes -> the endings that such a file may have.
SIGNATURES = {b"\x89PNG\r\n\x1a\n": ("png",), b"\xff\xd8\xff": ("jpg", "jpeg"), b"RIFF": ("webp",)}
EXTENSIONS = [ending for endings in SIGNATURES.values() for ending in endings]


def validate_cover(cover: File) -> None:
    """An image by its first bytes, and small: enough here, and it needs no imaging library."""
    if cover.size > COVER_LIMIT:
        raise ValidationError(f"The cover is larger than {COVER_LIMIT // 1024 // 1024} MiB.")
    start = cover.read(8)
    cover.seek(0)
    if not any(start.startswith(signature) and cover.name.lower().endswith(endings) for signature, endings in SIGNATURES.items()):
        raise ValidationError(f"The cover is not an image of the kind that its name says ({', '.join(EXTENSIONS)}).")


class Song(models.Model):
    title = models.CharField(max_length=200)
    artist = models.CharField(max_length=200)
    cover = models.FileField(upload_to="covers/%Y/%m/", blank=True, validators=[FileExtensionValidator(EXTENSIONS), validate_cover])
    play_count = models.PositiveIntegerField(default=0, editable=False)
    added = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-added", "-pk"]
        indexes = [models.Index(fields=["-added", "-id"], name="songs_newest_first")]

    def __str__(self) -> str:
        return f"{self.artist}: {self.title}"

    def play(self) -> None:
        """Counts in the database, so that two players at once are both counted."""
        Song.objects.filter(pk=self.pk).update(play_count=models.F("play_count") + 1)
        self.refresh_from_db(fields=["play_count"])
