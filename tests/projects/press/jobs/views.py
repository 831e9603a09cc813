# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import json

from django.http import JsonResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from press import VERSION

from jobs.models import Edition, Job
from jobs.packing import packed_url


def index(request):
    return render(request, "index.html", {"packed": packed_url(), "jobs": Job.objects.order_by("-pk")[:20], "version": VERSION})


@csrf_exempt
def jobs(request):
    if request.method == "POST":
        said = json.loads(request.body)
        job = Job.objects.create(text=said["text"], seconds=said.get("seconds", 0))
        return JsonResponse({"id": job.pk}, status=201)
    return JsonResponse({"jobs": list(Job.objects.order_by("-pk").values("id", "text", "copies", "printed_by")[:100])})


def editions(request):
    return JsonResponse({"editions": list(Edition.objects.order_by("-pk").values("id", "appeared", "published_by")[:100])})
