# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets are files, each named by a variable."""

import os
from pathlib import Path


def secret(name):
    return Path(os.environ[f"{name}_FILE"]).read_text().strip()


SECRET_KEY = secret("BROCHURE_SECRET_KEY")
ALLOWED_HOSTS = os.environ["ALLOWED_HOSTS"].split(",")
CSRF_COOKIE_SECURE = True

INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "pages"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "brochure.urls"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ["BROCHURE_DB_HOST"],
        "NAME": os.environ["BROCHURE_DB_NAME"],
        "USER": os.environ["BROCHURE_DB_USER"],
        "PASSWORD": secret("BROCHURE_DB_PASSWORD"),
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

# What public/assets/v1 holds is made by the designers, and committed.
STATIC_URL = "/assets/v1/"
