# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Turn-taking between the hosts of one run."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import types
import typing as t

from ansible import constants

POLL = 0.1


class Turn:
    """Held by one worker process of ansible-playbook at a time, or by `at_once` of them; the others wait.

    The files live in the run's own temporary directory, so that a turn never outlives its run. One of them says which host failed: those
    that still wait then leave their service alone.
    """

    def __init__(self, name: str, at_once: int = 1) -> None:
        self._path = os.path.join(constants.DEFAULT_LOCAL_TMP, f"berth-turn-{name}")
        self._at_once = max(1, at_once)

    def __enter__(self) -> Turn:
        self._place = self._take_place()
        return self

    def _take_place(self) -> int:
        """The kernel gives a place back with the process that held it."""
        while True:
            for number in range(self._at_once):
                place = os.open(f"{self._path}-{number}", os.O_CREAT | os.O_WRONLY, 0o600)
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return place
                os.close(place)
            time.sleep(POLL)

    @property
    def failed_host(self) -> str:
        with contextlib.suppress(FileNotFoundError), open(f"{self._path}-failed", encoding="utf-8") as file:
            return file.read()
        return ""

    def fail(self, host: str) -> None:
        with open(f"{self._path}-failed", "w", encoding="utf-8") as file:
            file.write(host)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None) -> None:
        os.close(self._place)


def in_turn(name: str, host: str, left: str, work: t.Callable[[], dict[str, t.Any]], at_once: int = 1) -> dict[str, t.Any]:
    """Does `work` when it is the host's turn, unless another one failed in its own: then `left` was left as it was."""
    with Turn(name, at_once) as turn:
        if turn.failed_host:
            return dict(
                failed=True,
                msg=f"{turn.failed_host} failed in its turn, so {left} was left as it was on this host and runs on.",
            )
        result: dict[str, t.Any] = dict(failed=True)  # also when the host is lost in its turn
        try:
            result = work()
        finally:
            if result.get("failed"):
                turn.fail(host)
    return result
