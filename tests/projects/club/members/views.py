# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import json

from club import VERSION
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt

from members.models import Member


def about(request):
    return render(request, "about.html", {"version": VERSION, "count": Member.objects.count()})


@csrf_exempt
def members(request):
    if request.method == "POST":
        said = json.loads(request.body)
        member = Member.objects.create_user(said["email"], full_name=said["full_name"])
        return JsonResponse({"id": member.pk}, status=201)
    return JsonResponse({"members": list(Member.objects.order_by("-pk").values("id", "full_name"))})


def up(request):
    return HttpResponse(status=204)
