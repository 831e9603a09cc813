#!/usr/bin/python
# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_restore_point
short_description: Name the state of a database now, so that it can be restored, and say how many rows it has
description:
  - Makes a restore point, and waits until the archive has the log that holds it.
  - Counts the rows of every table just before and just after, for a comparison with what is restored.
version_added: 0.2.0
author: berth.django contributors (@berth)
attributes:
  check_mode:
    support: full
    details: Nothing is made, and nothing is counted.
  diff_mode:
    support: none
    details: No file and no row is changed.
options:
  container:
    description: The container of the server, which has to be the primary.
    type: str
    required: true
  database:
    description: The database whose rows are counted. The point is one of the whole server.
    type: str
    required: true
  name:
    description: The name of the point, which C(to=name:NAME) restores.
    type: str
    required: true
  wait:
    description: Seconds until it is an error that the archive does not have it.
    type: int
    default: 120
"""

EXAMPLES = r"""
- name: Name the state before a release
  berth.django.postgres_restore_point:
    container: music-postgres
    database: music
    name: before-release-7
"""

RETURN = r"""
before:
  description: Rows of each table before the point.
  type: dict
  returned: when it was made
after:
  description: Rows of each table after the point.
  type: dict
  returned: when it was made
segment:
  description: The segment of the log that the point is in.
  type: str
  returned: when it was made
"""

import json
import re
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.berth.django.plugins.module_utils import _drill, _shell
from ansible_collections.berth.django.plugins.module_utils._postgres_psql import psql


def make(container: str, database: str, name: str, wait: float) -> dict[str, object]:
    before, _lsn, after, _transaction, segment = psql(container, database, _drill.point(name)).strip().splitlines()
    deadline = time.monotonic() + wait
    while True:
        archived, failed = psql(container, database, _drill.ARCHIVED.format(segment=segment)).strip().split("|")
        if archived == "t":
            return dict(changed=True, before=json.loads(before), after=json.loads(after), segment=segment)
        if time.monotonic() > deadline:
            why = f"the archive refused {failed}; the server's log says why" if failed else "is the archive on (role pgbackrest)?"
            raise _shell.EngineError(f"the archive does not have {segment} after {wait:.0f} s: {why}")
        time.sleep(0.5)


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            container=dict(type="str", required=True),
            database=dict(type="str", required=True),
            name=dict(type="str", required=True),
            wait=dict(type="int", default=120),
        ),
        supports_check_mode=True,
    )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}", module.params["name"]):
        module.fail_json(msg=f"{module.params['name']!r} is no name of a restore point: use letters, digits, '-', '_', '.' and ':'.")
    if module.check_mode:
        module.exit_json(changed=True, before={}, after={}, segment="")
    try:
        module.exit_json(**make(**module.params))
    except _shell.EngineError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
