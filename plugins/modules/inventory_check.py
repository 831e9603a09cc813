# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: inventory_check
short_description: Refuse an inventory that cannot work, before anything is touched
version_added: 0.1.0
description:
  - Evaluates the inputs of every host on the controller and reports everything that is wrong with them at once,
    each in one sentence that names variable, host and remedy.
  - Looks for groups without a host, missing and weak secrets, unknown keys and values of the wrong type, addresses that are missing or
    double, project names that cannot be used or that stand for two projects, and uploads that would be seen by one web host only.
  - A weak secret that cannot be changed, because a project has it in its source, is accepted when the variable
    C(berth_accepted_weak_secrets) lists it by the name that the refusal gives, for example V(postgres_password) or
    V(django_uwsgi_secrets.database_password). Whoever reads that source knows it, so let nobody else reach what it protects.
  - A group without a host is accepted where the variable C(berth_elsewhere) lists it, V(postgres) and V(haproxy) can be, because the
    fleet uses a database server or a load balancer that somebody else keeps.
  - Runs on the controller and opens no connection, whichever host it is a task of, and always looks at all hosts.
    The playbooks C(berth.django.site) and C(berth.django.deploy) run it first, once, on a host that C(--limit) leaves.
author:
  - berth.django contributors
options:
  groups:
    description:
      - The groups that must have a host, and whose hosts' inputs are looked at.
    type: list
    elements: str
    default: [builder, postgres, django_uwsgi, nginx, haproxy]
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
    support: none
    details: It changes nothing, so there is nothing to show.
"""

EXAMPLES = r"""
# In the first play of a playbook, also on hosts that --limit may name
- name: Check the inventory
  berth.django.inventory_check:
  run_once: true

- name: Look at the database's hosts only
  berth.django.inventory_check:
    groups: [postgres]
"""

RETURN = r"""
msg:
  description: One sentence for each problem.
  returned: when the inventory has a problem, and the task failed
  type: str
  sample: |-
    The inventory has 1 problem, and nothing was touched:
    - The group 'nginx' is empty: put at least one host into it.
"""
