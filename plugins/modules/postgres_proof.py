#!/usr/bin/python
# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_proof
short_description: Prove that a restored database is whole
description:
  - Has C(pg_amcheck) read every page of every table and index, and compare indexes with their tables.
  - Compares the rows of each table with those that were counted when M(berth.django.postgres_restore_point) made its point.
version_added: 0.2.0
author: berth.django contributors (@berth)
attributes:
  check_mode:
    support: full
    details: There is nothing to look at then, and nothing is.
  diff_mode:
    support: none
    details: It changes nothing but an extension (amcheck) that a database which is thrown away is given.
options:
  container:
    description: The container of the restored server.
    type: str
    required: true
  database:
    description: The database to look at.
    type: str
    required: true
  before:
    description: Rows of each table before the point.
    type: dict
    required: true
  after:
    description: Rows of each table after it.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Prove that it is whole
  berth.django.postgres_proof:
    container: music-postgres_drill
    database: music
    before: "{{ point.before }}"
    after: "{{ point.after }}"
"""

RETURN = r"""
tables:
  description: How many tables were compared.
  type: int
  returned: success
rows:
  description: How many rows they have.
  type: int
  returned: success
size:
  description: Bytes of the database.
  type: int
  returned: success
seconds:
  description: How long the look at it took.
  type: float
  returned: success
"""

import json
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.berth.django.plugins.module_utils import _docker_argv, _drill, _shell
from ansible_collections.berth.django.plugins.module_utils._postgres_psql import psql

CHECK = ["pg_amcheck", "--install-missing", "--heapallindexed", "--parent-check", "-h", "/var/run/postgresql", "-U", "postgres", "-d"]


def prove(container: str, database: str, before: _drill.Rows, after: _drill.Rows) -> dict[str, object]:
    began = time.monotonic()
    outcome = _shell.run(_docker_argv.exec_in(container, [*CHECK, database]))
    if outcome.rc != 0:
        raise _shell.EngineError(f"pg_amcheck finds that {database} in {container} is damaged:\n{outcome.text[-2000:]}")
    counted, size = psql(container, database, f"{_drill.COUNT}\nselect pg_database_size(current_database());").strip().splitlines()
    rows = json.loads(counted)
    wrong = _drill.differences(before, after, rows)
    if wrong:
        raise _shell.EngineError(f"{database} in {container} is not what was backed up: {'; '.join(wrong)}.")
    return dict(changed=False, tables=len(rows), rows=sum(rows.values()), size=int(size), seconds=round(time.monotonic() - began, 1))


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            container=dict(type="str", required=True),
            database=dict(type="str", required=True),
            before=dict(type="dict", required=True),
            after=dict(type="dict", required=True),
        ),
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=False, tables=0, rows=0, size=0, seconds=0.0)
    try:
        module.exit_json(**prove(**module.params))
    except _shell.EngineError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
