# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""How every action plugin of the collection executes its module on a host."""

from __future__ import annotations

import getpass
import os
import socket
import typing as t

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display


def holder() -> str:
    """Who runs this, in the words that somebody who waits for the lock will read."""
    return f"{getpass.getuser()}@{socket.gethostname()} (ansible process {os.getppid()})"


def run_module(action: ActionBase, task_vars: dict[str, t.Any], module_name: str, module_args: dict[str, t.Any]) -> dict[str, t.Any]:
    """Executes one module on the host.

    In check mode a host that does not answer is skipped with a message, since it may not exist yet: a check of a fleet
    that is still to be made tells what it can about the hosts that are there. What a module cannot know then is told, too.
    """
    # Ansible masks no_log values in what a module writes to syslog only where they look the same in Python's notation, which a value of
    # several lines does not: nothing is written there at all.
    quiet = {**task_vars, "ansible_no_target_syslog": True}
    host = task_vars.get("inventory_hostname", "this host")
    if action._task.check_mode and action._task.delegate_to:
        host = action._task.delegate_to
    try:
        result: dict[str, t.Any] = action._execute_module(
            module_name=module_name, module_args={**module_args, "holder": holder()}, task_vars=quiet
        )
    except AnsibleConnectionFailure as error:
        if not action._task.check_mode and action._task.delegate_to in (None, host):
            raise
        if not action._task.check_mode:
            # Ansible would take the host that asked for the one that is lost, and leave it out of a rescue.
            return dict(failed=True, lost_host=action._task.delegate_to, msg=f"{action._task.delegate_to} does not answer: {error.message}")
        message = f"{host} does not exist yet or does not answer, so nothing can be predicted for it: {error.message}"
        # Ansible shows no message of a task that was skipped. A warning is shown, once for each host.
        Display().warning(message)
        return dict(skipped=True, msg=message)
    # Without -v nobody sees what a result holds.
    for sentence in result.get("unknown") or [] if action._task.check_mode else []:
        Display().display(f"{host}: cannot be known before it runs: {sentence}")
    return result


def remove_tmp(action: ActionBase) -> None:
    """The directory on the host that files went to, if any: without one, a host that does not answer would be asked once more."""
    shell = action._connection._shell
    if shell.tmpdir:
        action._remove_tmp_path(shell.tmpdir, force=True)
        shell.tmpdir = None
