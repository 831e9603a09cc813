# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Count the modules that a run executes on each host: the fixed cost that this collection keeps small.

A task result is not an execution: an action plugin may run no module, or several. So the one place where every action plugin starts a
module is counted, in the workers, which inherit it by fork and each append a line to one file.
"""

from __future__ import annotations

import functools
import json
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: count_executions
type: aggregate
short_description: Count module executions per host
description:
  - Prints how many modules a run executed on each host, and which.
  - Writes the same as JSON to the file named by the environment variable E(BERTH_EXECUTIONS_FILE).
requirements:
  - enable it with E(ANSIBLE_CALLBACKS_ENABLED)
"""

JOURNAL = Path(tempfile.gettempdir()) / f"berth-executions-{os.getpid()}"


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "count_executions"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook: Any) -> None:
        JOURNAL.write_text("")
        ActionBase._execute_module = counted(ActionBase._execute_module)  # type: ignore[method-assign]

    def v2_playbook_on_stats(self, stats: Any) -> None:
        executions = [json.loads(line) for line in JOURNAL.read_text().splitlines()]
        JOURNAL.unlink()
        per_host = Counter(execution["host"] for execution in executions)
        self._display.banner("MODULE EXECUTIONS")
        for host, count in sorted(per_host.items()):
            modules = Counter(execution["module"] for execution in executions if execution["host"] == host)
            listed = ", ".join(f"{module} {times}" for module, times in modules.most_common())
            self._display.display(f"{host:<26} : {count} ({listed})")
        if target := os.environ.get("BERTH_EXECUTIONS_FILE"):
            Path(target).write_text(json.dumps({"per_host": per_host, "executions": executions}, indent=2))


def counted(execute: Any) -> Any:
    """The method, with a line in the journal for each call. A line is short enough for one atomic append."""

    @functools.wraps(execute)
    def wrapper(self: ActionBase, *args: Any, **kwargs: Any) -> Any:
        module = kwargs.get("module_name") or (args[0] if args else None) or self._task.action
        variables = kwargs.get("task_vars") or (args[3] if len(args) > 3 else None) or {}
        host = self._task.delegate_to or variables.get("inventory_hostname") or self._play_context.remote_addr
        line = json.dumps({"host": host, "module": module, "task": str(self._task.name), "transport": self._connection.transport})
        with JOURNAL.open("a") as journal:
            journal.write(line + "\n")
        return execute(self, *args, **kwargs)

    return wrapper
