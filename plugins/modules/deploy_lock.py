#!/usr/bin/python
# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_lock
short_description: Let one deploy of a project run at a time
description:
  - Keeps a lock on one host of the fleet while a run deploys, from its first step to its last. A second run waits, and is told who holds
    the lock, where and since when.
  - The lock of a run that was killed is recognised and taken over. On the machine that it was started from, by its process, which is gone.
    From elsewhere, by its SSH connection to the host, which has ended, when nothing was heard of the run for an hour besides.
  - A run that lost its lock to another one is told so when it asks for it again, which the role does before it switches anything.
version_added: 0.2.0
author: berth.django contributors
attributes:
  check_mode:
    support: full
    details: Takes no lock, and says who holds it.
  diff_mode:
    support: none
    details: The lock is of a run, not of what the host should be.
options:
  directory:
    description: Directory of the service on the host, in which the lock is kept.
    type: path
    required: true
  project:
    description: The project's name.
    type: str
    required: true
  state:
    description:
      - V(present) takes the lock, or makes sure that this run still holds it.
      - V(absent) gives it back.
    type: str
    choices: [present, absent]
    default: present
  held:
    description: Whether this run took the lock before. It is an error then when it is not this run's any more, also when nobody has it.
    type: bool
    default: false
  wait:
    description: Seconds to wait for another deploy.
    type: int
    default: 600
  run:
    description: Identifies the run. Set by the action plugin.
    type: str
    default: ""
  break_run:
    description: The run whose lock is taken over, since it is dead. Set by the action plugin.
    type: str
    default: ""
  holder:
    description: Who runs this, for others who wait. Set by the action plugin.
    type: str
    default: unknown
seealso:
  - module: berth.django.container_service
"""

EXAMPLES = r"""
- name: Let no other deploy run beside this one
  berth.django.deploy_lock:
    project: music
    directory: /srv/berth/music/django_uwsgi
  run_once: true

- name: Let others deploy
  berth.django.deploy_lock:
    project: music
    directory: /srv/berth/music/django_uwsgi
    state: absent
  run_once: true
"""

RETURN = r"""
locked_by:
  description: Who holds the lock, when it is another run.
  type: dict
  returned: when another run holds it
  contains:
    who:
      description: User, machine and process.
      type: str
    since:
      description: When it took the lock.
      type: str
    unseen:
      description: Seconds since it was last heard of.
      type: int
    session_ended:
      description: Whether the SSH connection that it came through has ended.
      type: bool
    run:
      description: Identifies it.
      type: str
lost:
  description: Whether a lock that this run took before is not its own any more.
  type: bool
  returned: with O(held=true), when it is lost
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.berth.django.plugins.module_utils import _deploy_lock, _shell


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            directory=dict(type="path", required=True),
            project=dict(type="str", required=True),
            state=dict(type="str", choices=["present", "absent"], default="present"),
            held=dict(type="bool", default=False),
            wait=dict(type="int", default=600),
            run=dict(type="str", default=""),
            break_run=dict(type="str", default=""),
            holder=dict(type="str", default="unknown"),
        ),
        supports_check_mode=True,
    )
    values = module.params
    path = _deploy_lock.path_in(values["directory"])
    if module.check_mode:
        holder = _deploy_lock.read(path)
        module.exit_json(changed=False, **({"locked_by": _deploy_lock.describe(holder)} if holder else {}))
    try:
        with _shell.service_lock(values["project"], "deploy", values["holder"]):
            if values["state"] == "absent":
                _deploy_lock.give_back(path, values["run"])
                module.exit_json(changed=False)
            if values["held"] and not _deploy_lock.holds(path, values["run"]):
                other = _deploy_lock.read(path)
                module.exit_json(changed=False, lost=True, **({"locked_by": _deploy_lock.describe(other)} if other else {}))
            other = _deploy_lock.take(path, values["run"], values["holder"], values["break_run"])
    except _shell.EngineError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **({"locked_by": _deploy_lock.describe(other)} if other else {}))


if __name__ == "__main__":
    main()
