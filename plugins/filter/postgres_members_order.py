# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order the members of a cluster are converged."""

from __future__ import annotations

DOCUMENTATION = r"""
name: postgres_members_order
author: berth.django contributors
version_added: 0.2.0
short_description: In which order the members of a cluster are converged
description:
  - The primary comes last, so that what it hands over to is new already.
  - Where nobody leads yet, the host that has data comes first. It becomes the primary, and the others copy it.
positional: _input
options:
  _input:
    description: What M(berth.django.postgres_cluster) returned, by the name of each host.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show who comes first
  ansible.builtin.debug:
    msg: "{{ {'db1': {'leader': 'db1'}, 'db2': {'leader': 'db1'}} | berth.django.postgres_members_order }}"
"""

RETURN = r"""
_value:
  description: Names of the hosts.
  type: list
  elements: str
  sample: [db2, db1]
"""

import typing as t

from ansible_collections.berth.django.plugins.module_utils._patroni import in_order


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"postgres_members_order": in_order}
