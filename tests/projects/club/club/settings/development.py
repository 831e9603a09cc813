# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from club.settings.base import *  # noqa: F403
from club.settings.base import INSTALLED_APPS

DEBUG = True
# Not among the requirements: what runs with these settings by mistake says so.
INSTALLED_APPS = [*INSTALLED_APPS, "debug_toolbar"]
