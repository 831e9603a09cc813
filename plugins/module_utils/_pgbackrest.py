# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""What pgBackRest says of its repository, and what can be restored from it. Pure: no I/O, no Ansible."""

from __future__ import annotations

import datetime
import re
import typing as t
from dataclasses import dataclass

UTC = datetime.timezone.utc
LATEST = "latest"
NAME = "name:"


@dataclass(frozen=True)
class Backup:
    """One backup; sizes in bytes: of the database, and of what it takes in the repository."""

    label: str
    type: str
    start: datetime.datetime
    stop: datetime.datetime
    size: int
    stored: int
    damaged: bool
    log: str  # the first segment that a restore of it needs


@dataclass(frozen=True)
class Repository:
    """Its backups, the oldest first; `problem` says why there can be none."""

    backups: tuple[Backup, ...]
    archive: str = ""
    problem: str = ""

    @property
    def newest(self) -> Backup | None:
        return self.backups[-1] if self.backups else None


def repository(answer: t.Sequence[t.Mapping[str, t.Any]], stanza: str) -> Repository:
    """Of ``pgbackrest info --output=json``."""
    found = next((each for each in answer if each["name"] == stanza), None)
    if found is None:
        return Repository((), problem=f"the repository knows no database {stanza}: no backup was ever made")
    problem = "" if found["status"]["code"] == 0 else str(found["status"]["message"])
    backups = sorted((_backup(each) for each in found.get("backup", [])), key=lambda each: each.stop)
    archives = [each for each in found.get("archive", []) if each.get("max")]
    return Repository(tuple(backups), archive=str(archives[-1]["max"]) if archives else "", problem=problem)


def _backup(found: t.Mapping[str, t.Any]) -> Backup:
    when, info = found["timestamp"], found["info"]
    return Backup(
        label=str(found["label"]),
        type=str(found["type"]),
        start=datetime.datetime.fromtimestamp(when["start"], UTC),
        stop=datetime.datetime.fromtimestamp(when["stop"], UTC),
        size=int(info["size"]),
        stored=int(info["repository"].get("delta", 0)),
        damaged=bool(found.get("error")),
        log=str((found.get("archive") or {}).get("start") or ""),
    )


def target_options(to: str) -> list[str]:
    """Words for ``pgbackrest restore``. ``ValueError`` says how a target is written."""
    if to == LATEST:
        return []
    if to.startswith(NAME):
        return ["--type=name", f"--target={to.removeprefix(NAME)}", "--target-action=promote"]
    return ["--type=time", f"--target={moment(to):%Y-%m-%d %H:%M:%S.%f+00}", "--target-action=promote"]


def moment(to: str) -> datetime.datetime:
    """As PostgreSQL prints it, or ISO 8601. Python before 3.11 wants an offset with minutes, and six digits after the point."""
    text = re.sub(r"([+-]\d\d)$", r"\1:00", str(to).strip().replace("Z", "+00:00"))
    text = re.sub(r"\.(\d{1,6})", lambda match: f".{match[1]:0<6}", text)
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{to!r} is none of {LATEST}, a time such as '2026-11-22 14:03:00+00', and {NAME}NAME of a restore point: give one of them."
        ) from None
    if found.tzinfo is None:
        raise ValueError(f"{to!r} has no time zone: add +00 for UTC, or the offset of your own, such as +02.")
    return found.astimezone(UTC)


def why_not(to: str, known: Repository, now: datetime.datetime) -> str:
    """Why that cannot be restored; empty when it can."""
    if not known.backups:
        return f"there is no backup: {known.problem or 'none was made yet'}."
    if to == LATEST or to.startswith(NAME):
        return ""
    wanted, oldest = moment(to), known.backups[0]
    if wanted > now:
        return f"{to} is in the future: it is {told(now)} now."
    if wanted < oldest.stop:
        return f"{to} is before the end of the oldest backup, {told(oldest.stop)}: nothing before that can be restored."
    return ""


def told(when: datetime.datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S}+00"


def why_old(known: Repository, now: datetime.datetime, hours: int) -> str:
    """Why the newest backup is none to rely on; empty when it is."""
    newest = known.newest
    if newest is None:
        return f"there is no backup: {known.problem or 'none was made yet'}."
    if now - newest.stop > datetime.timedelta(hours=hours):
        return f"the newest backup, {newest.label}, ended at {told(newest.stop)}, more than {hours} hours ago."
    return f"the newest backup, {newest.label}, has damaged pages: see the log of the repository's host." if newest.damaged else ""


def why_no_room(known: Repository, directory: str, room: int) -> str:
    """Why what the newest backup holds does not fit into so many bytes; empty when it does."""
    newest = known.newest
    if newest is None or room > newest.size:
        return ""
    return f"the data of {newest.label} takes {gib(newest.size)}, and {directory} has room for {gib(room)}: give that host a larger disk."


def gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


_SEGMENT = re.compile(r"(?:^|/)([0-9A-F]{24})-[0-9a-f]{40}")
# Segments of 16 MB, PostgreSQL's default: so many have the same middle part of a name.
_OF_ONE_FILE = 256


def missing_log(files: t.Iterable[str], first: str, last: str) -> list[str]:
    """Segments that the archive lacks between two, whatever their timelines; `files` are the names in it."""
    there = {_number(match[1]) for match in map(_SEGMENT.search, files) if match}
    return [_name(last[:8], number) for number in range(_number(first), _number(last) + 1) if number not in there]


def _number(segment: str) -> int:
    return int(segment[8:16], 16) * _OF_ONE_FILE + int(segment[16:24], 16)


def _name(timeline: str, number: int) -> str:
    return f"{timeline}{number // _OF_ONE_FILE:08X}{number % _OF_ONE_FILE:08X}"
