#!/usr/bin/python
# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: django_drift
short_description: Ask whether a Django project that serves is as it should be
description:
  - Asks for migrations, the superuser and static files at once, and starts Django once for it. Where something differs,
    M(berth.django.django_migrate), M(berth.django.django_superuser) and M(berth.django.django_collectstatic) bring it back.
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
    details: It changes nothing, so there is nothing to show.
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
  static:
    description:
      - Options of M(berth.django.django_collectstatic). Asks, without Django, whether its files are as they were left for this very image,
        settings and secrets.
      - Not asked for when not given.
    type: dict
"""

EXAMPLES = r"""
- name: Ask whether anything is left to do
  berth.django.django_drift:
    service: "{{ __django_uwsgi_service }}"
    static: {root: /srv/static}
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
from ansible_collections.berth.django.plugins.module_utils import _django, _django_drift, _manage


def drift(module: AnsibleModule, project: _manage.Project) -> dict[str, object]:
    """Uses of `module`: its parameters and warn()."""
    reasons, warnings = _django_drift.reasons(project, module.params)
    for warning in warnings:
        module.warn(warning)
    return dict(changed=False, drifted=bool(reasons), reasons=reasons, unknown=[])


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(**_django.ARGUMENT_SPEC, **_django_drift.ARGUMENT_SPEC),
        required_one_of=_django.ONE_OF,
        mutually_exclusive=_django.ONE_OF,
        supports_check_mode=True,
    )
    _manage.execute(module, lambda project: drift(module, project))


if __name__ == "__main__":
    main()
