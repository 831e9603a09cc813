#!/usr/bin/python
# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: django_collectstatic
short_description: Collect the static files of a Django project
description:
  - Runs C(manage.py collectstatic) and reports what it did in numbers, or brings files that are in the image already.
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
      Runs C(collectstatic --dry-run). Where that cannot be done (no Docker Engine, no image yet) nothing fails: RV(unknown) says why,
      and names what O(commands) would do, or how many files O(from_image) would bring.
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
  directory:
    description: The directory on the host, with O(from_image). Otherwise it is what the O(service) mounts at O(root).
    type: path
    version_added: 0.2.0
  from_image:
    description: >-
      Copy what the image of the O(service) has in O(root) to O(directory), and do not run C(collectstatic). For a project that ships its
      static files ready, or has them made when its image is built. Nothing must be mounted at O(root), which would hide them.
    type: bool
    default: false
    version_added: 0.2.0
  commands:
    description: >-
      Commands of manage.py that follow C(collectstatic), and may write to O(root), such as V(compress) of django-compressor. They run
      whenever C(collectstatic) does, and before O(compress).
    type: list
    elements: dict
    default: []
    version_added: 0.2.0
    suboptions:
      command:
        description: Name of the command.
        type: str
        required: true
      args:
        description: Its arguments, one word each.
        type: list
        elements: str
        default: []
      when:
        description: Whether it runs.
        type: bool
        default: true
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

- name: Bring those that the project ships ready
  berth.django.django_collectstatic:
    service: "{{ __django_uwsgi_service }}"
    from_image: true
    root: /app/public/assets
    directory: /srv/berth/shop/static/1f0c9a7be2d4560a
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
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.berth.django.plugins.module_utils import (
    _django,
    _engine,
    _manage,
    _observe,
    _precompress,
    _static_copy,
    _static_record,
    _static_wanted,
)
from ansible_collections.berth.django.plugins.module_utils._static_wanted import Wanted


def collectstatic(module: AnsibleModule, project: _manage.Project) -> dict[str, object]:
    """Uses of `module`: its parameters and check_mode."""
    wanted, from_image = _static_wanted.wanted_of(module.params, project), module.params["from_image"]
    directory, check = wanted.directory, module.check_mode
    known = _static_wanted.recalled(module.params, project, wanted)
    if known:
        return dict(changed=False, unknown=[], compressed=0, contents=_static_record.contents(directory), **known)
    if from_image and check:
        return dict(changed=True, unknown=["how many static files the image brings"], compressed=0, contents="")
    copies = _precompress.ours(directory) if wanted.compressing else set()
    before = _static_record.names(directory) if directory else ""
    collected = copy_from_image(project, wanted) if from_image else run_collectstatic(project, wanted)
    made = not check and run_commands(project, wanted)
    compressed = _precompress.compress(directory, copies, check) if wanted.compressing else 0
    if directory and not check:
        nothing_new = dataclasses.replace(collected, copied=0, deleted=0, unmodified=collected.unmodified + collected.copied)
        _static_record.keep(directory, wanted.key, dataclasses.asdict(nothing_new))
    unknown = ["how many of the new files get a compressed copy"] if check and wanted.compressing and collected.copied else []
    unknown += [f"what manage.py {name} would do" for name, _words in wanted.commands] if check else []
    # A file that post-processing makes is not among those that Django counts as copied.
    changed = collected.changed or made or compressed > 0 or (bool(directory) and _static_record.names(directory) != before)
    contents = _static_record.contents(directory) if directory else ""
    told = f"static files: {collected.copied} to copy, {collected.deleted} to delete, {collected.unmodified} there already\n"
    diff = {"diff": {"prepared": told}} if changed else {}
    return dict(changed=changed, unknown=unknown, compressed=compressed, contents=contents, **diff, **dataclasses.asdict(collected))


def copy_from_image(project: _manage.Project, wanted: Wanted) -> _django.Collected:
    service = project.service
    if service is None:
        raise ValueError("from_image needs a service, whose image it is.")
    if not _observe.image_present(service.image):
        _engine.stage(service)
    container = f"{service.project}-{service.name}-static-{os.getpid()}"
    copied, there = _static_copy.copy(service.image, wanted.root, wanted.directory, container)
    return _django.Collected(copied, deleted=0, unmodified=there, post_processed=0, destination=wanted.root)


def run_collectstatic(project: _manage.Project, wanted: Wanted) -> _django.Collected:
    dry = project.check_mode
    words, writable = ([*wanted.words, "--dry-run"], []) if dry else (wanted.words, writable_in(wanted))
    outcome = project.manage("collectstatic", words, writable=writable)
    if outcome.rc != 0:
        error = _manage.failed("manage.py collectstatic", outcome, _django.static_hint(outcome.text))
        raise _manage.Unknown(str(error)) if dry else error
    collected = _django.parse_collectstatic(outcome.out)
    if collected is None:
        problem = "manage.py collectstatic succeeded without the summary that Django prints, so what changed is not known"
    else:
        problem = _django.destination_problem(collected, wanted.root) if wanted.directory else ""
    if collected is None or problem:
        raise _manage.CommandFailed(problem, exit_code=0, stdout=outcome.out, stderr=outcome.err)
    return collected


def run_commands(project: _manage.Project, wanted: Wanted) -> bool:
    """Whether they left other files behind than they found, as far as that can be seen."""
    directory = wanted.directory
    before = _static_record.listing(directory) if directory and wanted.commands else ""
    for name, words in wanted.commands:
        outcome = project.manage(name, words, writable=writable_in(wanted))
        if outcome.rc != 0:
            raise _manage.failed(f"manage.py {name}", outcome)
    return bool(wanted.commands) and (not directory or _static_record.listing(directory) != before)


def writable_in(wanted: Wanted) -> list[str]:
    return [wanted.root] if wanted.directory else []


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            **_django.ARGUMENT_SPEC,
            **_django.PREVIEW_SPEC,
            **_static_wanted.ARGUMENT_SPEC,
        ),
        required_one_of=_django.ONE_OF,
        mutually_exclusive=_django.ONE_OF,
        required_if=[("from_image", True, ("service", "root", "directory"))],
        supports_check_mode=True,
    )
    _manage.execute(module, lambda project: collectstatic(module, project))


if __name__ == "__main__":
    main()
