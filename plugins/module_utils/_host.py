# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""What a host needs before services run on it, as values: packages, the engine's settings, the registry login, kernel settings.

Pure: no I/O, no Ansible. ``_host_converge.py`` reads and writes.
"""

from __future__ import annotations

import base64
import json
import re
import typing as t

# What a running engine takes over on SIGHUP (dockerd's own list). Everything else needs a restart.
RELOADABLE = frozenset(
    {
        "allow-nondistributable-artifacts",
        "authorization-plugins",
        "cluster-advertise",
        "debug",
        "default-runtime",
        "features",
        "insecure-registries",
        "labels",
        "live-restore",
        "max-concurrent-downloads",
        "max-concurrent-uploads",
        "max-download-attempts",
        "registry-mirrors",
        "runtimes",
        "shutdown-timeout",
    }
)
HEADER = "# Managed by Ansible (berth.django.host): changes are overwritten.\n"


def read_os_release(text: str) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, value in pairs}


def packages(release: t.Mapping[str, str], builder: bool, apparmor: bool) -> list[str]:
    """What makes an engine on this distribution. ``ValueError`` where this is not known."""
    name = release.get("ID", "")
    if name not in ("debian", "ubuntu"):
        raise ValueError(
            f"{release.get('PRETTY_NAME', name or 'this system')} is not Debian or Ubuntu: "
            "install Docker Engine with its command line on it yourself, then this role takes it as it is."
        )
    version = _major(release)
    wanted = ["docker.io", "iptables", "ca-certificates"]
    # From Debian 13 on, the command line is a package of its own, which docker.io only recommends.
    if name == "debian" and version >= 13:
        wanted.append("docker-cli")
    # Where the kernel confines programs, the engine starts no container without the parser of the profiles.
    if apparmor:
        wanted.append("apparmor")
    return wanted + (build_packages(release) if builder else [])


def build_packages(release: t.Mapping[str, str]) -> list[str]:
    """What a builder needs beside the engine: BuildKit's client (part of Debian 12's docker.io), and debootstrap for the base."""
    has_own_client = release.get("ID") == "debian" and _major(release) < 13
    return [*([] if has_own_client else ["docker-buildx"]), "debootstrap"]


def _major(release: t.Mapping[str, str]) -> int:
    # Testing and unstable have no VERSION_ID: they are newer than any release.
    found = re.match(r"\d+", release.get("VERSION_ID", ""))
    return int(found.group()) if found else 99


# --- the engine's settings --------------------------------------------------------------------------------------------------------


def merge_daemon(text: str, wanted: t.Mapping[str, t.Any]) -> tuple[str, list[str]]:
    """daemon.json with `wanted` merged in, and the top-level keys that change. What somebody else set stays."""
    try:
        current = before = json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise ValueError(f"/etc/docker/daemon.json is not JSON ({error}): correct or remove it.") from None
    if not isinstance(current, dict):
        raise ValueError("/etc/docker/daemon.json is not a JSON object: correct or remove it.")
    if wanted.get("log-driver", current.get("log-driver")) != current.get("log-driver"):
        current = {key: value for key, value in current.items() if key != "log-opts"}  # of another driver: the engine would refuse them
    merged = {**current, **{key: _merge(current.get(key), value) for key, value in wanted.items()}}
    changed = sorted(key for key in {*merged, *before} if merged.get(key) != before.get(key))
    return (json.dumps(merged, indent=2, sort_keys=True) + "\n" if changed else text), changed


def _merge(current: t.Any, wanted: t.Any) -> t.Any:
    """Dicts are merged one level down (log-opts, say), everything else is replaced."""
    return {**current, **wanted} if isinstance(current, dict) and isinstance(wanted, dict) else wanted


def needs(changed: t.Iterable[str]) -> str:
    """What makes a running engine take over these keys: nothing, ``reload`` or ``restart``."""
    keys = set(changed)
    if not keys:
        return ""
    return "reload" if keys <= RELOADABLE else "restart"


# --- the registry -----------------------------------------------------------------------------------------------------------------


def with_login(text: str, registry: str, username: str, password: str) -> str:
    """The engine client's config.json with this login in it; other logins stay."""
    try:
        current = json.loads(text) if text.strip() else {}
    except ValueError:
        current = {}
    key = "https://index.docker.io/v1/" if registry == "docker.io" else registry
    auth = base64.b64encode(f"{username}:{password}".encode()).decode()
    auths = {**current.get("auths", {}), key: {"auth": auth}}
    return json.dumps({**current, "auths": auths}, indent=2, sort_keys=True) + "\n"


# --- kernel settings --------------------------------------------------------------------------------------------------------------


def sysctl_path(name: str) -> str:
    """``net.core.somaxconn`` -> ``/proc/sys/net/core/somaxconn``; a slash in a name stands for a dot in one of its parts, as for sysctl."""
    if not re.fullmatch(r"[a-zA-Z0-9_.*/-]+", name) or ".." in name:
        raise ValueError(f"host_sysctls: {name!r} is no name of a kernel setting.")
    return "/proc/sys/" + name.translate(str.maketrans("./", "/."))


def sysctl_text(settings: t.Mapping[str, t.Any]) -> str:
    return HEADER + "".join(f"{name} = {settings[name]}\n" for name in sorted(settings))


def same_setting(actual: str, wanted: t.Any) -> bool:
    return actual.split() == str(wanted).split()
