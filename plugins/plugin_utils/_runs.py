# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Which ansible-playbook process this is, and whether another one that a host remembers still lives."""

from __future__ import annotations

import contextlib
import os
import typing as t
from pathlib import Path

from ansible_collections.berth.django.plugins.module_utils._deploy_lock import started

# A run on another machine is not seen from here: its connection has to be gone, and nothing heard of it for this many seconds. Far above
# ControlPersist, after which a connection that is not used ends.
# Seconds. Longer than any step in which a run that lives does not ask for its lock.
UNSEEN_LIMIT = 3600


def place() -> str:
    """This machine since its last boot, and the process numbers that are valid here: containers on one machine have their own."""
    with contextlib.suppress(OSError):
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text(encoding='utf-8').strip()}/{os.readlink('/proc/self/ns/pid')}"
    return ""


def this_run() -> str:
    """Called in a worker process, whose parent is ansible-playbook."""
    main = os.getppid()
    return f"{place()}/{main}/{started(main)}"


def is_dead(holder: dict[str, t.Any]) -> bool:
    """Whether the run that holds a lock has ended without giving it back. In doubt it lives."""
    where, process, start = holder["run"].rsplit("/", 2)
    if where and where == place():
        return started(process) != start
    return bool(holder["session_ended"]) and holder["unseen"] > UNSEEN_LIMIT
