# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of the music site. Everything that differs between two places where it runs comes from the environment."""

from __future__ import annotations

from pathlib import Path

from site_settings import environment as env

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = env.text("SECRET_KEY")
DEBUG = env.boolean("DEBUG")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")

# --- security ---------------------------------------------------------------------------------------------------------------------
# Off where the site is served over plain HTTP (the lab); its inventory says by name which checks that fails on purpose.

HTTPS = env.boolean("HTTPS", default=True)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_SSL_REDIRECT = env.boolean("SECURE_SSL_REDIRECT", default=HTTPS)
SECURE_HSTS_SECONDS = env.integer("SECURE_HSTS_SECONDS", 31_536_000 if HTTPS else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SECURE_HSTS_SECONDS > 0
# Only where a proxy in front sets the header itself, whatever the client sent.
if env.boolean("SECURE_PROXY", default=True):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_REDIRECT_EXEMPT = [r"^health/$"]
X_FRAME_OPTIONS = "DENY"

# --- application ------------------------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "songs",
]
MIDDLEWARE = [
    "songs.middleware.served_by",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "site_settings.urls"
WSGI_APPLICATION = "site_settings.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
REST_FRAMEWORK = {
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.LimitOffsetPagination",
    "PAGE_SIZE": 50,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}

# --- database ---------------------------------------------------------------------------------------------------------------------

# Connections of Django's own pool are the pool's to keep.
persistent = {"CONN_MAX_AGE": 0 if env.pool() else env.integer("CONN_MAX_AGE", 60), "CONN_HEALTH_CHECKS": True}
# A pool in front (PgBouncer) keeps no session, and so no cursor between two statements.
persistent["DISABLE_SERVER_SIDE_CURSORS"] = env.boolean("DATABASE_POOLED")
DATABASES = {"default": env.database() | persistent}
# Where there is a replica (a cluster of database servers), it is read from.
if replica := env.replica():
    DATABASES["replica"] = replica | persistent | {"TEST": {"MIRROR": "default"}}
    DATABASE_ROUTERS = ["site_settings.replica.ReadsFromReplica"]
    MIDDLEWARE.insert(
        MIDDLEWARE.index("django.contrib.sessions.middleware.SessionMiddleware") + 1, "site_settings.replica.reads_own_writes"
    )
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SESSION_ENGINE = "django.contrib.sessions.backends.db"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

# --- files ------------------------------------------------------------------------------------------------------------------------

STATIC_URL = env.text("STATIC_URL", "/static/")
STATIC_ROOT = env.text("STATIC_ROOT", str(BASE_DIR / "static"))
MEDIA_URL = env.text("MEDIA_URL", "/media/")
MEDIA_ROOT = env.text("MEDIA_ROOT", str(BASE_DIR / "media"))
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
}
FILE_UPLOAD_PERMISSIONS = 0o644

# --- the rest ---------------------------------------------------------------------------------------------------------------------

LANGUAGE_CODE = "en-us"
TIME_ZONE = env.text("TIME_ZONE", "UTC")
USE_TZ = True
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain", "level": env.text("LOG_LEVEL", "INFO")}},
    "root": {"handlers": ["console"], "level": "DEBUG"},
}
