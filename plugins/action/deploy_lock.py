# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller's side of deploy_lock: waits for a run that lives, and takes over from one that does not."""

from __future__ import annotations

import time
import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.berth.django.plugins.module_utils._deploy_lock import path_in
from ansible_collections.berth.django.plugins.plugin_utils._on_host import run_module
from ansible_collections.berth.django.plugins.plugin_utils._runs import is_dead, this_run

MODULE = "berth.django.deploy_lock"
POLL = 2

display = Display()


class ActionModule(ActionBase):
    _requires_connection = True

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        arguments = {**self._task.args, "run": this_run()}
        deadline = time.monotonic() + int(arguments.get("wait", 600))
        told = ""
        while True:
            result = run_module(self, task_vars, MODULE, arguments)
            if result.get("lost_host"):
                return {**result, "msg": f"{result['msg']} While it is away, another host can keep the lock: django_uwsgi_lock_host."}
            other = result.get("locked_by")
            by = f"{other['who']}, since {other['since']}" if other else "another one, which has finished"
            if result.get("lost"):
                return dict(failed=True, msg=f"this deploy lost its lock to {by}, and stops here: look what serves now, and run it again.")
            if not other or self._task.check_mode:
                return result
            if is_dead(other):
                display.warning(f"the deploy of {by} ended without an end; this one takes over and continues from what it finds.")
                arguments["break_run"] = other["run"]
                continue
            where = f"{path_in(arguments['directory'])} on {self._task.delegate_to or task_vars['inventory_hostname']}"
            if time.monotonic() > deadline:
                way_out = f"Try again when it has finished. If it never will, because its machine is gone, remove {where}."
                return dict(failed=True, msg=f"another deploy of this project runs: {by}. {way_out}", locked_by=other)
            if told != other["run"]:
                display.display(f"waiting for the deploy of {by} (if it was killed on another machine, remove {where})")
                told = other["run"]
            time.sleep(POLL)
