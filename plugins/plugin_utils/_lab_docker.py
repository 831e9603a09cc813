# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""The engine that a lab's machines run in: the one place that runs commands on the controller for the action plugin `lab`."""

from __future__ import annotations

import subprocess
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ansible.utils.display import Display

# Machines are removed and made side by side, as many as this at a time.
PARALLEL = 8


class Failed(Exception):
    """A step that did not work out; its text is what the operator reads."""


def execute(
    argv: list[str], timeout: float | None = None, data: bytes | None = None, stdin: t.Any = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Output as text, whatever the exit code."""
    source: dict[str, t.Any] = {"input": data} if data is not None else {"stdin": stdin or subprocess.DEVNULL}
    try:
        done = subprocess.run(argv, capture_output=True, check=False, timeout=timeout, env=env, **source)
    except FileNotFoundError as error:
        raise Failed(f"{argv[0]} is not installed on this machine.") from error
    except subprocess.TimeoutExpired as error:
        raise Failed(f"`{' '.join(argv)}` gave no result within {timeout:.0f} s.") from error
    return subprocess.CompletedProcess(argv, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def call(argv: list[str], **options: t.Any) -> str:
    done = execute(argv, **options)
    if done.returncode != 0:
        shown = (done.stdout + done.stderr).strip().splitlines()[-15:]
        raise Failed("`{}` failed:\n{}".format(" ".join(argv), "\n".join(shown)))
    return done.stdout


def each(subjects: list[str], work: t.Callable[..., t.Any]) -> None:
    """Side by side; the first failure is raised when all have come to an end."""
    with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
        pending = [pool.submit(work, subject) for subject in subjects]
    for future in pending:
        future.result()


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines() or done.stdout.strip().splitlines() or ["no message"]
    return lines[-1].rstrip(".")


def say(text: str) -> None:
    Display().display(f"lab: {text}")


def answers() -> bool:
    try:
        return execute(["docker", "version", "--format", "{{.Server.Version}}"], timeout=30).returncode == 0
    except Failed:
        return False


def no_engine() -> str:
    return (
        "No Docker Engine answers on this machine: `make lab` installs and starts one on Debian and Ubuntu, "
        "and DOCKER_HOST may name another."
    )
