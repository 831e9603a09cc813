# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller's side of every module that needs nothing else there (see plugin_routing in meta/runtime.yml)."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible_collections.berth.django.plugins.plugin_utils._on_host import run_module


class ActionModule(ActionBase):
    """Says who runs it, and skips a host that does not exist yet in check mode."""

    _requires_connection = True

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        return run_module(self, task_vars or {}, self._task.resolved_action, dict(self._task.args))
