# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from django.db import models


class Job(models.Model):
    text = models.CharField(max_length=200)
    seconds = models.FloatField(default=0)  # that printing it takes
    copies = models.PositiveIntegerField(default=0)  # 1, unless two printers took the same job
    printed_by = models.TextField(blank=True)

    def __str__(self):
        return self.text


class Edition(models.Model):
    """One for each minute, once on the whole fleet."""

    appeared = models.DateTimeField(auto_now_add=True)
    published_by = models.TextField()

    def __str__(self):
        return str(self.appeared)
