# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the machines of a lab (plugin_utils/_lab_presence.py), or remove them (plugin_utils/_lab_absence.py).

Everything happens on the controller, through its Docker command line: machines are containers of the engine that answers there.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.berth.django.plugins.plugin_utils._lab_absence import Absence
from ansible_collections.berth.django.plugins.plugin_utils._lab_docker import Failed
from ansible_collections.berth.django.plugins.plugin_utils._lab_presence import Presence

MACHINE_OPTIONS: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "publish": {"type": "list", "elements": "str"},
    "volumes": {"type": "list", "elements": "str"},
    "memory": {"type": "str"},
    "cpus": {"type": "str"},
    "engine": {"type": "bool", "default": True},
    "images": {"type": "list", "elements": "str"},
    "cache": {"type": "str"},
}
OPTIONS: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "machines": {"type": "list", "elements": "dict", "options": MACHINE_OPTIONS, "default": []},
    "network": {"type": "str"},
    "base": {"type": "str", "default": "debian:trixie-slim"},
    "nameservers": {"type": "list", "elements": "str", "default": []},
    "directory": {"type": "path", "required": True},
    "keep_images": {"type": "bool", "default": False},
    "prune": {"type": "bool", "default": True},
}


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        _validated, options = self.validate_argument_spec(OPTIONS)
        directory = Path(options["directory"])
        work = Absence if options["state"] == "absent" else Presence
        try:
            result.update(work(options, directory, self._task.check_mode).converge())
        except (Failed, ValueError) as error:
            raise AnsibleActionFail(str(error)) from error
        return result
