# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller's side of image: knows the images, asks the builder which are missing, and sends what those are built from."""

from __future__ import annotations

import os
import shutil
import tempfile
import typing as t
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.berth.django.plugins.plugin_utils import _build_secrets, _builds
from ansible_collections.berth.django.plugins.plugin_utils._on_host import remove_tmp, run_module

MODULE = "berth.django.image"
ARGUMENTS: dict[str, t.Any] = dict(
    roles=dict(type="list", elements="str", required=True),
    push=dict(type="bool", default=True),
    ca_bundle=dict(type="path"),
    pip_index_url=dict(type="str", no_log=True),
    pip_extra_index_urls=dict(type="list", elements="str", no_log=True),
    debian_mirror=dict(type="str", default=""),
)
DEBOOTSTRAP = _builds.ROLES / "image/files/debootstrap.sh"


class ActionModule(ActionBase):
    """One module execution when nothing is missing, one more for every image that is."""

    _requires_connection = True

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _result, options = self.validate_argument_spec(argument_spec=ARGUMENTS)
        options = {key: None if value in ("", []) and key != "debian_mirror" else value for key, value in options.items()}
        try:
            images = _builds.wanted(options["roles"] or [], task_vars, self._loader, self._templar)
            return self._converge(images, options, task_vars)
        except ValueError as error:
            raise AnsibleActionFail(str(error)) from None

    def _converge(self, images: dict[str, _builds.Image], options: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        push = bool(options["push"])
        if not images:
            return dict(changed=False, missing=[], actions=[], unknown=[])
        answer = self._on_builder(options, {"ask": sorted(images), "push": push}, task_vars)
        missing = answer.get("missing", [])
        if answer.get("failed") or answer.get("skipped") or not missing:
            return {"actions": [], **answer}
        diff = dict(before="", after="".join(f"{reference}\n" for reference in missing), before_header="images", after_header="images")
        result: dict[str, t.Any] = dict(changed=True, missing=missing, unknown=answer.get("unknown", []), diff=diff)
        if self._task.check_mode:
            return {**result, "actions": [f"would build {'and push ' if push else ''}{reference}" for reference in missing]}
        actions: list[str] = []
        failures: list[dict[str, t.Any]] = []
        for number, reference in enumerate(missing, start=1):
            Display().display(f"building {images[reference].build.name} ({number} of {len(missing)}): {reference}")
            made = self._make(images[reference], options, push, task_vars)
            actions += made.get("actions", [])
            if made.get("failed"):
                failures.append(made)
                # What is wrong with one project keeps no other one from being built. What all of them stand on is another matter.
                if not images[reference].build.source:
                    break
        if failures:
            message = "\n\n".join(dict.fromkeys(str(failure.get("msg")) for failure in failures))
            return {**failures[0], "msg": message, "actions": actions, "changed": bool(actions)}
        return {**result, "actions": actions}

    def _on_builder(self, options: dict[str, t.Any], request: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        return run_module(self, task_vars, MODULE, {"roles": options["roles"], "push": options["push"], "request": request})

    def _make(self, image: _builds.Image, options: dict[str, t.Any], push: bool, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        local = tempfile.mkdtemp(prefix="berth-image-")
        try:
            files = self._files(image, options, local)
            folder = self._make_tmp_path()
            for file in files:
                self._transfer_file(str(file), self._connection._shell.join_path(folder, file.name))
            self._fixup_perms2([folder, *(self._connection._shell.join_path(folder, file.name) for file in files)])
            wanted = dict(
                reference=image.reference,
                base=image.base,
                refresh=image.refresh,
                args=image.build.args,
                variables=image.build.variables,
                version=image.build.version,
                folder=folder,
                debian_mirror=options["debian_mirror"],
                push=push,
            )
            return self._on_builder(options, {"make": wanted}, task_vars)
        finally:
            shutil.rmtree(local, ignore_errors=True)
            remove_tmp(self)

    def _files(self, image: _builds.Image, options: dict[str, t.Any], local: str) -> list[Path]:
        """What goes to the builder: the context, the script for the base, and the build secrets, in a directory of mode 0700."""
        context = Path(local, "context.tar.gz")
        _builds.write_tar(image, str(context))
        if not image.reference.endswith(f":{_builds.tag_of(image.build)}"):
            raise ValueError(f"{image.build.source or image.build.context} changed while it was being read: run again.")
        script = Path(local, "debootstrap.sh")
        shutil.copyfile(DEBOOTSTRAP, script)
        files = [context, script]
        bundle = _build_secrets.ca_bundle(options["ca_bundle"], os.environ)
        pip = _build_secrets.pip_conf(options["pip_index_url"], options["pip_extra_index_urls"], os.environ)
        if bundle:
            files.append(Path(local, "ca"))
            shutil.copyfile(bundle, files[-1])
        if pip:
            files.append(Path(local, "pip"))
            files[-1].write_text(pip, encoding="utf-8")
        return files
