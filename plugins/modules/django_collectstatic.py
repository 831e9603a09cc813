#!/usr/bin/python
# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: django_collectstatic
short_description: Collect the static files of a Django project
description:
  - Runs C(manage.py collectstatic) and reports what it did in numbers.
  - Changed means that a file was copied or deleted. Post-processing alone is not a change, since Django repeats it on every run.
version_added: 0.1.0
author: berth.django contributors
extends_documentation_fragment:
  - berth.django._django
attributes:
  check_mode:
    support: full
    details: >-
      Runs C(collectstatic --dry-run). Where that cannot be done (no Docker Engine, no image yet) nothing fails: RV(unknown) says why.
  diff_mode:
    support: none
    details: Static files are many and large; the counts tell what happened.
options:
  clear:
    description: >-
      Delete everything in the destination first. Then every file is copied again, so the task is always changed, and for a moment the files
      are missing. A directory for each release needs no clearing.
    type: bool
    default: false
  root:
    description: >-
      The directory in the container to write to. It is mounted read-write for this command when the O(service) mounts it read-only; not
      needed when its mount is writable.
    type: str
  ignore:
    description: Patterns of files that are left out.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Collect static files into the release's own directory
  berth.django.django_collectstatic:
    service: "{{ __django_uwsgi_service }}"
    root: /srv/static
"""

RETURN = r"""
copied:
  description: Number of files that were copied, or would be.
  type: int
  returned: when collectstatic was run
  sample: 154
deleted:
  description: Number of files that were deleted, or would be, with O(clear=true).
  type: int
  returned: when collectstatic was run
unmodified:
  description: Number of files that were there already.
  type: int
  returned: when collectstatic was run
post_processed:
  description: Number of files that the storage worked on, for example to give them names with a hash.
  type: int
  returned: when collectstatic was run
destination:
  description: The directory in the container. Empty for a storage that is not local.
  type: str
  returned: when collectstatic was run
unknown:
  description: What check mode cannot know, one sentence each.
  type: list
  elements: str
  returned: in check mode
"""

import dataclasses

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.berth.django.plugins.module_utils import _django, _manage


def collectstatic(module: AnsibleModule, project: _manage.Project) -> dict[str, object]:
    """Uses of `module`: its parameters and check_mode."""
    words = ["--no-input", "--verbosity=1"]
    words += ["--clear"] if module.params["clear"] else []
    words += ["--dry-run"] if module.check_mode else []
    words += [f"--ignore={pattern}" for pattern in module.params["ignore"]]
    writable = [module.params["root"]] if module.params["root"] else []
    outcome = project.manage("collectstatic", words, writable=writable)
    if outcome.rc != 0:
        if module.check_mode:
            raise _manage.Unknown(str(_manage.failed("manage.py collectstatic", outcome)))
        raise _manage.failed("manage.py collectstatic", outcome)
    collected = _django.parse_collectstatic(outcome.out)
    if collected is None:
        raise _manage.CommandFailed(
            "manage.py collectstatic succeeded without the summary that Django prints, so what changed is not known",
            exit_code=0,
            stdout=outcome.out,
            stderr=outcome.err,
        )
    return dict(changed=collected.changed, unknown=[], **dataclasses.asdict(collected))


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            **_django.ARGUMENT_SPEC,
            clear=dict(type="bool", default=False),
            root=dict(type="str"),
            ignore=dict(type="list", elements="str", default=[]),
        ),
        required_one_of=_django.ONE_OF,
        mutually_exclusive=_django.ONE_OF,
        supports_check_mode=True,
    )
    _manage.execute(module, lambda project: collectstatic(module, project))


if __name__ == "__main__":
    main()
