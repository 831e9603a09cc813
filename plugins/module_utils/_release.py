# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""What a host remembers of a project's releases: which ones served, which is under way, and what nobody needs any more. Pure: no I/O."""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t
from dataclasses import dataclass, field

BEGAN = "began"
SERVES = "serves"
ROLLED_BACK = "rolled back"
# Never on record: what a run that did not finish has switched to.
UNFINISHED = "serves, and is not finished: began"


@dataclass(frozen=True)
class Record:
    """One line of the audit: at this time, this release began to be brought to this host, served there, or was taken back."""

    at: str
    release: str
    image: str
    instance: str
    by: str
    outcome: str = SERVES
    version: str = ""  # the commit that the image was built from, where it came from one


@dataclass(frozen=True)
class UnderWay:
    """A release that has begun and is not finished: the new instance, and where the links pointed before.

    `run` is the run that began it, or goes on with it: only that one may take it back. `switched` says that it has been asked by visitors,
    `back` that it has served before, and is gone back to.
    """

    instance: str
    links: dict[str, str] = field(default_factory=dict)
    run: str = ""
    release: str = ""
    image: str = ""
    switched: bool = False
    back: bool = False

    def serves_before(self, instance: str) -> bool:
        """Whether an instance is the one that the links pointed to."""
        return any(instance and instance in target for target in self.links.values())


def to_line(record: Record) -> str:
    return json.dumps(dataclasses.asdict(record)) + "\n"


def to_text(under_way: UnderWay) -> str:
    return json.dumps(dataclasses.asdict(under_way)) + "\n"


def to_records(text: str) -> tuple[Record, ...]:
    """A line that was torn by a power cut is left out: the rest is still true."""
    return tuple(Record(**values) for values in map(_json, text.splitlines()) if values)


def to_under_way(text: str) -> UnderWay | None:
    values = _json(text)
    return UnderWay(**values) if values else None


def _json(text: str) -> dict[str, t.Any]:
    try:
        return json.loads(text)
    except ValueError:
        return {}


def to_words(record: Record) -> str:
    told = "serves since" if record.outcome == SERVES else f"{record.outcome} at"
    version = f" (commit {record.version[:12]})" if record.version else ""
    return f"{record.release}{version} {told} {record.at}, instance {record.instance}, by {record.by}"


def kept(records: t.Iterable[Record], keep: int) -> tuple[Record, ...]:
    """The newest `keep` releases that served, the newest first, each once."""
    found: dict[str, Record] = {}
    for record in reversed(tuple(records)):
        if record.outcome == SERVES:
            found.setdefault(record.release, record)
    return tuple(found.values())[:keep]


def serving(records: t.Iterable[Record]) -> Record | None:
    return next(iter(kept(records, 1)), None)


def now(records: t.Iterable[Record], under_way: UnderWay | None) -> Record | None:
    """What serves: the last on record, or what a run that did not finish has switched to."""
    if not (under_way and under_way.switched):
        return serving(records)
    began = [item for item in records if (item.instance, item.outcome) == (under_way.instance, BEGAN)]
    last = began[-1] if began else Record("an unknown time", under_way.release, under_way.image, under_way.instance, under_way.run)
    return dataclasses.replace(last, outcome=UNFINISHED)


def merged(hosts: t.Iterable[t.Iterable[Record]]) -> tuple[Record, ...]:
    """What several hosts have on record, the oldest first: a host that joined later knows only what it was there for."""
    return tuple(sorted((record for records in hosts for record in records), key=lambda record: record.at))


def overtaken(release: str, records: t.Iterable[Record]) -> bool:
    """Whether another release has served on some host since this one was begun last. A host that was away does not know."""
    own = [item.at for item in records if item.release == release]
    last = serving(records)
    return bool(own) and last is not None and last.release != release and last.at > own[-1]


def choose(records: t.Iterable[Record], keep: int, release: str = "", unfinished: str = "") -> Record:
    """The release to go back to: the named one, or the newest that is not the one that serves, which is one that is `unfinished`, or
    else the last on record. Raises ``ValueError`` with one sentence.
    """
    candidates = kept(records, keep)
    names = ", ".join(item.release for item in candidates) or "none"
    if release:
        found = next((item for item in candidates if item.release == release), None)
        if found is None:
            raise ValueError(f"the release {release} is not kept; kept are: {names}.")
        return found
    serves = unfinished or (candidates[0].release if candidates else "")
    before = next((item for item in candidates if item.release != serves), None)
    if before is None:
        raise ValueError(f"there is no release before the one that serves; kept are: {names}.")
    return before


def unneeded(names: t.Iterable[str], needed: t.Container[str]) -> tuple[str, ...]:
    return tuple(name for name in sorted(names) if name not in needed)


def is_name(text: str) -> bool:
    """What a release can be called: its image's tag, or a hash of its image's name. Anything else beside it is somebody's own."""
    return re.fullmatch(r"[0-9a-f]{12}|[0-9a-f]{16}", text) is not None


def is_built_here(image: str) -> bool:
    """The collection's own images have a digest of 16 digits as their tag. Nobody else makes them, whatever a run that was killed left."""
    return re.fullmatch(r"[0-9a-f]{16}", image.rpartition(":")[2]) is not None


def repository(image: str) -> str:
    """An image's name without its tag; empty for one that is named by its digest, whose releases are not ours to remove."""
    name, _, tag = image.rpartition(":")
    return name if name and "/" not in tag and "@" not in image else ""
