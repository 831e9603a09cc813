#!/usr/bin/python
# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: django_command
short_description: Run any manage.py command of a Django project
description:
  - For commands that have no module of their own. Prefer M(berth.django.django_migrate), M(berth.django.django_collectstatic) and
    M(berth.django.django_superuser), which know what a change is.
  - The task fails when the command does, with the lines of its output that matter.
version_added: 0.1.0
author: berth.django contributors
extends_documentation_fragment:
  - berth.django._django
attributes:
  check_mode:
    support: partial
    details: >-
      Only a command that is said to be O(read_only=true) runs in check mode. Any other is not run, reported as changed, and named in
      RV(unknown), since nobody can know what it would do.
  diff_mode:
    support: none
    details: What a command changes is not known.
options:
  command:
    description: Name of the command, for example V(clearsessions).
    type: str
    required: true
  args:
    description: Its arguments, one word each. They can be read in the host's process list, so a secret goes to O(stdin).
    type: list
    elements: str
    default: []
  stdin:
    description: Text for the command's standard input.
    type: str
  read_only:
    description: Says that the command changes nothing. It then runs in check mode, too, and is never reported as changed.
    type: bool
    default: false
  changed_pattern:
    description: >-
      What a change is. With this regular expression the task is changed when it is found in the command's standard output, line starts and
      ends matching C(^) and C($). Without it, and without O(read_only), a command that succeeded counts as a change.
    type: str
"""

EXAMPLES = r"""
- name: Forget old sessions
  berth.django.django_command:
    service: "{{ __django_uwsgi_service }}"
    command: clearsessions

- name: Load the first songs
  berth.django.django_command:
    container: music-django_uwsgi-5b1d0c2f7a90
    command: loaddata
    args: [songs/fixtures/first.json]
    changed_pattern: ^Installed [1-9]

- name: See which migrations are there
  berth.django.django_command:
    service: "{{ __django_uwsgi_service }}"
    command: showmigrations
    args: [--plan]
    read_only: true
  register: __django_uwsgi_migrations
"""

RETURN = r"""
stdout:
  description: What the command printed.
  type: str
  returned: when it was run
stderr:
  description: What it printed to standard error.
  type: str
  returned: when it was run
exit_code:
  description: Its exit code. Not called C(rc), which Ansible itself judges.
  type: int
  returned: when it was run
unknown:
  description: What check mode cannot know, one sentence each.
  type: list
  elements: str
  returned: in check mode
"""

import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.berth.django.plugins.module_utils import _django, _manage


def command(module: AnsibleModule, project: _manage.Project) -> dict[str, object]:
    """Uses of `module`: its parameters and check_mode."""
    values = module.params
    name, pattern = values["command"], values["changed_pattern"]
    if module.check_mode and not values["read_only"]:
        return dict(changed=True, unknown=[f"what manage.py {name} would do"])
    outcome = project.manage(name, values["args"], stdin=values["stdin"] or "")
    if outcome.rc != 0:
        error = _manage.failed(f"manage.py {name}", outcome)
        if module.check_mode:
            raise _manage.Unknown(str(error))
        raise error
    found = re.search(pattern, outcome.out, re.MULTILINE) if pattern else True
    return dict(
        changed=bool(found) and not values["read_only"],
        exit_code=outcome.rc,
        stdout=outcome.out,
        stderr=outcome.err,
        unknown=[],
    )


def pattern_error(pattern: str | None) -> str:
    try:
        re.compile(pattern or "")
    except re.error as error:
        return f"changed_pattern is not a regular expression: {error}"
    return ""


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            **_django.ARGUMENT_SPEC,
            command=dict(type="str", required=True),
            args=dict(type="list", elements="str", default=[]),
            stdin=dict(type="str", no_log=True),
            read_only=dict(type="bool", default=False),
            changed_pattern=dict(type="str"),
        ),
        required_one_of=_django.ONE_OF,
        mutually_exclusive=[*_django.ONE_OF, ("read_only", "changed_pattern")],
        supports_check_mode=True,
    )
    problem = pattern_error(module.params["changed_pattern"])
    if problem:
        module.fail_json(msg=problem)
    _manage.execute(module, lambda project: command(module, project))


if __name__ == "__main__":
    main()
