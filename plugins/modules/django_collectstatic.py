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
  - Changed means that a file was copied or deleted, or a compressed copy. Post-processing alone is not a change, since Django repeats it on
    every run.
  - With O(service) and O(root), Django is not asked where the very same image, settings and secrets serve already and no file in the
    directory came, went or changed since.
version_added: 0.1.0
author: berth.django contributors
extends_documentation_fragment:
  - berth.django._django
  - berth.django._preview
attributes:
  check_mode:
    support: full
    details: >-
      Runs C(collectstatic --dry-run). Where that cannot be done (no Docker Engine, no image yet) nothing fails: RV(unknown) says why.
  diff_mode:
    support: partial
    details: Static files are many and large. It shows how many are copied and deleted.
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
  compress:
    description:
      - Keep a compressed copy beside each file that compresses well, C(base.css.gz) beside C(base.css), as nginx looks for with
        C(gzip_static on). It has owner, mode and time of change of its original, and goes with it.
      - Only where O(service) and O(root) say which directory on the host that is.
    type: bool
    default: true
    version_added: 0.2.0
  unless_collected:
    description: >-
      Do nothing where the directory is as some collectstatic of it left it, whatever the settings were. For a release that is gone back to.
    type: bool
    default: false
    version_added: 0.2.0
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
compressed:
  description: Number of compressed copies that were made, renewed or removed, or would be for the files that are there already.
  type: int
  returned: success
  sample: 96
contents:
  description: Hash of the names, sizes and times of the files on the host. Empty where they are in no directory of the host.
  type: str
  returned: success
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
from ansible_collections.berth.django.plugins.module_utils import _django, _manage, _precompress, _static_record


def collectstatic(module: AnsibleModule, project: _manage.Project) -> dict[str, object]:
    """Uses of `module`: its parameters and check_mode."""
    words = [*_static_record.WORDS]
    words += ["--clear"] if module.params["clear"] else []
    words += [f"--ignore={pattern}" for pattern in module.params["ignore"]]
    directory = _static_record.host_directory(project.service, module.params["root"])
    compressing = bool(directory and module.params["compress"])
    key = _static_record.key_of(project.service.instance if project.service else "", project.chdir, project.settings, words, compressing)
    known = None
    if directory and module.params["unless_collected"]:
        known = _static_record.recall(directory)
    elif directory and project.serves and not module.params["clear"]:
        known = _static_record.recall(directory, key)
    if known:
        return dict(changed=False, unknown=[], compressed=0, contents=_static_record.contents(directory), **known)
    copies = _precompress.ours(directory) if compressing else set()
    before = _static_record.names(directory) if directory else ""
    collected = run_collectstatic(project, words, writable=[module.params["root"]] if directory else [])
    compressed = _precompress.compress(directory, copies, module.check_mode) if compressing else 0
    if directory and not module.check_mode:
        nothing_new = dataclasses.replace(collected, copied=0, deleted=0, unmodified=collected.unmodified + collected.copied)
        _static_record.keep(directory, key, dataclasses.asdict(nothing_new))
    unknown = ["how many of the new files get a compressed copy"] if module.check_mode and compressing and collected.copied else []
    # A file that post-processing makes is not among those that Django counts as copied.
    changed = collected.changed or compressed > 0 or (bool(directory) and _static_record.names(directory) != before)
    contents = _static_record.contents(directory) if directory else ""
    told = f"static files: {collected.copied} to copy, {collected.deleted} to delete, {collected.unmodified} there already\n"
    diff = {"diff": {"prepared": told}} if changed else {}
    return dict(changed=changed, unknown=unknown, compressed=compressed, contents=contents, **diff, **dataclasses.asdict(collected))


def run_collectstatic(project: _manage.Project, words: list[str], writable: list[str]) -> _django.Collected:
    dry = project.check_mode
    outcome = project.manage("collectstatic", [*words, "--dry-run"] if dry else words, writable=[] if dry else writable)
    if outcome.rc != 0:
        error = _manage.failed("manage.py collectstatic", outcome)
        raise _manage.Unknown(str(error)) if dry else error
    collected = _django.parse_collectstatic(outcome.out)
    if collected is None:
        raise _manage.CommandFailed(
            "manage.py collectstatic succeeded without the summary that Django prints, so what changed is not known",
            exit_code=0,
            stdout=outcome.out,
            stderr=outcome.err,
        )
    return collected


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            **_django.ARGUMENT_SPEC,
            **_django.PREVIEW_SPEC,
            clear=dict(type="bool", default=False),
            root=dict(type="str"),
            compress=dict(type="bool", default=True),
            unless_collected=dict(type="bool", default=False),
            ignore=dict(type="list", elements="str", default=[]),
        ),
        required_one_of=_django.ONE_OF,
        mutually_exclusive=_django.ONE_OF,
        supports_check_mode=True,
    )
    _manage.execute(module, lambda project: collectstatic(module, project))


if __name__ == "__main__":
    main()
