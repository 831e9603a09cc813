# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""What is not as it should be in a Django project that serves: asked at once, since starting Django is what asking costs."""

from __future__ import annotations

import typing as t

from ansible_collections.berth.django.plugins.module_utils import _deploy_lock, _manage, _static_wanted

# On top of where and how manage.py is run.
ARGUMENT_SPEC: dict[str, t.Any] = dict(
    migrations=dict(type="bool", default=True),
    superuser=dict(
        type="dict",
        options=dict(
            username=dict(type="str", required=True),
            password=dict(type="str", required=True, no_log=True),
            email=dict(type="str"),
            fields=dict(type="dict", default={}),
        ),
    ),
    static=dict(type="dict", options=_static_wanted.ARGUMENT_SPEC),
)
# What a look at the plan of migrations, and one at the superuser, need to be told.
PLAN = dict(database="default", app="", migration="", fake=False, apply=False, sql=False, known=None, check_deploy="", silenced_checks=[])
SUPERUSER = dict(database="default", apply=False, update_password=True)
Told = tuple[list[str], list[str]]


def reasons(project: _manage.Project, parameters: t.Mapping[str, t.Any]) -> Told:
    """One phrase for all that differs, and warnings about what does not."""
    service = project.service
    if service and not project.serves:
        return ["the project does not run as it is described"], []
    found = ["static files are not as they were left"] if lacks_static_files(project, parameters["static"]) else []
    if service and _deploy_lock.read(_deploy_lock.path_in(service.directory)):
        found.append("a deploy runs, or was killed and has left its lock")
    superuser = parameters["superuser"]
    if not (parameters["migrations"] or superuser):
        return found, []
    request = dict(
        do="drift",
        migrate=PLAN if parameters["migrations"] else None,
        superuser=superuser and {**superuser, **SUPERUSER, "email": superuser["email"] or ""},
    )
    answer = project.ask(request, label="shell")
    return ([*found, answer["error"]], []) if "error" in answer else ([*found, *answer["reasons"]], answer["warnings"])


def lacks_static_files(project: _manage.Project, static: t.Mapping[str, t.Any] | None) -> bool:
    """Where they are no files of this host, only collectstatic itself can tell."""
    if not static:
        return False
    wanted = _static_wanted.wanted_of(static, project)
    return _static_wanted.recalled(static, project, wanted) is None if wanted.directory else False
