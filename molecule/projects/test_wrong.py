# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each variable wrong in the most likely way: the first error shows the project's own line and names the variable. Nothing is touched."""

from __future__ import annotations

from typing import Any

import pytest
import sites
from fleet import GROUPS, on, playbook, processes

FAILS = """
from club.settings.production import *
MIDDLEWARE = [*MIDDLEWARE, "operator_settings.fail"]
def fail(get_response):
    def answer(request):
        raise RuntimeError("the cache is gone")
    return answer
"""
# What is wrong -> what the operator reads: what went wrong, in the words of whoever noticed, and what to look at.
WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a settings module that is not there": (
        {"django_uwsgi_settings_module": "club.settings.productoin"},
        ["No module named 'club.settings.productoin'", "django_uwsgi_settings_module"],
    ),
    "a WSGI module that is not there": (
        {"django_uwsgi_wsgi_module": "club.web.site:site"},
        ["No module named 'club.web.site'", "django_uwsgi_wsgi_module"],
    ),
    "a callable that is not there": (
        {"django_uwsgi_wsgi_module": "club.web.wsgi:application"},
        ["callable", "django_uwsgi_wsgi_module"],
    ),
    "a library that is missing while packages are built": (
        {"django_uwsgi_build_packages": []},
        ["pg_config", "django_uwsgi_build_packages"],
    ),
    "a library that is missing when it runs": ({"django_uwsgi_run_packages": []}, ["libpq.so.5", "django_uwsgi_run_packages"]),
    "a requirement without its hash": (
        {"django_uwsgi_extra_requirements": ["no-such-package-of-anybody==9.9"]},
        ["no-such-package-of-anybody", "django_uwsgi_require_hashes"],
    ),
    "a health path that is no page": ({"django_uwsgi_health_path": "/nothing"}, ["/nothing answered 404", "django_uwsgi_health_path"]),
    # Nothing of it is in the project's log.
    "a page that fails": (
        {"django_uwsgi_settings_module": "operator_settings", "django_uwsgi_settings_files": {"operator_settings.py": FAILS}},
        ["RuntimeError: the cache is gone", "django_uwsgi_health_path"],
    ),
    "a health check under another name": ({"django_uwsgi_health_host": "www.example.com"}, ["answered 400", "django_uwsgi_health_host"]),
    "a secret that is missing": (
        {"django_uwsgi_secrets": {"pgpassword": "a-password-of-no-database-7"}},
        ["KeyError: 'CLUB_SECRET'", "django_uwsgi_secrets"],
    ),
}
SHORT = ("a settings module that is not there",)


@pytest.mark.parametrize("what", [name if name in SHORT else pytest.param(name, marks=pytest.mark.long) for name in WRONG])
def test_the_first_error_names_the_variable(what: str) -> None:
    variables, words = WRONG[what]
    if "django_uwsgi_build_packages" in variables:  # what was built once is kept there, and would not be built again
        on(GROUPS["builder"][0], "docker builder prune --force --filter type=exec.cachemount", timeout=300)
    before = processes()
    run = playbook("--limit", "builder:club", name="playbooks/deploy.yml", variables={"django_uwsgi_start_wait": 20, **variables})
    said = " ".join(run.errors.split())
    assert run.rc != 0 and all(word in said for word in words), run.told
    assert "Traceback" not in run.out.replace("Traceback (most recent call last):", "", 1), "one is enough"
    assert processes() == before and sites.version("club") != "", run.told


@pytest.mark.long
def test_static_files_that_are_collected_elsewhere() -> None:
    """Its source says where: a directory of its image, which nobody may write to."""
    before = processes()
    run = playbook("--limit", "builder:gallery", name="playbooks/deploy.yml", variables={"django_uwsgi_static_root": "/srv/static"})
    said = " ".join(run.errors.split())
    assert run.rc != 0 and "/app/backend/collected" in said and "set django_uwsgi_static_root" in said, run.told
    assert processes() == before and sites.version("gallery") != "", run.told


@pytest.mark.long
def test_a_requirement_that_does_not_exist() -> None:
    """Of a project without hashes: a requirement that has none would be refused before it is looked for."""
    before = processes()
    variables = {"django_uwsgi_extra_requirements": ["no-such-package-of-anybody==9.9"]}
    run = playbook("--limit", "builder:gallery:press", name="playbooks/deploy.yml", variables=variables)
    said = " ".join(run.errors.split())
    assert run.rc != 0 and "no-such-package-of-anybody" in said and "django_uwsgi_extra_requirements" in said, run.told
    assert "building gallery-app" in run.out and "building press-app" in run.out, "one that fails keeps no other one from being built"
    assert processes() == before and sites.version("gallery") != "", run.told
