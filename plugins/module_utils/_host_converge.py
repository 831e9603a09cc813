# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Brings a host to what the `host` role wants: compares, and does the difference unless only asked. The rules are in ``_host.py``."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.berth.django.plugins.module_utils import _host
from ansible_collections.berth.django.plugins.module_utils._docker_argv import DOCKER_CONFIG
from ansible_collections.berth.django.plugins.module_utils._shell import EngineError, Outcome, docker_present, run

DAEMON = Path("/etc/docker/daemon.json")
# There while daemon.json holds something that the engine has not taken over yet: what a killed run left is completed by the next one.
PENDING = Path("/etc/berth/daemon.pending")
CERTIFICATES = Path("/etc/docker/certs.d")
SYSCTL = Path("/etc/sysctl.d/60-berth.conf")
PID_FILE = Path("/run/docker.pid")
APT_TIMEOUT = 1200
START_TIMEOUT = 90
# How long there may be no process at all while the engine starts.
START_PATIENCE = 5
# Where the init script, and we without one, let the engine write.
LOG = Path("/var/log/docker.log")

_DIRECTORY = dict(
    path=dict(type="path", required=True),
    mode=dict(type="str", default="0755"),
    uid=dict(type="int", default=0),
    gid=dict(type="int", default=0),
)
_REGISTRY = dict(
    address=dict(type="str", required=True),
    ca=dict(type="str"),
    replace_ca=dict(type="bool", default=False),
    username=dict(type="str"),
    password=dict(type="str", no_log=True),
)
# What a host is to be like.
ARGUMENT_SPEC: dict[str, t.Any] = dict(
    builder=dict(type="bool", default=False),
    packages=dict(type="list", elements="str", default=[]),
    daemon=dict(type="dict", default={}),
    registry=dict(type="dict", options=_REGISTRY),
    sysctls=dict(type="dict", default={}),
    directories=dict(type="list", elements="dict", options=_DIRECTORY, default=[]),
)


@dataclass
class Work:
    """What one run finds to do. With `check`, nothing is done and everything is told; with `defer`, an engine that serves is left alone."""

    check: bool
    defer: bool = False
    deferred: bool = False
    actions: list[str] = field(default_factory=list)
    diffs: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def do(self, sentence: str, act: t.Callable[[], t.Any]) -> None:
        self.actions.append(sentence)
        if not self.check:
            act()

    def write(self, path: Path, text: str, mode: int, secret: bool = False, parent_mode: int = 0o755) -> bool:
        """Makes a file say `text`; returns whether it did not."""
        before, before_mode = _read(path), _mode(path)
        if before == text and before_mode == mode:
            return False
        if before != text:
            shown = ("(hidden)\n" if before else "", "(hidden, changed)\n") if secret else (before or "", text)
            self.diffs.append(dict(before=shown[0], after=shown[1], before_header=str(path), after_header=str(path)))
        self.do(f"wrote {path}" if before != text else f"set the mode of {path}", lambda: _write(path, text, mode, parent_mode))
        return True


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777 if path.exists() else -1


