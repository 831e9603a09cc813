#!/usr/bin/python
# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_database
short_description: Converge role, database and extensions of a project in its PostgreSQL container
description:
  - Makes the role that owns a project's database, the database and its extensions be as described, in one module execution.
  - Runs C(psql) in the container through the server's local socket. SQL goes through standard input, and passwords leave the host's
    memory as SCRAM verifiers only, so that neither a process list nor the server's log shows one.
  - The role is the owner of its database and has no other privilege; nobody else may connect there, but for O(app_role).
  - Nothing is ever dropped. What PostgreSQL cannot change in place (encoding, locale) is refused with a sentence.
version_added: 0.1.0
author: berth.django contributors
attributes:
  check_mode:
    support: full
    description: >-
      Predicts exactly. Where the container does not exist yet, everything is predicted to be created, and RV(unknown) says what that
      leaves open.
  diff_mode:
    support: full
    description: Role, database and extensions before and after. Of a password, only whether it is the wanted one.
  idempotent:
    support: full
    description: The stored SCRAM verifier tells whether a password is the wanted one already.
requirements:
  - Docker Engine 20.10 or later with its command line on the host.
  - Python 3.9 or later on the host, without further packages.
  - PostgreSQL 17 or later in the container, whose superuser may log in through the local socket (C(peer)).
options:
  container:
    description: Name of the container that runs the server.
    type: str
    required: true
  project:
    description: Project that the container belongs to. One run at a time changes its database.
    type: str
    required: true
  role:
    description: The role that owns the database, and that the project logs in as where there is no O(app_role).
    type: str
    required: true
  password:
    description: Its password.
    type: str
    required: true
  change_password:
    description:
      - Whether the role may be given another password than it has. Whoever was started with the one before can make no new connection then.
      - Without it, another password than the one it has is an error.
    type: bool
    default: false
  database:
    description: Name of the database.
    type: str
    required: true
  encoding:
    description: Encoding of the database. Fixed once it exists.
    type: str
    default: UTF8
  locale:
    description: Locale of the database, in the words of its provider. Fixed once it exists.
    type: str
    default: C.UTF-8
  locale_provider:
    description: Who provides the locale. Fixed once the database exists.
    type: str
    choices: [builtin, icu, libc]
    default: builtin
  extensions:
    description: Extensions that the database has, with those that they need. Others are left alone.
    type: list
    elements: str
    default: []
  superuser:
    description: The role to work as. The user of the container must be allowed to log in as this role through the local socket.
    type: str
    default: postgres
  superuser_password:
    description: Its password, set when the server has another one. It is not used to log in.
    type: str
  replication_role:
    description: The role that members of a cluster copy data with, and rewind to it. None when empty.
    type: str
    default: ""
    version_added: 0.2.0
  replication_password:
    description: Its password, set when it has another one.
    type: str
    default: ""
    version_added: 0.2.0
  app_role:
    description:
      - The role that the project runs as, which may read and write rows, and nothing else. O(role) owns the tables then, and migrates them;
        what it makes later is covered (C(ALTER DEFAULT PRIVILEGES)).
      - Where it is empty, the project runs as O(role).
    type: str
    default: ""
    version_added: 0.2.0
  app_password:
    description: Its password. O(change_password) counts for it, too.
    type: str
    default: ""
    version_added: 0.2.0
  socket_directory:
    description: Directory of the server's socket in the container.
    type: str
    default: /var/run/postgresql
  holder:
    description: Who runs this. Set by the action plugin.
    type: str
    default: unknown
"""

EXAMPLES = r"""
- name: Converge the database of the project music
  berth.django.postgres_database:
    container: music-postgres
    project: music
    database: music
    role: music
    password: "{{ vault_postgres_password }}"
    extensions: [pg_trgm]
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, one sentence each.
  type: list
  elements: str
  returned: success
  sample: ["create role music", "create database music"]
unknown:
  description: What check mode cannot know.
  type: list
  elements: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.berth.django.plugins.module_utils import _postgres_converge, _shell


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(**_postgres_converge.ARGUMENT_SPEC, holder=dict(type="str", default="unknown")),
        supports_check_mode=True,
    )
    try:
        if module.check_mode:
            module.exit_json(**_postgres_converge.converge(module.params, module.check_mode))
        with _shell.service_lock(module.params["project"], "postgres", module.params["holder"]) as waited:
            if waited:
                module.warn(waited)
            module.exit_json(**_postgres_converge.converge(module.params, module.check_mode))
    except (ValueError, _shell.EngineError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
