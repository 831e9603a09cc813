# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import signal
import threading
import time
from pathlib import Path

from django.core.management.base import BaseCommand
from django.db import transaction
from jobs.models import Job
from press import signature

# Touched at every turn: an old one means that the printer is stuck.
ALIVE = Path("/tmp/print_jobs.alive")


class Command(BaseCommand):
    help = "Prints jobs until it is told to end (SIGTERM), when it ends the one in hand first."

    def handle(self, **options):
        end = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: end.set())
        while not end.is_set():
            ALIVE.touch()
            if not print_next():
                end.wait(0.5)
        self.stdout.write("Ended, with no job in hand.")


def print_next():
    """Others pass over a row that is locked here, so any number of printers may run."""
    with transaction.atomic():
        job = Job.objects.select_for_update(skip_locked=True).filter(copies=0).order_by("pk").first()
        if job:
            time.sleep(job.seconds)
            job.copies += 1
            job.printed_by = signature()
            job.save()
    return job
