# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from django.core.management.base import BaseCommand
from jobs.packing import pack


class Command(BaseCommand):
    help = "Packs the collected style sheets into one file."
    requires_system_checks = ()

    def handle(self, **options):
        self.stdout.write(f"Packed into {pack()}.")
