# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from brochure.settings import secret
from django.contrib.auth.models import User
from django.core.management.commands import migrate


class Command(migrate.Command):
    """Django's own, and the account that everything else needs."""

    def handle(self, *args, **options):
        super().handle(*args, **options)
        if not User.objects.filter(is_superuser=True).exists():
            User.objects.create_superuser("admin", password=secret("BROCHURE_ADMIN_PASSWORD"))
            self.stdout.write("Created the account admin.")
