# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""The ``service`` option of ``container_service``, its types already coerced by :data:`SERVICE_ARGUMENT_SPEC`, as a value. Pure: no I/O."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.berth.django.plugins.module_utils._service_options import SERVICE_ARGUMENT_SPEC
from ansible_collections.berth.django.plugins.module_utils._spec import (
    BeforeStop,
    Config,
    Directory,
    Health,
    Link,
    Mount,
    Network,
    Port,
    Probe,
    Release,
    Service,
    Validation,
    with_instance,
)
from ansible_collections.berth.django.plugins.module_utils._spec_rules import check, check_identity

__all__ = ["SERVICE_ARGUMENT_SPEC", "parse"]


def _strings(values: dict[str, t.Any] | None) -> dict[str, str]:
    return {str(key): value if isinstance(value, str) else json.dumps(value) for key, value in (values or {}).items()}


def _given(name: str, values: dict[str, t.Any] | None) -> dict[str, str]:
    """What a program is told. Nothing would become the text "null"."""
    for key, value in (values or {}).items():
        if value is None:
            raise ValueError(f"service.{name}.{key} is empty (null): give it a value, or take it out.")
    return _strings(values)


def _probe(values: dict[str, t.Any] | None) -> Probe | None:
    if not values:
        return None
    given: dict[str, t.Any] = {key: tuple(value) if key == "command" else value for key, value in values.items() if value}
    return Probe(**given)


def _health(given: dict[str, t.Any]) -> Health:
    return Health(**{**given, "command": tuple(given["command"]), "explain": tuple(given.get("explain") or ())})


def _mounts(values: t.Iterable[dict[str, t.Any]] | None) -> tuple[Mount, ...]:
    return tuple(Mount(item["source"], item["target"], item.get("read_only", True)) for item in values or ())


_LISTS = ("command", "entrypoint", "capabilities", "group_add")
_DICTS = ("tmpfs", "ulimits", "sysctls", "extra_hosts", "labels", "hints")
_SCALARS = (
    "secrets_path",
    "workdir",
    "host_network",
    "cpus",
    "pids_limit",
    "read_only",
    "no_new_privileges",
    "stop_signal",
    "stop_grace",
    "shm_size",
    "init",
    "restart",
    "replace",
)


def _plain(given: dict[str, t.Any]) -> dict[str, t.Any]:
    """The keys that need no value of their own kind."""
    return {
        **{key: tuple(str(item) for item in given[key]) for key in _LISTS if key in given},
        **{key: _strings(given[key]) for key in _DICTS if key in given},
        **{key: given[key] for key in _SCALARS if key in given},
    }


def parse(values: dict[str, t.Any]) -> Service:
    """The ``service`` option as a value, checked and with its instance id.

    Raises ``ValueError`` with one sentence that names the key when the spec cannot be run as it stands.
    """
    given = {key: value for key, value in values.items() if value is not None}
    unknown = sorted(set(given) - set(SERVICE_ARGUMENT_SPEC))
    if unknown:
        raise ValueError(f"service.{unknown[0]} is not a key of a service. Known keys: {', '.join(sorted(SERVICE_ARGUMENT_SPEC))}.")
    check_identity(given)
    uid, gid = (int(part) for part in given["user"].split(":"))
    before_stop = given.get("before_stop") or {}
    log = given.get("log") or {}
    config = given.get("config")
    service = Service(
        project=given["project"],
        name=given["name"],
        fleet=given["fleet"],
        image=given["image"],
        user=given["user"],
        directory=given["directory"].rstrip("/"),
        health=_health(given["health"]),
        memory=given["memory"],
        env=_given("env", given.get("env")),
        secrets=_given("secrets", given.get("secrets")),
        config=Config(files=_strings(config["files"]), path=config.get("path") or "/etc/berth") if config else None,
        directories=tuple(
            Directory(
                path=item["path"],
                mode=item.get("mode") or "0750",
                uid=uid if item.get("uid") is None else item["uid"],
                gid=gid if item.get("gid") is None else item["gid"],
            )
            for item in given.get("directories", ())
        ),
        mounts=_mounts(given.get("mounts")),
        networks=tuple(Network(item["name"], tuple(item.get("aliases", ()))) for item in given.get("networks", ())),
        ports=tuple(
            Port(item["address"], item["port"], item["container_port"], item.get("protocol") or "tcp") for item in given.get("ports", ())
        ),
        log_driver=log.get("driver") or "",
        log_options=_strings(log.get("options")),
        validate=tuple(
            Validation(tuple(item["command"]), _mounts(item.get("mounts")), _strings(item.get("tmpfs")), _strings(item.get("env")))
            for item in given.get("validate", ())
        ),
        reload=_probe(given.get("reload")),
        proof=_probe(given.get("proof")),
        restart_when=_probe(given.get("restart_when")),
        switch=tuple(Link(item["link"], item["target"], item.get("previous") or "") for item in given.get("switch", ())),
        release=Release(**given["release"]) if given.get("release") else None,
        shared=tuple(given.get("shared", ())),
        before_stop=BeforeStop(
            withdraw=before_stop.get("withdraw") or "",
            settle=before_stop.get("settle", 0),
            drained=_probe(before_stop.get("drained")),
            timeout=before_stop.get("timeout", 60),
        ),
        **_plain(given),
    )
    check(service, public=[bool(item.get("public")) for item in given.get("ports", ())])
    return with_instance(service)
