#!/usr/bin/python
# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_maintenance
short_description: Switch the maintenance of a site on or off
description:
  - While it is on, HAProxy of the C(haproxy) role answers requests with 503, a page and C(Retry-After).
  - What it answers already goes on, and so do its health checks.
  - The switch is a small file on the host, which every process of HAProxy reads when it starts, and the same in the memory of those that
    run. Nothing is reloaded, and no connection is closed.
  - It holds until it is switched off, through reloads, new containers and restarts of the host.
  - Each process is asked whether it took it.
version_added: 0.2.0
author: berth.django contributors (@berth)
attributes:
  check_mode:
    support: full
    description: Asks the file and the processes, and changes neither.
  diff_mode:
    support: full
    description: One line for what happens at the next start, one for each process.
  idempotent:
    support: full
    description: A second run changes nothing.
options:
  state:
    description: Whether the site is in maintenance.
    type: str
    choices: ["on", "off"]
    required: true
  directory:
    description: Directory of HAProxy on the host, C(haproxy_directory) of the role.
    type: path
    required: true
  project:
    description: Project that HAProxy belongs to. Nothing else changes it on this host at the same time.
    type: str
    required: true
  holder:
    description: Filled in by the action plugin. Who runs this, for whoever waits for it.
    type: str
    default: unknown
notes:
  - C(playbooks/maintenance.yml) runs it on every host of the group C(haproxy).
  - The page, C(Retry-After) and who still gets in are variables of the role. Changing them is a run of the role.
"""

EXAMPLES = r"""
- name: Tell visitors to come back later
  berth.django.haproxy_maintenance:
    project: music
    directory: /srv/berth/music/haproxy
    state: "on"
"""

RETURN = r"""
processes:
  description: How many processes of HAProxy run, and have said that they took it.
  type: int
  returned: success
  sample: 1
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.berth.django.plugins.module_utils import _maintenance
from ansible_collections.berth.django.plugins.module_utils._shell import EngineError, service_lock


def maintain(directory: str, on: bool, check: bool) -> dict[str, object]:
    """The result of the task. HAProxy is asked before the file is written: one that knows no maintenance leaves everything as it was."""
    file, found = _maintenance.in_file(directory), _maintenance.workers(directory)
    before = _maintenance.described(file, found)
    after = _maintenance.described(on, [worker._replace(on=on) for worker in found])
    if not check:
        if file != on:
            _maintenance.write(directory, on)
        found = _maintenance.switch(directory, on)
    header = f"maintenance of {directory}"
    diff = dict(before=before, after=after, before_header=header, after_header=header)
    return dict(changed=before != after, processes=len(found), diff=diff)


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            state=dict(type="str", choices=["on", "off"], required=True),
            directory=dict(type="path", required=True),
            project=dict(type="str", required=True),
            holder=dict(type="str", default="unknown"),
        ),
        supports_check_mode=True,
    )
    on = module.params["state"] == "on"
    try:
        if module.check_mode:
            result = maintain(module.params["directory"], on, check=True)
        else:
            with service_lock(module.params["project"], "haproxy", module.params["holder"]) as waited:
                if waited:
                    module.warn(waited)
                result = maintain(module.params["directory"], on, check=False)
    except EngineError as error:
        module.fail_json(msg=str(error))
    if not result["processes"]:
        module.warn(f"HAProxy does not run on this host: maintenance will be {module.params['state']} when it starts.")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
