# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from django.contrib import admin

from songs.models import Song


@admin.register(Song)
class SongAdmin(admin.ModelAdmin):
    list_display = ["title", "artist", "play_count", "added"]
    list_filter = ["added"]
    search_fields = ["title", "artist"]
    readonly_fields = ["play_count", "added"]
