# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The source of a release that is not built yet, on the host where it is asked."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

from ansible_collections.berth.django.plugins.module_utils import _preview
from ansible_collections.berth.django.plugins.module_utils._spec import Mount


def test_only_the_source_is_unpacked_and_only_its_user_reads_it(tmp_path: Path) -> None:
    archive, folder = tmp_path / "context.tar.gz", tmp_path / "app"
    folder.mkdir(mode=0o700)
    with tarfile.open(archive, "w:gz") as tar:
        for name, mode in (("Dockerfile", 0o644), ("source/manage.py", 0o755), ("source/shop/urls.py", 0o644), ("source/../../out", 0o644)):
            member = tarfile.TarInfo(name)
            member.size, member.mode = 1, mode
            tar.addfile(member, io.BytesIO(b"x"))
    _preview.unpack(str(archive), str(folder), os.getuid(), os.getgid())
    found = {str(path.relative_to(tmp_path)): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"context.tar.gz": found["context.tar.gz"], "app/manage.py": 0o700, "app/shop/urls.py": 0o600}


def test_roots_inside_of_the_source_can_be_mounted(tmp_path: Path) -> None:
    targets = ("/app/src/media", "/srv/media", "/appendix")
    _preview.make_mount_points(str(tmp_path), [Mount("/srv/uploads", target) for target in targets])
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["src", "src/media"]
