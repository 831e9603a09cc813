# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The release that a rollback goes back to, from what all hosts have on record."""

from __future__ import annotations

DOCUMENTATION = r"""
name: release_before
author: berth.django contributors
version_added: 0.2.0
short_description: The release to go back to
description:
  - Finds the newest kept release that is not the one that serves. What all hosts have on record counts, since one that joined later, or
    was made anew, knows only what it was there for.
  - A release that a run began and did not finish counts as the one that serves. Where that run was about going back to it, it is the one to
    go back to; unless another one has served on some host since.
positional: _input, keep, release
options:
  _input:
    description: What M(berth.django.releases) returned, for each host.
    type: list
    elements: dict
    required: true
  keep:
    description: How many releases are kept.
    type: int
    required: true
  release:
    description: Name of a kept release to go back to in the place of the one before.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Find the release before the one that serves
  ansible.builtin.set_fact:
    found: "{{ groups['django_uwsgi'] | map('extract', hostvars, 'releases') | berth.django.release_before(5) }}"
"""

RETURN = r"""
_value:
  description: The line on record, as in RV(berth.django.releases#module:serving).
  type: dict
"""

import dataclasses
import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.berth.django.plugins.module_utils import _release


def release_before(hosts: t.Iterable[t.Mapping[str, t.Any]], keep: int, release: str = "") -> dict[str, t.Any]:
    known = list(hosts)
    records = _release.merged([_release.Record(**dict(line)) for line in host["audit"]] for host in known)
    unfinished = next((host for host in known if host["unfinished"] and not _release.overtaken(str(host["unfinished"]), records)), None)
    name = str(unfinished["unfinished"]) if unfinished else ""
    again = name if unfinished and unfinished.get("back") else ""
    try:
        return dataclasses.asdict(_release.choose(records, int(keep), str(release) or again, name))
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"release_before": release_before}
