# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""The keys of a lab: made once, given to every machine."""

from __future__ import annotations

import hashlib
import io
import tarfile
import time
from pathlib import Path

from ansible_collections.berth.django.plugins.plugin_utils._lab_docker import call


class Keys:
    """One key pair to log in with, one that all machines show: they can be made again and again without a prompt."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.own = directory / "id_ed25519"
        self.host = directory / "host_ed25519"
        self.known_hosts = directory / "known_hosts"

    def complete(self) -> bool:
        return all(path.is_file() for path in (self.own, self.host, self.known_hosts))

    def fingerprint(self) -> str:
        if not self.complete():
            return ""
        return hashlib.sha256(public(self.own) + public(self.host)).hexdigest()[:12]

    def make(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path, comment in ((self.own, "berth lab"), (self.host, "berth lab host")):
            if not path.is_file():
                call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])
        kind, key = public(self.host).decode().split()[:2]
        self.known_hosts.write_text(f"[127.0.0.1]:* {kind} {key}\n")

    def archive(self) -> bytes:
        """A tar of what a machine gets of it."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name, text, mode in (
                ("root/.ssh", None, 0o700),
                ("root/.ssh/authorized_keys", public(self.own), 0o600),
                ("etc/ssh/ssh_host_ed25519_key", self.host.read_bytes(), 0o600),
                ("etc/ssh/ssh_host_ed25519_key.pub", public(self.host), 0o644),
            ):
                entry = tarfile.TarInfo(name)
                entry.mode = mode
                entry.mtime = int(time.time())
                if text is None:
                    entry.type = tarfile.DIRTYPE
                    tar.addfile(entry)
                else:
                    entry.size = len(text)
                    tar.addfile(entry, io.BytesIO(text))
        return buffer.getvalue()


def public(path: Path) -> bytes:
    return path.with_name(f"{path.name}.pub").read_bytes()
