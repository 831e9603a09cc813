# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Turn-taking between the hosts of one run."""

from __future__ import annotations

import fcntl
import os
import types
import typing as t

from ansible import constants


class Turn:
    """Held by one worker process of ansible-playbook at a time; the others wait in the kernel.

    The file lives in the run's own temporary directory, so that a turn never outlives its run, and says which host failed: those that
    still wait then leave their service alone.
    """

    def __init__(self, name: str) -> None:
        self._path = os.path.join(constants.DEFAULT_LOCAL_TMP, f"berth-turn-{name}")
        self.failed_host = ""

    def __enter__(self) -> Turn:
        self._file: t.TextIO = open(self._path, "a+", encoding="utf-8")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._file.seek(0)
        self.failed_host = self._file.read()
        return self

    def fail(self, host: str) -> None:
        self._file.write(host)
        self._file.flush()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None) -> None:
        self._file.close()
