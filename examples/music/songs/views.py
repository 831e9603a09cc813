# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import logging
import time

from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from songs.models import Song
from songs.serializers import SongSerializer

SLOWEST = 10.0
NEWEST = 20
logger = logging.getLogger(__name__)


class SongViewSet(mixins.CreateModelMixin, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Songs, the newest first. A cover is uploaded as multipart/form-data."""

    queryset = Song.objects.all()
    serializer_class = SongSerializer

    @action(detail=True, methods=["post"])
    def play(self, request: Request, pk: str | None = None) -> Response:
        song = self.get_object()
        song.play()
        return Response(self.get_serializer(song).data)


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    return render(request, "songs/index.html", {"songs": Song.objects.all()[:NEWEST]})


@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """200 when the database answers, else 503 and one line in the log: this is asked every few seconds."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        logger.error("The database does not answer: %s", error)
        return HttpResponse("the database does not answer\n", status=503, content_type="text/plain")
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
def slow(request: HttpRequest) -> HttpResponse:
    """Answers after ?seconds= (10 at most): a request to have in flight while something is replaced."""
    try:
        seconds = min(max(float(request.GET.get("seconds", "1")), 0.0), SLOWEST)
    except ValueError:
        return JsonResponse({"seconds": "A number is needed."}, status=400)
    time.sleep(seconds)
    return JsonResponse({"slept": seconds})
