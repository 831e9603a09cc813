#!/usr/bin/python
# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: django_superuser
short_description: Keep one superuser of a Django project
description:
  - Creates the account when it is missing. When it is there, makes it an active superuser and staff with the given fields, and sets the
    password only when the given one does not verify, so that sessions stay valid on an unchanged run.
  - The password goes through standard input. It is in no argument, no environment and no result.
version_added: 0.1.0
author: berth.django contributors
extends_documentation_fragment:
  - berth.django._django
attributes:
  check_mode:
    support: full
    details: >-
      Asks the database and changes nothing. Where that cannot be asked (no Docker Engine, no image, no table of users yet) nothing fails:
      RV(unknown) says why.
  diff_mode:
    support: full
    details: Shows the names of the fields that differ, never a password.
options:
  username:
    description: The account's name, whatever field of the user model holds it. An e-mail address where that is the name.
    type: str
    required: true
  password:
    description: The password.
    type: str
    required: true
  email:
    description: The address. Left as it is when not given, and left out where it is the O(username).
    type: str
  fields:
    description: More fields of a user model of the project's own, name and value.
    type: dict
    default: {}
  update_password:
    description: V(always) sets a password that does not verify, V(on_create) leaves an existing account's password to its owner.
    type: str
    choices: [always, on_create]
    default: always
  database:
    description: Alias of the database in the project's C(DATABASES).
    type: str
    default: default
"""

EXAMPLES = r"""
- name: Keep the administrator
  berth.django.django_superuser:
    service: "{{ __django_uwsgi_service }}"
    username: admin
    email: admin@example.com
    password: "{{ vault_admin_password }}"
  run_once: true
"""

RETURN = r"""
created:
  description: Whether the account was created, or would be.
  type: bool
  returned: when the database was asked
updated:
  description: Names of the fields that were updated, or would be.
  type: list
  elements: str
  returned: when the database was asked
  sample: [password]
unknown:
  description: What check mode cannot know, one sentence each.
  type: list
  elements: str
  returned: in check mode
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.berth.django.plugins.module_utils import _django, _manage


def superuser(module: AnsibleModule, project: _manage.Project) -> dict[str, object]:
    """Uses of `module`: its parameters and check_mode."""
    values = module.params
    request = dict(
        do="superuser",
        apply=not module.check_mode,
        update_password=values["update_password"] != "on_create",  # noqa: S105
        email=values["email"] or "",
        **{key: values[key] for key in ("username", "password", "fields", "database")},
    )
    answer = project.ask(request, label="superuser")
    if "error" in answer:
        if module.check_mode:
            raise _manage.Unknown(answer["error"])
        raise _manage.CommandFailed(f"the superuser {values['username']}: {answer['error']}", exit_code=1)
    account = f"superuser {values['username']}\n"
    updates = "".join(f"{name}: updated\n" for name in answer["updated"])
    return dict(
        changed=answer["created"] or bool(answer["updated"]),
        created=answer["created"],
        updated=answer["updated"],
        unknown=[],
        diff=dict(before="" if answer["created"] else account, after=account + updates),
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            **_django.ARGUMENT_SPEC,
            username=dict(type="str", required=True),
            password=dict(type="str", required=True, no_log=True),
            email=dict(type="str"),
            fields=dict(type="dict", default={}),
            update_password=dict(type="str", choices=["always", "on_create"], default="always", no_log=False),
            database=dict(type="str", default="default"),
        ),
        required_one_of=_django.ONE_OF,
        mutually_exclusive=_django.ONE_OF,
        supports_check_mode=True,
    )
    _manage.execute(module, lambda project: superuser(module, project))


if __name__ == "__main__":
    main()
