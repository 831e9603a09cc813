#!/usr/bin/python
# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: releases
short_description: Tell which releases of a project a host has on record
description:
  - Reads the record that M(berth.django.container_service) keeps of a service with releases, and finds the one to go back to.
  - Never changes anything.
version_added: 0.2.0
author: berth.django contributors
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: It only reads.
options:
  directory:
    description: Directory of the service on the host.
    type: path
    required: true
  keep:
    description: Releases that are kept, the one that serves included.
    type: int
    default: 5
  files:
    description: Directory on the host that holds one directory per release, for its static files.
    type: path
  holder:
    description: Who runs this. Set by the action plugin.
    type: str
    default: unknown
seealso:
  - module: berth.django.container_service
"""

EXAMPLES = r"""
- name: Read which releases are on record
  berth.django.releases:
    directory: /srv/berth/music/django_uwsgi
  register: releases
"""

RETURN = r"""
serving:
  description: The release that serves. Not there when none is on record.
  type: dict
  returned: when there is one
  contains: &record
    at:
      description: When it began to serve.
      type: str
    release:
      description: Name of the release.
      type: str
    image:
      description: Its image.
      type: str
    instance:
      description: Hash of image, settings and secrets.
      type: str
    by:
      description: Who brought it.
      type: str
    outcome:
      description: V(began), V(serves), or V(rolled back) for one that was taken back before it was finished.
      type: str
    version:
      description: The commit that the image was built from. Empty for a directory that was named itself.
      type: str
unfinished:
  description: Name of the release that a run began and did not finish. Empty when there is none.
  type: str
  returned: success
back:
  description: Whether that one has served before, and the run was about going back to it.
  type: bool
  returned: success
with_files:
  description: Names of the kept releases whose static files are in O(files).
  type: list
  elements: str
  returned: success
kept:
  description: Releases that are kept, the newest first.
  type: list
  elements: dict
  returned: success
  contains: *record
told:
  description: The same in words.
  type: dict
  returned: success
  contains:
    serves:
      description: What serves, since when, by whom.
      type: str
    kept:
      description: Names of the kept releases, the newest first.
      type: list
      elements: str
    audit:
      description: A sentence for each line on record.
      type: list
      elements: str
audit:
  description: All that is on record, the oldest first.
  type: list
  elements: dict
  returned: success
  contains: *record
"""

import dataclasses

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.berth.django.plugins.module_utils import _release, _release_files, _static_record


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            directory=dict(type="path", required=True),
            keep=dict(type="int", default=5),
            files=dict(type="path"),
            holder=dict(type="str", default="unknown"),
        ),
        supports_check_mode=True,
    )
    values = module.params
    records = _release_files.records(values["directory"])
    under_way = _release_files.under_way(values["directory"])
    kept, serving = _release.kept(records, values["keep"]), _release.now(records, under_way)
    names = [item.release for item in kept]
    result = dict(
        changed=False,
        told=dict(
            serves=_release.to_words(serving) if serving else "nothing is on record",
            kept=names,
            audit=[_release.to_words(item) for item in records],
        ),
        kept=[dataclasses.asdict(item) for item in kept],
        audit=[dataclasses.asdict(item) for item in records],
        unfinished=under_way.release if under_way else "",
        back=under_way.back if under_way else False,
        with_files=[name for name in names if values["files"] and _static_record.recall(f"{values['files']}/{name}")],
        **({"serving": dataclasses.asdict(serving)} if serving else {}),
    )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
