# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers of lab hosts, from their names (each is documented in its own .yml beside)."""

from __future__ import annotations

import typing as t

from ansible_collections.berth.django.plugins.plugin_utils import _lab

PER_HOST = ("publish", "volumes", "memory", "cpus", "engine", "images", "cache")


def machines(
    hosts: list[str], hostvars: t.Mapping[str, t.Mapping[str, t.Any]], lab: str, defaults: dict[str, t.Any]
) -> list[dict[str, t.Any]]:
    """What each host's own variables say about its machine. Hosts with the same `lab_machine` are one, which has what all of them want."""
    result: dict[str, dict[str, t.Any]] = {}
    for host in hosts:
        variables = hostvars[host]
        name = variables.get("lab_machine", host)
        wanted = {
            "name": name,
            "address": variables.get("berth_address", _lab.address(name, lab)),
            "port": variables.get("ansible_port", _lab.port(name, lab)),
            **{key: variables.get(f"lab_{key}", defaults.get(key)) for key in PER_HOST},
        }
        known = result.setdefault(name, wanted)
        for key in ("publish", "volumes", "images"):
            known[key] = list(dict.fromkeys([*known[key], *wanted[key]]))
    return list(result.values())


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "lab_address": _lab.address,
            "lab_machines": machines,
            "lab_network": _lab.network,
            "lab_port": _lab.port,
        }
