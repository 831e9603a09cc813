# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from rest_framework.routers import DefaultRouter
from songs import views

router = DefaultRouter()
router.register("music", views.SongViewSet)

urlpatterns = [
    path("", views.index),
    path("admin/", admin.site.urls),
    path("api/slow/", views.slow),
    path("api/", include(router.urls)),
    path("health/", views.health),
]
