#!/usr/bin/python
# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backups
short_description: Ask pgBackRest which backups of a database there are, and whether a moment can be restored
description:
  - Asks the repository through a container of this host that has pgBackRest and its configuration, and changes nothing.
version_added: 0.2.0
author: berth.django contributors (@berth)
attributes:
  check_mode:
    support: full
    details: Does the same.
  diff_mode:
    support: none
    details: It changes nothing, so there is nothing to show.
options:
  container:
    description: The container that is asked.
    type: str
    required: true
  stanza:
    description: What pgBackRest calls the database.
    type: str
    required: true
  to:
    description:
      - What is to be restored. V(latest), a time with its zone such as V(2026-11-22 14:03:00+00), or V(name:NAME) of a restore point.
      - It is an error when that is in the future, or before the oldest backup ended.
    type: str
  max_age:
    description: It is an error when the newest backup is older than this many hours.
    type: int
  room:
    description: >-
      A directory of this host. It is an error when what the newest backup holds does not fit there, in the place of what is in it; log that
      comes on top does not count.
    type: path
  through:
    description: It is an error when the archive lacks a segment of the log between the newest backup and this one.
    type: str
"""

EXAMPLES = r"""
- name: See that there is a backup of the last day
  berth.django.postgres_backups:
    container: music-postgres_backup
    stanza: music
    max_age: 26
"""

RETURN = r"""
backups:
  description: Label, type (full, diff or incr), start, stop (UTC), size of the database and of what is stored (bytes), the oldest first.
  type: list
  elements: dict
  returned: success
archive:
  description: The last segment of the log that the archive has.
  type: str
  returned: success
options:
  description: Words for C(pgbackrest restore) that lead to O(to).
  type: list
  elements: str
  returned: if O(to) was given
"""

import dataclasses
import datetime
import json
import shutil
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.berth.django.plugins.module_utils import _docker_argv, _pgbackrest, _postgres_data, _shell


def ask(container: str, stanza: str, *words: str) -> t.Any:
    command = ["pgbackrest", f"--stanza={stanza}", "--log-level-console=off", "--output=json", *words]
    outcome = _shell.run(_docker_argv.exec_in(container, command))
    if outcome.rc != 0:
        raise _shell.EngineError(
            f"pgBackRest in {container} does not answer: {outcome.text}. Converge the roles postgres and pgbackrest first (site.yml)."
        )
    return json.loads(outcome.out)


def why_not(parameters: dict[str, t.Any], known: _pgbackrest.Repository, now: datetime.datetime) -> str:
    """The first thing that is asked for and is not so; empty when all of it is."""
    why = _pgbackrest.why_not(parameters["to"], known, now) if parameters["to"] else ""
    if not why and parameters["max_age"] is not None:
        why = _pgbackrest.why_old(known, now, parameters["max_age"])
    if not why and parameters["room"]:
        taken = _postgres_data.size_of(parameters["room"])
        free = shutil.disk_usage(_postgres_data.nearest(parameters["room"])).free
        why = _pgbackrest.why_no_room(known, parameters["room"], free + taken)
    if why or not parameters["through"] or not known.newest:
        return why
    stanza = parameters["stanza"]
    files = ask(parameters["container"], stanza, "--recurse", "repo-ls", f"archive/{stanza}")
    lacks = _pgbackrest.missing_log(files, known.newest.log, parameters["through"])
    return (
        f"the archive lacks {', '.join(lacks[:5])} of the log since {known.newest.label}: no later moment can be restored." if lacks else ""
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            container=dict(type="str", required=True),
            stanza=dict(type="str", required=True),
            to=dict(type="str"),
            max_age=dict(type="int"),
            room=dict(type="path"),
            through=dict(type="str"),
        ),
        supports_check_mode=True,
    )
    parameters, now = module.params, datetime.datetime.now(_pgbackrest.UTC)
    try:
        known = _pgbackrest.repository(ask(parameters["container"], parameters["stanza"], "info"), parameters["stanza"])
        why = why_not(parameters, known, now)
        options = {"options": _pgbackrest.target_options(parameters["to"])} if parameters["to"] and not why else {}
    except (ValueError, _shell.EngineError) as error:
        module.fail_json(msg=str(error))
    if why:
        module.fail_json(msg=why)
    backups = [
        {**dataclasses.asdict(each), "start": _pgbackrest.told(each.start), "stop": _pgbackrest.told(each.stop)} for each in known.backups
    ]
    module.exit_json(changed=False, backups=backups, archive=known.archive, **options)


if __name__ == "__main__":
    main()
