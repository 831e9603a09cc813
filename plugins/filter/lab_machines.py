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
    """What each host's own variables say about its machine."""
    result = []
    for host in hosts:
        variables = hostvars[host]
        result.append(
            {
                "name": host,
                "address": variables.get("berth_address", _lab.address(host, lab)),
                "port": variables.get("ansible_port", _lab.port(host, lab)),
                **{name: variables.get(f"lab_{name}", defaults.get(name)) for name in PER_HOST},
            }
        )
    return result


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "lab_address": _lab.address,
            "lab_machines": machines,
            "lab_network": _lab.network,
            "lab_port": _lab.port,
        }
