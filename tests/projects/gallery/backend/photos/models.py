# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from django.conf import settings
from django.core.files.storage import FileSystemStorage
from django.db import models


def originals():
    return FileSystemStorage(settings.ORIGINALS_ROOT, settings.ORIGINALS_URL)


class Photo(models.Model):
    title = models.CharField(max_length=200)
    picture = models.FileField(upload_to="%Y/")
    original = models.FileField(storage=originals)

    def __str__(self):
        return self.title


class Variable(models.Model):
    """What a command of manage.py found in its environment."""

    name = models.CharField(max_length=100, primary_key=True)
    value = models.TextField()

    def __str__(self):
        return self.name
