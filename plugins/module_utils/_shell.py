# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Running commands on the host, and the lock that keeps two runs apart."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import time
import typing as t
from dataclasses import dataclass

# Not below /run/lock, where everybody may write: a link that waits there would have root write where somebody else wants.
LOCK_DIRECTORY = "/run/berth"


class EngineError(Exception):
    """One message for the operator: what was tried, what the product said, what runs now."""


@dataclass(frozen=True)
class Outcome:
    argv: tuple[str, ...]
    rc: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Both streams as a person would have seen them."""
        return "\n".join(part.strip() for part in (self.out, self.err) if part.strip())


def run(argv: t.Sequence[str], stdin: str | None = None, timeout: float | None = None) -> Outcome:
    """Runs one command. A non-zero return code is an answer; a missing program is an :class:`EngineError`."""
    try:
        done = subprocess.run(list(argv), input=stdin, capture_output=True, text=True, errors="replace", timeout=timeout, check=False)
    except FileNotFoundError:
        raise EngineError(f"{argv[0]} is not installed on this host: run the host role (berth.django.host) first.") from None
    except subprocess.TimeoutExpired as expired:
        partial = expired.stdout.decode(errors="replace") if isinstance(expired.stdout, bytes) else expired.stdout or ""
        return Outcome(tuple(argv), 124, partial, f"no answer within {timeout:.0f} s")
    return Outcome(tuple(argv), done.returncode, done.stdout, done.stderr)


def must(argv: t.Sequence[str], what: str, timeout: float | None = None) -> str:
    """Runs one command that has to succeed, and returns what it printed."""
    outcome = run(argv, timeout=timeout)
    if outcome.rc != 0:
        raise EngineError(f"{what} failed: {outcome.text or f'exit code {outcome.rc}'}")
    return outcome.out


def docker_present() -> bool:
    return shutil.which("docker") is not None


def wait_for_engine(seconds: float = 30) -> None:
    """A daemon that was just restarted needs a moment; one that is down is named as such."""
    deadline = time.monotonic() + seconds
    while True:
        outcome = run(["docker", "version", "--format", "{{.Server.Version}}"], timeout=20)
        if outcome.rc == 0:
            return
        if time.monotonic() > deadline:
            raise EngineError(f"the Docker Engine of this host does not answer, start it first: {outcome.text}")
        time.sleep(0.5)


@contextlib.contextmanager
def service_lock(project: str, service: str, holder: str, timeout: float = 600) -> t.Iterator[str]:
    """One run at a time per service of a project and host. Yields a sentence about who was waited for, or an empty string.

    Per service, so that a long migration keeps nobody from switching maintenance on. What services share is made so that two may make it.

    The kernel drops the lock with the process that holds it, so that a module which outlives its killed controller is waited for,
    and a dead one is not.
    """
    name = f"{project}-{service}"
    with open(_lock_file(name), "r+", encoding="utf-8") as lock:
        started, waited_for = time.monotonic(), ""
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                lock.seek(0)
                waited_for = lock.read().strip() or "another run"
                if time.monotonic() - started > timeout:
                    raise EngineError(f"{name} on this host is still being changed by {waited_for}; try again later.") from None
                time.sleep(0.2)
        lock.seek(0)
        lock.truncate()
        lock.write(f"{holder}, process {os.getpid()} on the host, since {time.strftime('%Y-%m-%d %H:%M:%S %z')}")
        lock.flush()
        yield f"waited {time.monotonic() - started:.0f} s for {waited_for}" if waited_for else ""


def _lock_file(name: str) -> int:
    """Opened below a directory that is ours alone, following no link."""
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(LOCK_DIRECTORY, 0o700)
        directory = os.open(LOCK_DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            found = os.fstat(directory)
            if found.st_uid != os.geteuid() or found.st_mode & 0o022:
                raise EngineError(f"others than root may write to {LOCK_DIRECTORY} on this host: remove it, the next run makes it anew.")
            return os.open(f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
        finally:
            os.close(directory)
    except OSError as error:
        why = f"{error.filename or LOCK_DIRECTORY}: {error.strerror}"
        raise EngineError(
            f"no lock can be taken in {LOCK_DIRECTORY} on this host ({why}): be root, and remove it if it is in the way."
        ) from None
