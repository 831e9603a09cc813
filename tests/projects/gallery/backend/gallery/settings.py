# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of a site that is reached over HTTPS only, with variables of its own naming."""

import os
from pathlib import Path

import dj_database_url

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = os.environ["GALLERY_KEY"]
ALLOWED_HOSTS = os.environ["GALLERY_HOSTS"].split()

SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = True
SECURE_HSTS_SECONDS = 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
CSRF_COOKIE_SECURE = True

INSTALLED_APPS = ["django.contrib.staticfiles", "photos"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "gallery.urls"
# Seen from the directory that the site is started in, the top of the repository.
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": ["frontend/pages"]}]

DATABASES = {"default": dj_database_url.config(env="GALLERY_DB_URL")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "collected"
STATICFILES_DIRS = [BASE_DIR.parent / "frontend" / "static"]
# What is shown, and below it, outside of the source, what was sent.
MEDIA_URL = "/pictures/"
MEDIA_ROOT = BASE_DIR / "pictures"
ORIGINALS_URL = "/originals/"
ORIGINALS_ROOT = "/var/lib/gallery/originals"
FILE_UPLOAD_PERMISSIONS = 0o644
