#!/usr/bin/python
# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_drain
short_description: Send no new requests to servers that HAProxy is about to lose
description:
  - Drains the servers of a running HAProxy that the configuration to come does not have, and waits until they have answered what they
    were asked. What they depend on can then be taken from them, before the configuration itself is changed.
  - A server is drained only where another one of its backend is up. A backend that the configuration does not have is left alone.
  - A server that was drained and is in the configuration is taken back.
  - Without a running HAProxy there is nothing to drain.
version_added: 0.2.0
author: berth.django contributors (@berth)
attributes:
  check_mode:
    support: full
    description: Says what would be drained.
  diff_mode:
    support: full
    description: The state of each server before and after.
  idempotent:
    support: full
    description: A drained server is not drained again.
options:
  project:
    description: The project that HAProxy belongs to.
    type: str
    required: true
  socket:
    description: HAProxy's admin socket on the host.
    type: path
    required: true
  config:
    description: The configuration to come.
    type: str
    required: true
  wait:
    description: Seconds until a server that still answers is given up. A warning names it.
    type: int
    default: 30
  holder:
    description: Who runs this. Set by the action plugin.
    type: str
    default: unknown
"""

EXAMPLES = r"""
- name: Send no new requests to hosts that are not in the inventory any more
  berth.django.haproxy_drain:
    project: music
    socket: /srv/berth/music/haproxy/run/current/admin.sock
    config: "{{ lookup('ansible.builtin.template', 'haproxy.cfg.j2') }}"
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, one sentence each.
  type: list
  elements: str
  returned: success
  sample: ["drain web3 of the backend django"]
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.berth.django.plugins.module_utils import _haproxy, _haproxy_drain, _shell


def converge(module: AnsibleModule) -> dict[str, object]:
    """Uses of `module`: its parameters, check_mode and warn."""
    socket = module.params["socket"]
    changes = _haproxy_drain.wanted_changes(socket, module.params["config"])
    if not module.check_mode:
        for change in changes:
            refused = _haproxy_drain.ask(socket, change.command).strip()
            if refused:
                raise _shell.EngineError(f"HAProxy refused to {change.sentence}: {refused}")
        deadline = time.monotonic() + module.params["wait"]
        while changes and (left := _haproxy.busy(_haproxy_drain.servers(socket), changes)):
            if time.monotonic() > deadline:
                module.warn(f"{', '.join(server.name for server in left)}: still answering requests after {module.params['wait']} s")
                break
            time.sleep(0.2)
    diff = dict(
        before="".join(f"{change.server.backend}/{change.server.name}: {change.server.status}\n" for change in changes),
        after="".join(f"{change.server.backend}/{change.server.name}: {change.state}\n" for change in changes),
    )
    return dict(changed=bool(changes), actions=[change.sentence for change in changes], diff=diff)


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            project=dict(type="str", required=True),
            socket=dict(type="path", required=True),
            config=dict(type="str", required=True),
            wait=dict(type="int", default=30),
            holder=dict(type="str", default="unknown"),
        ),
        supports_check_mode=True,
    )
    try:
        if module.check_mode:
            module.exit_json(**converge(module))
        with _shell.service_lock(module.params["project"], "haproxy", module.params["holder"]) as waited:
            if waited:
                module.warn(waited)
            module.exit_json(**converge(module))
    except _shell.EngineError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
