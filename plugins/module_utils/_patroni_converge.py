# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Brings a Patroni cluster to what is wanted, by its REST API. What differs is decided in ``_patroni.py``."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.berth.django.plugins.module_utils import _patroni
from ansible_collections.berth.django.plugins.module_utils._patroni_api import Api, NoAnswer, wait_whole
from ansible_collections.berth.django.plugins.module_utils._shell import EngineError

ARGUMENT_SPEC: dict[str, t.Any] = dict(
    project=dict(type="str", required=True),
    url=dict(type="str", required=True),
    ca=dict(type="str", required=True),
    username=dict(type="str", default="patroni"),
    password=dict(type="str", default="", no_log=True),
    data=dict(type="path"),
    settings=dict(type="dict", default={}),
    members=dict(type="list", elements="str", default=[]),
    primary=dict(type="str", default=""),
    hand_over=dict(type="bool", default=False),
    wait=dict(type="int", default=120),
)
# A switchover waits for the primary's checkpoint; a restart, for what still runs.
LONG = 300
UNKNOWN_WITHOUT_MEMBER = ("which settings the members share, as none answers yet",)
Parameters = t.Mapping[str, t.Any]


def changes_anything(parameters: Parameters) -> bool:
    return any(parameters[name] for name in ("settings", "primary", "hand_over", "members"))


def converge(parameters: Parameters, check_mode: bool) -> dict[str, t.Any]:
    """The result of the task. With `check_mode`, what it would be."""
    api = Api(parameters["url"], parameters["ca"], parameters["username"], parameters["password"])
    wanted = parameters["settings"]
    try:
        if parameters["members"] and not check_mode:
            wait_whole(api, parameters["members"], parameters["wait"])
        found, current = api.members(), api.settings() if wanted else {}
    except NoAnswer as error:
        if changes_anything(parameters) and not check_mode:
            raise EngineError(f"{error}.") from None
        unknown = list(UNKNOWN_WITHOUT_MEMBER) if changes_anything(parameters) else []
        return dict(changed=False, leader="", members=[], actions=[], unknown=unknown)
    differs = _patroni.patch(current, wanted)
    actions = [f"set {name} to {value}" for name, value in _patroni.flat(differs).items()]
    hands_over = next_leader(parameters, found)
    if hands_over:
        actions.append(f"hand the primary over from {_patroni.leader(found) or 'nobody'} to {hands_over}")
    if not check_mode:
        if differs:
            api.ask("/config", "PATCH", differs)
        actions += restart_pending(api, parameters) if differs else []
        if hands_over:
            switch_over(api, found, hands_over)
        if hands_over or differs:
            found = wait_whole(api, parameters["members"] or [member.name for member in found], parameters["wait"])
    before = {name: _patroni.lookup(current, name) for name in _patroni.flat(differs)}
    return dict(
        changed=bool(actions),
        leader=_patroni.leader(found),
        members=found,
        actions=actions,
        unknown=[],
        diff=dict(before=before, after=_patroni.flat(differs)),
    )


def next_leader(parameters: Parameters, found: t.Sequence[_patroni.Member]) -> str:
    """Who is to lead in the place of who does; empty when nobody is."""
    if not parameters["primary"] and not parameters["hand_over"]:
        return ""
    name = parameters["primary"] or _patroni.successor(found)
    if not name:
        raise EngineError("no member follows the primary: there is nobody to hand over to.")
    why = _patroni.cannot_lead(found, name)
    if why:
        raise EngineError(why)
    return name if name != _patroni.leader(found) else ""


def switch_over(api: Api, found: t.Sequence[_patroni.Member], candidate: str) -> None:
    api.ask("/switchover", "POST", {"leader": _patroni.leader(found), "candidate": candidate}, timeout=LONG)


def restart_pending(api: Api, parameters: Parameters) -> list[str]:
    """Members learn of new settings within a round of Patroni's loop, and say which of them wait for a restart."""
    time.sleep(float(api.settings().get("loop_wait", 10)) + 1)
    waiting = [member for member in api.members() if member.pending_restart]
    for member in sorted(waiting, key=lambda each: each.leads):
        own = Api(member.api_url.removesuffix("/patroni"), api.ca, api.username, api.password)
        own.ask("/restart", "POST", {"restart_pending": True}, timeout=LONG)
        wait_whole(api, parameters["members"], parameters["wait"])
    return [f"restart {member.name}" for member in waiting]
