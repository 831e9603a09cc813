# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller's side of the django_* modules that can look ahead: check mode shows them a source that is not built yet."""

from __future__ import annotations

import shutil
import tempfile
import typing as t
from pathlib import Path

from ansible.plugins.action import ActionBase
from ansible_collections.berth.django.plugins.plugin_utils import _builds
from ansible_collections.berth.django.plugins.plugin_utils._on_host import remove_tmp, run_module

ROLE = "django_uwsgi"


class ActionModule(ActionBase):
    _requires_connection = True

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        arguments = dict(self._task.args)
        result = run_module(self, task_vars, self._task.resolved_action, arguments)
        if not (result.pop("image_missing", False) and arguments.get("preview") and self._task.check_mode):
            return result
        image = self._own_image(arguments["service"]["image"], task_vars)
        return self._ask_source(image, arguments, task_vars) if image else result

    def _own_image(self, reference: str, task_vars: dict[str, t.Any]) -> _builds.Image | None:
        """What the image would be built from, where it is the collection's own."""
        try:
            image = _builds.image_of(ROLE, task_vars, self._loader, self._templar)
        except ValueError:
            return None
        return image if image.reference == reference else None

    def _ask_source(self, image: _builds.Image, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        local = tempfile.mkdtemp(prefix="berth-preview-")
        try:
            archive = Path(local, "context.tar.gz")
            _builds.write_tar(image, str(archive))
            folder = self._make_tmp_path()
            target = self._connection._shell.join_path(folder, archive.name)
            self._transfer_file(str(archive), target)
            self._fixup_perms2([folder, target])
            return run_module(self, task_vars, self._task.resolved_action, {**arguments, "preview_archive": target})
        finally:
            shutil.rmtree(local, ignore_errors=True)
            remove_tmp(self)
