# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller's side of host: whose turn it is to restart its engine."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible_collections.berth.django.plugins.plugin_utils._on_host import run_module
from ansible_collections.berth.django.plugins.plugin_utils._turn import in_turn

MODULE = "berth.django.host"


class ActionModule(ActionBase):
    """All hosts are made ready at the same time; an engine that runs containers is reloaded or restarted host by host."""

    _requires_connection = True

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        arguments = {key: value for key, value in self._task.args.items() if value not in (None, "")}
        first = run_module(self, task_vars, MODULE, {**arguments, "defer_disruption": True})
        if not first.get("deferred"):
            return first
        rest = in_turn(
            "berth-host", task_vars["inventory_hostname"], "Docker Engine", lambda: run_module(self, task_vars, MODULE, arguments)
        )
        return {
            **rest,
            "changed": bool(first.get("changed") or rest.get("changed")),
            "actions": [*first.get("actions", []), *rest.get("actions", [])],
            "diff": [*first.get("diff", []), *rest.get("diff", [])],
        }
