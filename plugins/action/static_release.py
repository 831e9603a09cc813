# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller's side of static_release: carries the packed files from a host of the project to the web servers."""

from __future__ import annotations

import os
import typing as t

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible_collections.berth.django.plugins.plugin_utils._on_host import remove_tmp, run_module

MODULE = "berth.django.static_release"


class ActionModule(ActionBase):
    _requires_connection = True

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        arguments = {name: value for name, value in self._task.args.items() if value is not None}
        try:
            if arguments.get("archive") and not self._task.check_mode:
                arguments["archive"] = self._send(str(arguments["archive"]))
            result = run_module(self, task_vars, MODULE, arguments)
            if result.get("packed"):
                result["archive"] = self._fetch(result.pop("packed"))
            return result
        finally:
            remove_tmp(self)

    def _send(self, archive: str) -> str:
        folder = self._make_tmp_path()
        target = self._connection._shell.join_path(folder, os.path.basename(archive))
        self._transfer_file(archive, target)
        self._fixup_perms2([folder, target])
        return target

    def _fetch(self, path: str) -> str:
        """Into the directory that ansible-playbook removes when it ends."""
        local = os.path.join(constants.DEFAULT_LOCAL_TMP, os.path.basename(path))
        try:
            self._connection.fetch_file(path, local)
        finally:
            self._low_level_execute_command(f"rm -f {path}")
        return local
