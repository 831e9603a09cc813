# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""What Patroni says of its cluster, and what differs from what it should say. Pure: no I/O, no Ansible."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

Settings = t.Mapping[str, t.Any]
LEADS = ("leader", "standby_leader")
# Has everything that was acknowledged.
SYNCHRONOUS = ("sync_standby", "quorum_standby")


@dataclass(frozen=True)
class Member:
    """One server of the cluster, as GET /cluster shows it."""

    name: str
    role: str
    state: str
    api_url: str = ""
    pending_restart: bool = False

    @property
    def leads(self) -> bool:
        return self.role in LEADS

    @property
    def well(self) -> bool:
        return self.state == "running" if self.leads else self.state == "streaming"


def members(answer: t.Mapping[str, t.Any]) -> list[Member]:
    return [
        Member(
            name=str(each["name"]),
            role=str(each["role"]),
            state=str(each["state"]),
            api_url=str(each.get("api_url", "")),
            pending_restart=bool(each.get("pending_restart")),
        )
        for each in answer.get("members", [])
    ]


def leader(found: t.Iterable[Member]) -> str:
    """Its name, or an empty string while there is none."""
    return next((member.name for member in found if member.leads and member.state == "running"), "")


def successor(found: t.Iterable[Member]) -> str:
    """Who is to lead when nobody is named: a member that follows, and one that has everything first. Empty when nobody does."""
    follow = [member for member in found if not member.leads and member.well]
    return next((member.name for member in sorted(follow, key=lambda each: each.role not in SYNCHRONOUS)), "")


def cannot_lead(found: t.Sequence[Member], name: str) -> str:
    """Why it cannot; empty when it can."""
    known = {member.name: member for member in found}
    have_all = [member.name for member in found if member.role in SYNCHRONOUS]
    if name not in known:
        return f"{name!r} is no member of the cluster: {', '.join(known)}."
    if not known[name].well:
        return f"{name} is {known[name].state}, and does not follow the primary: name another one, or wait."
    if have_all and name not in have_all and not known[name].leads:
        return f"{name} does not follow synchronously, and may lack what was acknowledged: name {' or '.join(have_all)}."
    return ""


def missing(found: t.Sequence[Member], wanted: t.Iterable[str]) -> list[str]:
    """What keeps the cluster from being whole, one phrase each."""
    known = {member.name: member for member in found}
    told = [] if leader(found) else ["there is no primary"]
    for name in wanted:
        member = known.get(name)
        if member is None:
            told.append(f"{name} has not joined")
        elif not member.well:
            told.append(f"{name} ({member.role}) is {member.state}")
    return told


def patch(current: Settings, wanted: Settings) -> dict[str, t.Any]:
    """What PATCH /config needs to make `current` have all of `wanted`; what only `current` has stays. None takes a setting out."""
    found: dict[str, t.Any] = {}
    for name, value in wanted.items():
        if isinstance(value, t.Mapping):
            inner = patch(current.get(name) or {}, value)
            if inner:
                found[name] = inner
        elif current.get(name) != value:
            found[name] = value
    return found


def flat(settings: Settings, prefix: str = "") -> dict[str, t.Any]:
    """Dotted names, for people."""
    found: dict[str, t.Any] = {}
    for name, value in settings.items():
        found.update(flat(value, f"{prefix}{name}.") if isinstance(value, t.Mapping) else {f"{prefix}{name}": value})
    return found


def lookup(settings: Settings, dotted: str) -> t.Any:
    value: t.Any = settings
    for part in dotted.split("."):
        value = value.get(part) if isinstance(value, t.Mapping) else None
    return value


def in_order(asked: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[str]:
    """In which order members are converged: the primary last, so that what it hands over to is new already.

    Where none answers, the one that has data begins: it becomes the primary, and the others copy it. `asked` is what M(postgres_cluster)
    returned on each host.
    """
    hosts = list(asked)
    leads = next((str(answer["leader"]) for answer in asked.values() if answer.get("leader")), "")
    if leads:
        return [*(host for host in hosts if host != leads), *(host for host in hosts if host == leads)]
    with_data = [host for host in hosts if asked[host].get("data")]
    return [*with_data, *(host for host in hosts if host not in with_data)]
