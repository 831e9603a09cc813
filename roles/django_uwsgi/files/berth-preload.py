# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Imported by uWSGI's master before it forks, so that processes share what they would each have to read: what Django itself is made of.

Nothing of the project runs here, no settings are read, and no connection is made that processes would share; those come with each process
(lazy-apps). What a version of Django does not have, or a driver that is not there, is left to whoever needs it.
"""

import contextlib
import importlib

for _name in (
    "django.core.handlers.wsgi",
    "django.core.management",
    "django.db.backends.postgresql.base",
    "django.db.models",
    "django.forms",
    "django.middleware.csrf",
    "django.template.backends.django",
    "django.urls",
    "django.views.debug",
):
    with contextlib.suppress(Exception):
        importlib.import_module(_name)
