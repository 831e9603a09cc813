# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""A project's source as the inventory names it: a directory of the controller, or a git repository in pip's notation.

``git+https://git.example.com/shop.git@v1.2#subdirectory=backend`` is fetched with the controller's own git, as a clean checkout of one
commit without its history. A branch or tag is looked up once in a run of ansible-playbook, so that all of its processes mean the same
commit. A commit that is named in full, and was fetched before, needs no network.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import posixpath
import re
import shutil
import subprocess
import tempfile
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from ansible import constants

SCHEMES = ("https", "http", "ssh", "git", "file")
FORM = "git+https://HOST/PATH.git@REF#subdirectory=FOLDER (or git+ssh://USER@HOST/PATH.git, git+file:///PATH)"
# Seconds in which a server has to answer, and to send a source.
ANSWER, FETCH = 120, 1800
# A checkout that no run has asked for in so many seconds goes when another one comes.
KEPT = 30 * 24 * 3600

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# A hook of git's sets these, and would have its own repository written to.
_OF_A_HOOK = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_PREFIX")


@dataclass(frozen=True)
class Repository:
    """Where a source is fetched from. Over HTTP, a login in the address is kept apart, as it was written: USER:PASSWORD or TOKEN."""

    url: str
    ref: str = ""
    subdirectory: str = ""
    login: str = ""

    @property
    def name(self) -> str:
        return shown(self.url)


@dataclass(frozen=True)
class Checkout:
    """A source on the controller's disk; `version` is the commit, empty for a directory that was named itself."""

    path: Path
    version: str = ""


def parse(text: str) -> Repository | None:
    """The repository that `text` names, or None for a directory. ``ValueError`` says what is wrong with it."""
    if not text.startswith("git+"):
        if re.match(r"[\w+.-]+://|[\w.-]+@[\w.-]+:", text):
            raise ValueError(f"{shown(text)} is neither a directory nor written as {FORM}.")
        return None
    parts = urlsplit(text[len("git+") :])
    path, at, ref = parts.path.rpartition("@") if "@" in parts.path else (parts.path, "", "")
    options = parse_qs(parts.fragment, keep_blank_values=True)
    folder = posixpath.normpath(unquote(options.get("subdirectory", ["."])[-1]))
    if parts.scheme not in SCHEMES or not path.strip("/") or set(options) - {"subdirectory", "egg"}:
        raise ValueError(f"{shown(text)} is not written as {FORM}.")
    if (at and not ref) or ref.startswith("-"):
        raise ValueError(f"{shown(text)} names no branch, tag or commit after its '@'.")
    if folder.startswith(("..", "/")):
        raise ValueError(f"{shown(text)}: its subdirectory is not inside of the repository.")
    user, _at, host = parts.netloc.rpartition("@")
    login = user if parts.scheme in ("https", "http") else ""
    url = urlunsplit((parts.scheme, host if login else parts.netloc, path, parts.query, ""))
    return Repository(url, ref, "" if folder == "." else folder, login)


