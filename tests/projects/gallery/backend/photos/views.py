# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from gallery import VERSION

from photos.environment import notices
from photos.models import Photo, Variable


def index(request):
    return render(request, "index.html", {"photos": Photo.objects.order_by("-pk")[:20], "version": VERSION})


@csrf_exempt
def photos(request):
    if request.method == "POST":
        photo = Photo(title=request.POST["title"], picture=request.FILES["picture"], original=request.FILES["original"])
        photo.save()
        return JsonResponse(described(photo), status=201)
    return JsonResponse({"photos": [described(photo) for photo in Photo.objects.order_by("-pk")]})


def described(photo):
    return {"id": photo.pk, "title": photo.title, "picture": photo.picture.url, "original": photo.original.url}


def environment(request):
    return JsonResponse({"web": notices(), "command": dict(Variable.objects.values_list("name", "value"))})


def health(request):
    return HttpResponse("ok\n", content_type="text/plain")
