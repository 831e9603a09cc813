# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Static files that an image brings, copied to the host. Nothing of the image is run."""

from __future__ import annotations

import os
import shutil

from ansible_collections.berth.django.plugins.module_utils import _docker_argv, _files
from ansible_collections.berth.django.plugins.module_utils._shell import EngineError, must, run


def copy(image: str, path: str, directory: str, name: str) -> tuple[int, int]:
    """Numbers of files that were copied and that were there. `name` is that of a container, which is made for it and never started."""
    staging = f"{directory.rstrip('/')}.{os.getpid()}.tmp"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        _files.make_public(staging)
        must(_docker_argv.create_bare(image, name), f"reading the static files of {image}")
        outcome = run(_docker_argv.copy_out(name, path, staging))
        if outcome.rc != 0 or not any(files for _folder, _folders, files in os.walk(staging)):
            why = "" if outcome.rc == 0 else f" ({outcome.text})"
            raise EngineError(
                f"the image {image} has no static files in {path}{why}: say in django_uwsgi_static_root where they are, "
                "or let them be collected with django_uwsgi_static_from: collectstatic."
            )
        return bring(staging, directory)
    finally:
        run(["docker", "rm", "--force", "--volumes", name])
        shutil.rmtree(staging, ignore_errors=True)


def bring(staging: str, directory: str) -> tuple[int, int]:
    """Files that differ, each renamed over its own: the web server may be sending one. A link counts as what it leads to in the tree."""
    copied = there = 0
    for folder, _folders, files in os.walk(staging):
        target = os.path.normpath(os.path.join(directory, os.path.relpath(folder, staging)))
        _files.make_public(target)
        for name in files:
            source = os.path.realpath(f"{folder}/{name}")
            if not (source.startswith(f"{os.path.realpath(staging)}/") and os.path.isfile(source)):
                continue
            if _same(source, f"{target}/{name}"):
                there += 1
                continue
            fresh = f"{target}/.{name}.{os.getpid()}.tmp"
            shutil.copyfile(source, fresh)
            shutil.copystat(source, fresh)
            os.chmod(fresh, 0o644)
            os.replace(fresh, f"{target}/{name}")
            copied += 1
    return copied, there


def _same(source: str, target: str) -> bool:
    """A time is what web servers make Last-Modified and ETag of. The image has one for each file, which all hosts get."""
    if not os.path.isfile(target) or os.path.islink(target):
        return False
    wanted, found = os.stat(source), os.stat(target)
    return (wanted.st_size, wanted.st_mtime_ns, 0o644) == (found.st_size, found.st_mtime_ns, found.st_mode & 0o777)
