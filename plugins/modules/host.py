#!/usr/bin/python
# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host
short_description: Make a host ready to run services in containers
description:
  - Brings Docker Engine with its command line from the distribution, or takes an engine that is there as it is.
  - Merges settings into C(/etc/docker/daemon.json), and reloads or restarts the engine only when a setting asks for it. Settings that the
    engine refuses, or does not start with, are never left in force.
  - Keeps the registry's certificate and login, kernel settings and directories.
  - One module execution, with or without systemd.
version_added: 0.1.0
author: berth.django contributors (@berth)
attributes:
  check_mode:
    support: full
    description: Predicts every step, also on a host without an engine. What only the engine can tell is listed in RV(unknown).
  diff_mode:
    support: full
    description: One diff for every file and kernel setting. The registry login never appears.
  idempotent:
    support: full
    description: A second run changes nothing. What a killed run left half done is completed.
options:
  builder:
    description: Whether images are built on this host. Brings BuildKit's client and debootstrap.
    type: bool
    default: false
  packages:
    description: More packages of the distribution, a client for a network file system for example.
    type: list
    elements: str
    default: []
  daemon:
    description: Settings to merge into C(/etc/docker/daemon.json). What others set there stays.
    type: dict
    default: {}
  registry:
    description: The registry that this host pulls from.
    type: dict
    suboptions:
      address:
        description: Host, and port if it is not 443.
        type: str
        required: true
      ca:
        description: Certificate (PEM) that the registry's is signed by. Not needed for one that the system trusts.
        type: str
      replace_ca:
        description: Whether O(registry.ca) may take the place of another one that the host has. It is an error otherwise.
        type: bool
        default: false
      username:
        description: Name for the login. Without it, there is none.
        type: str
      password:
        description: Password for the login, kept in C(/etc/berth/docker/config.json) for root only.
        type: str
  sysctls:
    description:
      - Kernel settings, kept in C(/etc/sysctl.d/60-berth.conf) and applied.
      - Names that the kernel does not know are left out with a warning.
    type: dict
    default: {}
  directories:
    description: Directories to make.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: path
        required: true
      mode:
        description: Octal mode.
        type: str
        default: "0755"
      uid:
        description: Numeric owner.
        type: int
        default: 0
      gid:
        description: Numeric group.
        type: int
        default: 0
  only_ask:
    description: Changes nothing, and returns RV(trusts) and nothing else.
    type: bool
    default: false
  defer_disruption:
    description: Set by the action plugin. Leaves an engine that runs containers with the settings that it has, and says so in RV(deferred).
    type: bool
    default: false
  holder:
    description: Filled in by the action plugin. Who runs this, for whoever waits for it.
    type: str
    default: unknown
"""

EXAMPLES = r"""
- name: Make the host ready
  berth.django.host:
    daemon:
      live-restore: true
    directories:
      - path: /srv/berth
"""

RETURN = r"""
actions:
  description: What was done, or would be, as sentences.
  returned: success
  type: list
  elements: str
trusts:
  description: Whether the host has a certificate for O(registry) already.
  returned: with O(only_ask=true)
  type: bool
deferred:
  description: Whether the engine has still to take its settings over.
  returned: success
  type: bool
unknown:
  description: What check mode could not find out.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.berth.django.plugins.module_utils import _host_converge
from ansible_collections.berth.django.plugins.module_utils._shell import EngineError, service_lock


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            **_host_converge.ARGUMENT_SPEC,
            only_ask=dict(type="bool", default=False),
            defer_disruption=dict(type="bool", default=False),
            holder=dict(type="str", default="unknown"),
        ),
        supports_check_mode=True,
    )
    if module.params["only_ask"]:
        module.exit_json(changed=False, trusts=_host_converge.trusts(module.params["registry"] or {}))
    try:
        if module.check_mode:
            work = _host_converge.converge(module.params, check=True)
        else:
            with service_lock("berth", "host", module.params["holder"]) as waited:
                if waited:
                    module.warn(waited)
                work = _host_converge.converge(module.params, check=False)
    except (ValueError, EngineError) as error:
        module.fail_json(msg=str(error))
    for warning in work.warnings:
        module.warn(warning)
    module.exit_json(changed=bool(work.actions), actions=work.actions, diff=work.diffs, deferred=work.deferred, unknown=work.unknown)


if __name__ == "__main__":
    main()
