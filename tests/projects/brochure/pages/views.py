# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import base64
import json

from brochure import VERSION
from django.contrib.auth import authenticate
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt

from pages.models import Enquiry


def index(request):
    return render(request, "index.html", {"version": VERSION})


@csrf_exempt
def enquiries(request):
    """Anybody may write one, the admin may read them."""
    if request.method == "POST":
        said = json.loads(request.body)
        enquiry = Enquiry.objects.create(email=said["email"], text=said["text"])
        return JsonResponse({"id": enquiry.pk}, status=201)
    if not is_admin(request):
        return HttpResponse(status=401, headers={"WWW-Authenticate": "Basic"})
    return JsonResponse({"enquiries": list(Enquiry.objects.order_by("-pk").values("id", "email", "text"))})


def is_admin(request):
    words = base64.b64decode(request.headers.get("Authorization", "").removeprefix("Basic ")).decode()
    name, _, password = words.partition(":")
    user = authenticate(request, username=name, password=password)
    return user is not None and user.is_superuser
