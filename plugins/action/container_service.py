# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller's side of container_service: who may interrupt a service, and when."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible_collections.berth.django.plugins.plugin_utils._on_host import run_module
from ansible_collections.berth.django.plugins.plugin_utils._runs import this_run
from ansible_collections.berth.django.plugins.plugin_utils._turn import in_turn

MODULE = "berth.django.container_service"


class ActionModule(ActionBase):
    """All hosts prepare and validate at the same time; a step that interrupts a running service is taken host by host."""

    _requires_connection = True

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        arguments = {**self._task.args, "run": this_run()}
        if arguments.get("until") == "switch" and not arguments.get("defer_disruption") and not self._task.check_mode:
            return self._in_turn(task_vars, arguments)  # all is prepared by now: what is left to do is for so many hosts at a time
        first = run_module(self, task_vars, MODULE, {**arguments, "defer_disruption": True})
        if not first.get("deferred") or arguments.get("defer_disruption"):
            return first
        return self._in_turn(task_vars, arguments)

    def _in_turn(self, task_vars: dict[str, t.Any], arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        service = arguments["service"]
        return in_turn(
            f"{service['project']}-{service['name']}",
            task_vars["inventory_hostname"],
            service["name"],
            lambda: run_module(self, task_vars, MODULE, arguments),
            at_once=int((service.get("release") or {}).get("batch", 1)),
        )
