# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from django.db import models


class Enquiry(models.Model):
    email = models.EmailField()
    text = models.TextField()

    def __str__(self):
        return self.email
