# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from django.core.management.base import BaseCommand
from photos.environment import notices
from photos.models import Variable


class Command(BaseCommand):
    help = "Stores the notices of its environment, so that the site can show that it has the same."

    def handle(self, **options):
        for name, value in notices().items():
            Variable.objects.update_or_create(name=name, defaults={"value": value})
