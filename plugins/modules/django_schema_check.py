#!/usr/bin/python
# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: django_schema_check
short_description: Refuse a release that cannot run on the schema as it is
description:
  - For going back to an older release. It asks that release which applied migrations it does not know, and the release that serves which of
    those it cannot run on, by the rules of M(berth.django.django_migrate). A column or a table that came later is in nobody's way, unless
    it is NOT NULL without a default in the database; one that is gone, renamed or of another type is.
  - The task fails when that release cannot run, names the migrations, and says how to go on.
  - C(RunPython) and blocks of procedural SQL are not looked into.
version_added: 0.2.0
author: berth.django contributors
extends_documentation_fragment:
  - berth.django._django
attributes:
  check_mode:
    support: full
    details: >-
      Asks, and fails, as it does outside of check mode. Where nothing can be asked (no Docker Engine, no image, no database yet) nothing
      fails: RV(unknown) says why.
  diff_mode:
    support: none
    details: It changes nothing.
options:
  serving:
    description:
      - Name of the running container of the release that serves now. Without it, every applied migration that the older release does not
        know counts as one that it cannot run on.
      - It is on the same host, and has the same O(python), O(chdir), O(working_directory) and O(settings).
    type: str
  serving_image:
    description: Its image, which is asked in a throw-away container like that of O(service) where O(serving) does not run.
    type: str
  database:
    description: Alias of the database in the project's C(DATABASES).
    type: str
    default: default
"""

EXAMPLES = r"""
- name: Ask the release of yesterday whether it can serve again
  berth.django.django_schema_check:
    service: "{{ __django_uwsgi_service | combine({'image': 'registry.example.com/shop-app:8d2f6c1e'}) }}"
    serving: shop-django_uwsgi-5b1d0c2f7a90

- name: Make it able to, when it cannot and nothing of value is lost
  berth.django.django_migrate:
    container: shop-django_uwsgi-5b1d0c2f7a90
    app: orders
    migration: 0007_invoice
"""

RETURN = r"""
unknown_migrations:
  description: Applied migrations that the older release does not know, in the order in which they were applied.
  type: list
  elements: str
  returned: when the database was asked
  sample: [orders.0008_remove_note]
missing_migrations:
  description: Migrations that it needs, and that are not applied.
  type: list
  elements: str
  returned: when the database was asked
incompatible:
  description: What it cannot run on, as in RV(berth.django.django_migrate#module:unsafe).
  type: list
  elements: dict
  returned: when the database was asked
back_to:
  description: For each app that is in the way, the migration to go back to in the release that serves.
  type: dict
  returned: when the database was asked
  sample: {orders: 0007_invoice}
unknown:
  description: What check mode cannot know, one sentence each.
  type: list
  elements: str
  returned: in check mode
"""

import dataclasses

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.berth.django.plugins.module_utils import _django, _manage
from ansible_collections.berth.django.plugins.module_utils._shell import EngineError


def check(module: AnsibleModule, project: _manage.Project) -> dict[str, object]:
    """Uses of `module`: its parameters."""
    serving = module.params["serving"]
    found = ask(project, "compare", module.params["database"])
    answer = {"incompatible": [], "strange": [".".join(key) for key in found["unknown"]], "back_to": {}}
    if found["unknown"] and serving:
        answer = ask_serving(module, project, serving, found["unknown"])
    result = dict(
        changed=False,
        unknown_migrations=[".".join(key) for key in found["unknown"]],
        missing_migrations=found["missing"],
        incompatible=answer["incompatible"],
        back_to=answer["back_to"],
        unknown=[],
    )
    release = project.service.image if project.service else project.container
    problem = _django.schema_problem(release, serving, found["missing"], answer)
    if problem:
        raise _manage.CommandFailed(problem, **result)
    return result


def ask_serving(module: AnsibleModule, project: _manage.Project, serving: str, unknown: list[object]) -> dict:
    """A rollback is wanted most when what serves has crashed."""
    database, image = module.params["database"], module.params["serving_image"]
    try:
        other = _manage.another(project, serving, module.params["entrypoint"] is not None)
        return ask(other, "cannot_run", database, unknown=unknown)
    except EngineError:
        if not (image and project.service):
            raise
    of_image = dataclasses.replace(project, service=dataclasses.replace(project.service, image=image), container="")
    return ask(of_image, "cannot_run", database, unknown=unknown)


def ask(project: _manage.Project, do: str, database: str, **more: object) -> dict:
    answer = project.ask({"do": do, "database": database, **more}, label="schema")
    if "error" not in answer:
        return answer
    if project.check_mode:
        raise _manage.Unknown(answer["error"])
    raise _manage.CommandFailed(answer["error"], changed=False)


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            **_django.ARGUMENT_SPEC,
            serving=dict(type="str"),
            serving_image=dict(type="str"),
            database=dict(type="str", default="default"),
        ),
        required_one_of=_django.ONE_OF,
        mutually_exclusive=_django.ONE_OF,
        supports_check_mode=True,
    )
    _manage.execute(module, lambda project: check(module, project))


if __name__ == "__main__":
    main()
