#!/usr/bin/python
# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_cluster
short_description: Ask and converge a Patroni cluster of PostgreSQL servers
description:
  - Asks the member of this host who is primary, and which members there are.
  - Converges the settings that all members share (Patroni's dynamic configuration), and restarts members for which one of them waits, the
    primary last.
  - Hands the primary over to a named member.
  - Speaks to Patroni's REST API over TLS. Nothing here decides who is primary; Patroni does.
version_added: 0.2.0
author: berth.django contributors (@berth)
attributes:
  check_mode:
    support: full
    description: Predicts exactly. Where no member answers yet, RV(unknown) says what that leaves open.
  diff_mode:
    support: full
    description: Settings before and after.
  idempotent:
    support: full
    description: What is as described stays as it is.
requirements:
  - Python 3.9 or later on the host, without further packages.
  - Patroni 3.1 or later.
options:
  project:
    description: The project that the cluster belongs to. One run at a time changes it.
    type: str
    required: true
  url:
    description: Where the member of this host answers.
    type: str
    required: true
  ca:
    description: Certificate (PEM) of the authority that its own is from.
    type: str
    required: true
  username:
    description: Name for requests that change something.
    type: str
    default: patroni
  password:
    description: Password for them.
    type: str
    default: ""
  data:
    description:
      - The server's data directory on this host, to be looked at.
      - Without a member that answers, it tells who has something to begin with.
    type: path
  settings:
    description: Dynamic configuration. Settings that are not named stay as they are, V(null) takes one out.
    type: dict
    default: {}
  members:
    description: Names of members to wait for, until each of them leads or follows.
    type: list
    elements: str
    default: []
  primary:
    description: The member that is to lead. Another one that leads hands over to it; without this, whoever leads goes on.
    type: str
    default: ""
  hand_over:
    description: Whether the member that leads hands over where O(primary) names nobody. To one that follows, synchronously if there is one.
    type: bool
    default: false
  wait:
    description: Seconds to wait for members.
    type: int
    default: 120
  holder:
    description: Who runs this. Set by the action plugin.
    type: str
    default: unknown
"""

EXAMPLES = r"""
- name: Ask who is primary
  berth.django.postgres_cluster:
    project: music
    url: https://10.0.0.21:8008
    ca: "{{ lookup('ansible.builtin.file', berth_state ~ '/ca/ca.pem') }}"

- name: Have db2 lead
  berth.django.postgres_cluster:
    project: music
    url: https://10.0.0.21:8008
    ca: "{{ lookup('ansible.builtin.file', berth_state ~ '/ca/ca.pem') }}"
    password: "{{ vault_patroni_password }}"
    primary: db2
    members: [db1, db2, db3]
"""

RETURN = r"""
leader:
  description: Name of the member that leads. Empty when there is none, or when nobody answers.
  type: str
  returned: success
data:
  description: Whether there is a server's data on this host.
  type: bool
  returned: success
system:
  description: The identifier of the cluster that it is of.
  type: str
  returned: when O(data) is given
used:
  description: Bytes that it takes.
  type: int
  returned: when O(data) is given
free:
  description: Bytes that are free there.
  type: int
  returned: when O(data) is given
members:
  description: Name, role and state of each member.
  type: list
  elements: dict
  returned: success
actions:
  description: What was done, or would be done in check mode, one sentence each.
  type: list
  elements: str
  returned: success
  sample: ["set ttl to 20"]
unknown:
  description: What check mode cannot know.
  type: list
  elements: str
  returned: success
"""

import dataclasses

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.berth.django.plugins.module_utils import _patroni_converge, _postgres_data, _shell


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(**_patroni_converge.ARGUMENT_SPEC, holder=dict(type="str", default="unknown")),
        supports_check_mode=True,
    )
    values = module.params
    found = _postgres_data.look_at(values["data"]) if values["data"] else dict(data=False)
    try:
        if module.check_mode or not _patroni_converge.changes_anything(values):
            result = _patroni_converge.converge(values, module.check_mode)
        else:
            with _shell.service_lock(values["project"], "postgres", values["holder"]) as waited:
                if waited:
                    module.warn(waited)
                result = _patroni_converge.converge(values, module.check_mode)
    except _shell.EngineError as error:
        module.fail_json(msg=str(error))
    members = [dataclasses.asdict(member) for member in result.pop("members")]
    module.exit_json(**result, **found, members=members)


if __name__ == "__main__":
    main()
