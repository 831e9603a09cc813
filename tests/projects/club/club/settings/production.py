# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import os

from club.settings.base import *  # noqa: F403

SECRET_KEY = os.environ["CLUB_SECRET"]
ALLOWED_HOSTS = os.environ["ALLOWED_HOSTS"].split(",")
CSRF_COOKIE_SECURE = SESSION_COOKIE_SECURE = True
