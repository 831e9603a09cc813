# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from django.core.management.base import BaseCommand
from jobs.models import Edition
from press import signature


class Command(BaseCommand):
    help = "Publishes one edition. To be run every minute, on one host."

    def handle(self, **options):
        edition = Edition.objects.create(published_by=signature())
        self.stdout.write(f"Edition {edition.pk} appeared.")
