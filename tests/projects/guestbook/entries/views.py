# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import json

from django.http import JsonResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt

from entries import VERSION
from entries.models import Entry


def index(request):
    return render(request, "index.html", {"entries": Entry.objects.all()[:20], "version": VERSION})


@csrf_exempt
def entries(request):
    if request.method == "POST":
        said = json.loads(request.body)
        entry = Entry.objects.create(name=said["name"], text=said["text"])
        return JsonResponse({"id": entry.pk}, status=201)
    return JsonResponse({"entries": list(Entry.objects.values("id", "name", "text"))})
