#!/usr/bin/python
# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: django_drift
short_description: Ask whether a Django project that serves is as it should be
description:
  - Asks for migrations, the superuser and static files at once, and starts Django once for it. On an unchanged fleet that is all that has to
    be asked; where something differs, M(berth.django.django_migrate), M(berth.django.django_superuser) and
    M(berth.django.django_collectstatic) bring it back.
  - Changes nothing.
version_added: 0.2.0
author: berth.django contributors
extends_documentation_fragment:
  - berth.django._django
attributes:
  check_mode:
    support: full
    details: Does the same.
  diff_mode:
    support: none
options:
  migrations:
    description: Ask whether there are migrations to apply to the database V(default).
    type: bool
    default: true
  superuser:
    description: The superuser to ask for, as M(berth.django.django_superuser) keeps it. Not asked for when not given.
    type: dict
    suboptions:
      username:
        description: The account's name.
        type: str
        required: true
      password:
        description: The password. It goes through standard input.
        type: str
        required: true
      email:
        description: The address.
        type: str
      fields:
        description: More fields, name and value.
        type: dict
        default: {}
  static_root:
    description:
      - The project's C(STATIC_ROOT), a mount of O(service). Asks whether its files are as M(berth.django.django_collectstatic) left them for
        this very image, settings and secrets, without Django.
      - Not asked for when not given.
    type: str
"""

EXAMPLES = r"""
- name: Ask whether anything is left to do
  berth.django.django_drift:
    service: "{{ __django_uwsgi_service }}"
    static_root: /srv/static
  register: asked

- name: Collect static files
  berth.django.django_collectstatic:
    service: "{{ __django_uwsgi_service }}"
    root: /srv/static
  when: asked.drifted | default(true)
"""

RETURN = r"""
drifted:
  description: Whether anything is not as it should be, or could not be asked.
  type: bool
  returned: success, unless check mode cannot know
reasons:
  description: What is not, one phrase each.
  type: list
  elements: str
  returned: success, unless check mode cannot know
  sample: ["migrations are not applied: songs.0002_covers"]
unknown:
  description: What check mode cannot know, one sentence each.
  type: list
  elements: str
  returned: in check mode
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.berth.django.plugins.module_utils import _django, _manage, _static_record

# What a look at the plan needs to be told.
LOOK = dict(database="default", app="", migration="", fake=False, apply=False, sql=False, check_deploy="", silenced_checks=[])


def drift(module: AnsibleModule, project: _manage.Project) -> dict[str, object]:
    """Uses of `module`: its parameters."""
    reasons = reasons_for(module, project) if project.serves or not project.service else ["the service does not run as it is described"]
    return dict(changed=False, drifted=bool(reasons), reasons=reasons, unknown=[])


def reasons_for(module: AnsibleModule, project: _manage.Project) -> list[str]:
    directory = _static_record.host_directory(project.service, module.params["static_root"])
    key = _static_record.key_of(project.service.instance if project.service else "", project.chdir, project.settings)
    if directory and _static_record.recall(directory, key) is None:
        return ["static files are not as collectstatic left them"]
    superuser = module.params["superuser"]
    if not (module.params["migrations"] or superuser):
        return []
    request = dict(
        do="drift",
        migrate=LOOK if module.params["migrations"] else None,
        superuser=superuser and {**superuser, "email": superuser["email"] or "", "apply": False, "update_password": True, "database": "default"},
    )
    answer = project.ask(request, label="drift")
    return [answer["error"]] if "error" in answer else answer["reasons"]


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            **_django.ARGUMENT_SPEC,
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
            static_root=dict(type="str"),
        ),
        required_one_of=_django.ONE_OF,
        mutually_exclusive=_django.ONE_OF,
        supports_check_mode=True,
    )
    _manage.execute(module, lambda project: drift(module, project))


if __name__ == "__main__":
    main()