def _write(path: Path, text: str, mode: int, parent_mode: int) -> None:
    """Whole or not at all, and never readable by others in between."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    if parent_mode != 0o755:
        path.parent.chmod(parent_mode)
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    staging.chmod(mode)
    staging.replace(path)


def converge(options: t.Mapping[str, t.Any], check: bool) -> Work:
    work = Work(check, defer=bool(options["defer_disruption"]) and not check)
    _refuse_another_authority(options["registry"])
    _directories(work, options["directories"])
    _sysctls(work, options["sysctls"])
    _trust_and_login(work, options["registry"])
    present = _engine(work, options)
    _daemon(work, options["daemon"], present)
    return work


# --- directories and kernel settings ----------------------------------------------------------------------------------------------


def _directories(work: Work, wanted: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    for item in wanted:
        path, mode, owner = Path(item["path"]), int(item["mode"], 8), (item["uid"], item["gid"])
        if path.exists() and not path.is_dir():
            raise EngineError(f"{path} is in the way: it is no directory.")
        if not path.is_dir():
            work.do(f"made the directory {path}", lambda path=path, mode=mode, owner=owner: _own(path, mode, owner))  # type: ignore[misc]
        elif (_mode(path), path.stat().st_uid, path.stat().st_gid) != (mode, *owner):
            work.do(f"set owner and mode of {path}", lambda path=path, mode=mode, owner=owner: _own(path, mode, owner))  # type: ignore[misc]


def _own(path: Path, mode: int, owner: tuple[int, int]) -> None:
    path.mkdir(parents=True, exist_ok=True)
    os.chown(path, *owner)
    path.chmod(mode)


def _sysctls(work: Work, wanted: t.Mapping[str, t.Any]) -> None:
    known = {}
    for name, value in wanted.items():
        path = Path(_host.sysctl_path(name))
        if not path.exists():
            work.warnings.append(f"the kernel of this host has no {name}: left out.")
            continue
        known[name] = value
        if _host.same_setting(path.read_text(encoding="utf-8"), value):
            continue
        work.diffs.append(dict(before=path.read_text(encoding="utf-8"), after=f"{value}\n", before_header=name, after_header=name))
        work.do(f"set {name} to {value}", lambda path=path, name=name, value=value: _set(path, name, value))  # type: ignore[misc]
    if known:
        work.write(SYSCTL, _host.sysctl_text(known), 0o644)


def _set(path: Path, name: str, value: t.Any) -> None:
    try:
        path.write_text(f"{value}\n", encoding="utf-8")
    except OSError as error:
        why = f"{error.strerror}. In a container, /proc/sys has to be writable."
        raise EngineError(f"{name} cannot be set to {value} on this host: {why}") from None


# --- the registry -----------------------------------------------------------------------------------------------------------------


def _authority_of(registry: t.Mapping[str, t.Any]) -> Path:
    return Path(CERTIFICATES, str(registry["address"]).partition("/")[0], "ca.crt")


def trusts(registry: t.Mapping[str, t.Any]) -> bool:
    return bool(registry.get("address")) and _authority_of(registry).is_file()


def _refuse_another_authority(registry: t.Mapping[str, t.Any] | None) -> None:
    """The registry has one certificate: a host that trusts another authority than the rest of the fleet can pull nothing."""
    if not registry or not registry.get("ca") or registry.get("replace_ca") or not trusts(registry):
        return
    path = _authority_of(registry)
    if (_read(path) or "").strip() != str(registry["ca"]).strip():
        raise EngineError(
            f"this host trusts another authority for the registry {registry['address']} ({path}) than the one of this run: bring the "
            "fleet's own to berth_state or berth_ca_certificate, or have every host trust this one with -e replace_registry_ca=true."
        )


def _trust_and_login(work: Work, registry: t.Mapping[str, t.Any] | None) -> None:
    if not registry or not registry.get("address"):
        return
    address = str(registry["address"]).partition("/")[0]
    if registry.get("ca"):
        work.write(_authority_of(registry), str(registry["ca"]).rstrip("\n") + "\n", 0o644)
    if registry.get("username"):
        config = Path(DOCKER_CONFIG, "config.json")
        text = _host.with_login(_read(config) or "", address, str(registry["username"]), str(registry.get("password") or ""))
        work.write(config, text, 0o600, secret=True, parent_mode=0o700)


# --- the engine -------------------------------------------------------------------------------------------------------------------


def _engine(work: Work, options: t.Mapping[str, t.Any]) -> bool:
    """Packages, and an engine that answers. Returns whether there was one before: in check mode a missing one cannot be asked."""
    release = _host.read_os_release(_read(Path("/etc/os-release")) or "")
    confined = (_read(Path("/sys/module/apparmor/parameters/enabled")) or "").strip() == "Y"
    apparmor = confined and not shutil.which("apparmor_parser", path=_paths())
    missing: list[str] = []
    installed = bool(shutil.which("dockerd", path=_paths())) and docker_present()
    if not installed:
        missing = _host.packages(release, bool(options["builder"]), apparmor)
    elif options["builder"]:
        missing = [name for name in _host.build_packages(release) if not _has(name)]
    missing += [name for name in options["packages"] if not _is_installed(name)]
    if missing:
        work.do(f"installed {', '.join(missing)}", lambda: _install(missing))
    if not installed and work.check:
        work.unknown.append("there is no Docker Engine yet: what it runs, and whether it takes its settings, is not known")
    if installed and not _answers():
        work.do("started Docker Engine", _start)
    elif not installed and not work.check:
        # Packages start the service where they can; its settings below need an engine that answers.
        _start()
    return installed


def _paths() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/local/sbin:/usr/bin"


def _has(package: str) -> bool:
    if package == "docker-buildx":
        return run(["docker", "buildx", "version"]).rc == 0
    return bool(shutil.which(package, path=_paths()))


def _is_installed(package: str) -> bool:
    if not shutil.which("dpkg-query"):
        raise EngineError(f"host_packages ({package}) can be installed on Debian and Ubuntu only.")
    return run(["dpkg-query", "--show", "--showformat", "${db:Status-Status}", package]).out == "installed"


def _install(names: list[str]) -> None:
    environment = ["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"]
    # Unattended upgrades of a fresh machine hold dpkg's lock for some minutes.
    apt = [*environment, "apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=600", "-o", "APT::Install-Recommends=false"]
    updated = run([*apt, "update"], timeout=APT_TIMEOUT)
    outcome = run([*apt, "install", *names], timeout=APT_TIMEOUT)
    if outcome.rc != 0:
        raise EngineError(f"installing {', '.join(names)} failed:\n{_telling(outcome)}\n{_telling(updated) if updated.rc else ''}".rstrip())


def _telling(outcome: Outcome) -> str:
    lines = outcome.text.splitlines()
    return "\n".join([line for line in lines if line.startswith(("E:", "W:", "Err:"))] or lines[-15:])


def _daemon(work: Work, wanted: t.Mapping[str, t.Any], present: bool) -> None:
    before = _read(DAEMON) or ""
    text, changed = _host.merge_daemon(before, wanted)
    pending = (_read(PENDING) or "").strip()
    how = "restart" if "restart" in (pending, _host.needs(changed)) else pending or _host.needs(changed)
    if changed and not work.check:
        _validate(text)
    if how and work.defer and present and _serves():
        work.deferred = True
        return
    if changed:
        if not work.check:
            _write(PENDING, how + "\n", 0o600, 0o755)
        work.write(DAEMON, text, 0o644)
    if not how:
        return
    if not present and work.check:
        return
    why = ", ".join(changed) or "what a run before left"
    words = {"reload": f"made Docker Engine reload its settings, for {why}", "restart": f"restarted Docker Engine, for {why}"}
    work.do(words[how], lambda: _apply_or_go_back(how, before if changed else None))


def _validate(text: str) -> None:
    """The engine's own check, in those versions that have it (23 and later)."""
    candidate = Path(f"/run/berth-daemon.{os.getpid()}.json")
    candidate.write_text(text, encoding="utf-8")
    try:
        outcome = run([shutil.which("dockerd", path=_paths()) or "dockerd", "--validate", "--config-file", str(candidate)], timeout=60)
    finally:
        candidate.unlink()
    if outcome.rc != 0 and "unknown flag" not in outcome.text:
        raise EngineError(f"Docker Engine refuses the settings in host_daemon:\n{outcome.text.replace(str(candidate), str(DAEMON))}")


