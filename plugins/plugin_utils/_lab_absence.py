# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Removes the machines of a lab, and all that was made for them."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.berth.django.plugins.plugin_utils import _lab
from ansible_collections.berth.django.plugins.plugin_utils._lab_docker import Failed, answers, call, each, execute, no_engine, say


class Absence:
    """Removes every trace of a lab, found by its label: the inventory may have changed since it was made."""

    def __init__(self, options: dict[str, t.Any], directory: Path, check: bool) -> None:
        self.name = options["name"]
        self.check = check
        self.keep_images = options["keep_images"]
        self.ssh = directory / "ssh"
        self.base_record = directory / "lab-base"

    def converge(self) -> dict[str, t.Any]:
        if not answers():
            if self.check:
                return {"changed": False, "actions": [], "msg": no_engine()}
            raise Failed(no_engine())
        label = ["--filter", f"label={_lab.LABEL}={self.name}"]
        containers = call(["docker", "ps", "--all", *label, "--format", "{{.Names}}"]).split()
        networks = call(["docker", "network", "ls", *label, "--format", "{{.Name}}"]).split()
        volumes = call(["docker", "volume", "ls", *label, "--format", "{{.Name}}"]).split()
        others = call(["docker", "ps", "--all", "--filter", f"label={_lab.LABEL}", "--format", "{{.Names}}"]).split()
        images = [] if self.keep_images or set(others) - set(containers) else self._images()
        sentences = [f"Remove {name}" for name in [*containers, *networks, *volumes, *images]]
        if not self.check:
            if containers:
                say(f"removing {', '.join(containers)}")
            each(containers, lambda name: call(["docker", "rm", "--force", "--volumes", name]))
            for kind, names in (("network", networks), ("volume", volumes)):
                if names:
                    call(["docker", kind, "rm", *names])
            for image in images:
                execute(["docker", "image", "rm", image])
            self.base_record.unlink(missing_ok=True)
        return {"changed": bool(sentences), "actions": sentences, "machines": {}}

    def _images(self) -> list[str]:
        """The machines' images, and the base image where this lab brought it and it is still the same one."""
        images = call(["docker", "image", "ls", "--filter", f"label={_lab.LABEL}.image", "--format", "{{.Repository}}:{{.Tag}}"]).split()
        if self.base_record.is_file():
            reference, identity = self.base_record.read_text().split()
            if execute(["docker", "image", "inspect", "--format", "{{.Id}}", reference]).stdout.strip() == identity:
                images.append(reference)
        return [image for image in images if "<none>" not in image]