def shown(text: str) -> str:
    """An address for messages: who logs in, and how, is left out."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", text)


def find(text: str, state: t.Callable[[], str]) -> Checkout:
    """The source on disk; a repository is kept below the directory that `state` gives. ``ValueError`` says why there is none."""
    repository = parse(text)
    if repository is None:
        path = Path(text).expanduser()
        if not path.is_dir():
            raise ValueError(f"there is no directory {path} on the controller.")
        return Checkout(path.resolve())
    directory = state()
    if not directory:
        raise ValueError(f"{repository.name} is kept below berth_state, which is not set: set it to a directory of the controller.")
    try:
        tree = _tree(repository, Path(directory).expanduser() / "sources" / _hash(repository.url))
    except OSError as error:
        raise ValueError(f"{repository.name} cannot be kept below berth_state ({directory}): {error.strerror}.") from None
    path = tree / repository.subdirectory
    if not path.is_dir():
        raise ValueError(f"{repository.name} has no directory {repository.subdirectory} at {repository.ref or 'its default branch'}.")
    return Checkout(path.resolve(), tree.name)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _tree(repository: Repository, home: Path) -> Path:
    """The checkout, `home`/COMMIT. All processes of a run ask; the first one looks the commit up, and all others find what it wrote."""
    # In the run's own temporary directory, so that what is on record never outlives its run.
    record = Path(constants.DEFAULT_LOCAL_TMP, f"berth-source-{_hash(f'{repository.url}@{repository.ref}')}")
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        commit = record.read_text(encoding="utf-8") if record.exists() else _commit(repository)
        tree = home / commit
        if not tree.is_dir():
            _fetch(repository, commit, tree)
            _forget_old(home, tree)
        if not record.exists():
            os.utime(tree)
            record.write_text(commit, encoding="utf-8")
    return tree


def _commit(repository: Repository) -> str:
    """The commit that the reference stands for now. One that is named in full needs nobody to be asked."""
    if _COMMIT.fullmatch(repository.ref):
        return repository.ref
    ref = repository.ref or "HEAD"
    listed = _git(repository, ["ls-remote", repository.url, ref, f"{ref}^{{}}"], ANSWER)
    found = {name: commit for commit, _tab, name in (line.partition("\t") for line in listed.splitlines())}
    # What an annotated tag points to comes before the tag itself.
    for name in (f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}", f"refs/heads/{ref}", f"{ref}^{{}}", ref):
        if name in found:
            return found[name]
    raise ValueError(f"{repository.name} has no branch or tag {ref!r} (a commit is named by all of its digits).")


def _fetch(repository: Repository, commit: str, tree: Path) -> None:
    """Whole or not at all: the directory gets its name when it is complete, and has no trace of git by then."""
    staging = Path(tempfile.mkdtemp(prefix=".", dir=tree.parent))
    here = ["-C", str(staging)]
    try:
        _git(repository, ["init", "--quiet", "--template=", str(staging)], ANSWER)
        _git(repository, [*here, "remote", "add", "origin", repository.url], ANSWER)
        try:
            _git(repository, [*here, "fetch", "--quiet", "--no-tags", "--depth=1", "origin", commit], FETCH)
        except ValueError:  # Not every server gives out a commit that no branch or tag points to.
            _git(repository, [*here, "fetch", "--quiet", "origin", "+refs/heads/*:refs/berth/*", "+refs/tags/*:refs/tags/*"], FETCH)
        try:
            _git(repository, [*here, "checkout", "--quiet", "--detach", commit], FETCH)
        except ValueError as error:
            raise ValueError(f"{repository.name} has no commit {commit}, or not all of it: {_reason(error)}") from None
        if (staging / ".gitmodules").is_file():
            _git(repository, [*here, "submodule", "--quiet", "update", "--init", "--recursive"], FETCH)
        for trace in [staging / ".git", *staging.rglob("*/.git")]:
            shutil.rmtree(trace) if trace.is_dir() else trace.unlink(missing_ok=True)
        staging.chmod(0o700)
        staging.rename(tree)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _forget_old(home: Path, tree: Path) -> None:
    for path in home.iterdir():
        if path.is_dir() and path != tree and path.stat().st_mtime < time.time() - KEPT:
            shutil.rmtree(path, ignore_errors=True)


def _git(repository: Repository, words: t.Sequence[str], timeout: int) -> str:
    """Nobody is asked for a password, and what the operator's own settings would change in a checkout is left as the repository has it."""
    settings = ["core.autocrlf=false", "core.hooksPath=/dev/null", "advice.detachedHead=false"]
    if repository.url.startswith("file:"):
        settings.append("protocol.file.allow=always")  # of submodules, too: the operator named this disk
    argv = ["git", *(word for setting in settings for word in ("-c", setting)), *words]
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=_environment(repository),
            timeout=timeout,
            check=False,
            start_new_session=True,  # without a terminal, ssh asks nobody either
        )
    except FileNotFoundError:
        raise ValueError(f"{repository.name} is fetched with git, which the controller does not have: install it there.") from None
    except subprocess.TimeoutExpired:
        raise ValueError(f"{repository.name} did not answer within {timeout} s.") from None
    if done.returncode != 0:
        raise ValueError(f"{repository.name} cannot be fetched: {_telling(done.stderr)}")
    return done.stdout


def _environment(repository: Repository) -> dict[str, str]:
    """A login goes by the environment, since everybody on the controller sees command lines."""
    environment = {key: value for key, value in os.environ.items() if key not in _OF_A_HOOK}
    environment.update(GIT_TERMINAL_PROMPT="0", LC_ALL="C")
    if repository.login:
        parts = urlsplit(repository.url)
        user, _colon, password = repository.login.partition(":")
        header = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
        number = int(environment.get("GIT_CONFIG_COUNT", "0"))
        environment[f"GIT_CONFIG_KEY_{number}"] = f"http.{parts.scheme}://{parts.netloc}/.extraHeader"
        environment[f"GIT_CONFIG_VALUE_{number}"] = f"Authorization: Basic {header}"
        environment["GIT_CONFIG_COUNT"] = str(number + 1)
    return environment


def _telling(errors: str) -> str:
    """What git says went wrong, as one line."""
    lines = [shown(line.strip()) for line in errors.splitlines() if line.strip()]
    telling = [line for line in lines if re.match(r"fatal:|error:|remote:|ssh:|.*(?:denied|verification)", line)]
    return " ".join((telling or lines)[-3:]) or "git says nothing about it."


def _reason(error: ValueError) -> str:
    return str(error).partition(" cannot be fetched: ")[2] or str(error)