def _apply_or_go_back(how: str, before: str | None) -> None:
    """Settings that pass the engine's check and still keep it from starting are taken back: containers need an engine."""
    try:
        _apply(how)
    except EngineError as error:
        if before is None:
            raise
        if before:
            _write(DAEMON, before, 0o644, 0o755)
        else:
            DAEMON.unlink()
        _start()
        PENDING.unlink()
        raise EngineError(f"Docker Engine did not start with the settings in host_daemon, those before are back. {error}") from None


def _apply(how: str) -> None:
    pid = _pid()
    if pid:
        # First live-restore, which a reload takes over: with it, containers survive the restart that other settings need.
        os.kill(pid, signal.SIGHUP)
        time.sleep(1)
    if how == "restart" or not pid:
        _stop()
        _start()
    _wait()
    PENDING.unlink()


def _pid() -> int:
    """The engine's process, 0 without one. A pid file may be older than the boot."""
    for path in (PID_FILE, Path("/var/run/docker.pid")):
        with contextlib.suppress(OSError, ValueError):
            pid = int(path.read_text(encoding="utf-8"))
            if "dockerd" in Path(f"/proc/{pid}/comm").read_text(encoding="utf-8"):
                return pid
    return 0


def _answers() -> bool:
    return run(["docker", "version", "--format", "{{.Server.Version}}"], timeout=20).rc == 0


def _serves() -> bool:
    return bool(run(["docker", "ps", "--quiet"], timeout=20).out.strip())


def _has_systemd() -> bool:
    return Path("/run/systemd/system").is_dir()


def _stop() -> None:
    if _has_systemd():
        run(["systemctl", "reset-failed", "docker.service"])
        run(["systemctl", "stop", "docker.service"], timeout=START_TIMEOUT)
        return
    pid = _pid()
    if not pid:
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + START_TIMEOUT
    while Path(f"/proc/{pid}").exists() and _pid() == pid:
        if time.monotonic() > deadline:
            raise EngineError(f"Docker Engine (process {pid}) did not stop within {START_TIMEOUT} s.")
        time.sleep(0.2)


def _start() -> None:
    if _answers():
        return
    if _has_systemd():
        run(["systemctl", "start", "docker.service"], timeout=START_TIMEOUT)
    elif Path("/etc/init.d/docker").exists() and run(["service", "docker", "start"], timeout=START_TIMEOUT).rc == 0:
        pass
    elif not _pid():
        _start_directly()
    _wait()


def _wait() -> None:
    """Until the engine answers. One that ended is not waited for, and its own last words are the message."""
    started, last_seen = time.monotonic(), time.monotonic()
    while not _answers():
        now = time.monotonic()
        last_seen = now if _pid() else last_seen
        if now - last_seen > START_PATIENCE or now - started > START_TIMEOUT:
            raise EngineError(f"Docker Engine does not start. It said:\n{_last_words()}")
        time.sleep(0.3)


def _last_words() -> str:
    if _has_systemd():
        return run(["journalctl", "-u", "docker.service", "-n", "15", "--no-pager", "--output", "cat"]).out
    lines = (_read(LOG) or "").splitlines()[-15:]
    telling = [
        line for line in lines if line.startswith("failed to start daemon") or "unable to configure" in line or "level=fatal" in line
    ]
    return "\n".join(telling[-1:] or lines)


def _start_directly() -> None:
    """No init system at hand: the engine becomes a daemon of its own, with its log where the init script would have put it."""
    with LOG.open("ab") as log:
        program = shutil.which("dockerd", path=_paths()) or "dockerd"
        subprocess.Popen([program], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/")
