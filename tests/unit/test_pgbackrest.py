# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pgBackRest's answer means, which moments can be restored, and what a drill compares."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from ansible_collections.berth.django.plugins.module_utils import _drill, _pgbackrest

UTC = datetime.timezone.utc
NOON = datetime.datetime(2026, 11, 22, 12, tzinfo=UTC)


def answer(*stops: datetime.datetime, code: int = 0, message: str = "ok", error: bool = False) -> list[dict[str, Any]]:
    """As `pgbackrest info --output=json` of 2.55 has it, as far as it is read."""
    backups = [
        {
            "label": f"{stop:%Y%m%d-%H%M%S}F",
            "type": "full",
            "timestamp": {"start": int(stop.timestamp()) - 60, "stop": int(stop.timestamp())},
            "info": {"size": 31000000, "delta": 31000000, "repository": {"delta": 3600000}},
            "error": error,
            "archive": {"start": "000000010000000000000002", "stop": "000000010000000000000002"},
        }
        for stop in stops
    ]
    archive = [{"database": {"id": 1}, "id": "17-1", "max": "000000010000000000000007", "min": "000000010000000000000001"}]
    return [{"name": "music", "status": {"code": code, "message": message}, "backup": backups, "archive": archive}]


def test_backups_are_told_the_oldest_first() -> None:
    known = _pgbackrest.repository(answer(NOON, NOON - datetime.timedelta(days=1)), "music")
    assert [backup.label for backup in known.backups] == ["20261121-120000F", "20261122-120000F"]
    assert known.newest == known.backups[1] and known.newest.stored == 3600000 and not known.newest.damaged
    assert known.archive == "000000010000000000000007"


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([], "the repository knows no database music"),
        (answer(code=2, message="no valid backups"), "no valid backups"),
        (answer(), "none was made yet"),
    ],
)
def test_without_a_backup_nothing_is_restored(found: list[dict[str, Any]], words: str) -> None:
    known = _pgbackrest.repository(found, "music")
    assert words in _pgbackrest.why_not("latest", known, NOON) and words in _pgbackrest.why_old(known, NOON, 26)


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("latest", []),
        ("name:before-7", ["--type=name", "--target=before-7", "--target-action=promote"]),
        ("2026-11-22 14:03:00+02", ["--type=time", "--target=2026-11-22 12:03:00.000000+00", "--target-action=promote"]),
        ("2026-11-22 12:03:00.12345+00", ["--type=time", "--target=2026-11-22 12:03:00.123450+00", "--target-action=promote"]),
        ("2026-11-22T12:03:00.5Z", ["--type=time", "--target=2026-11-22 12:03:00.500000+00", "--target-action=promote"]),
    ],
)
def test_targets(to: str, words: list[str]) -> None:
    assert _pgbackrest.target_options(to) == words


@pytest.mark.parametrize(("to", "words"), [("yesterday", "is none of latest, a time such as"), ("2026-11-22 14:03:00", "has no time zone")])
def test_what_is_no_target(to: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        _pgbackrest.target_options(to)


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("latest", ""),
        ("name:anything", ""),
        ("2026-11-22 12:00:00+00", ""),
        ("2026-11-22 12:30:01+00", "is in the future: it is 2026-11-22 12:30:00+00 now"),
        ("2026-11-22 11:59:59+00", "is before the end of the oldest backup, 2026-11-22 12:00:00+00"),
    ],
)
def test_what_can_be_restored(to: str, words: str) -> None:
    known = _pgbackrest.repository(answer(NOON), "music")
    said = _pgbackrest.why_not(to, known, NOON + datetime.timedelta(minutes=30))
    assert words in said if words else said == ""


def test_a_backup_that_is_too_old_or_damaged_is_told() -> None:
    known = _pgbackrest.repository(answer(NOON), "music")
    assert _pgbackrest.why_old(known, NOON + datetime.timedelta(hours=25), 26) == ""
    assert "more than 26 hours ago" in _pgbackrest.why_old(known, NOON + datetime.timedelta(hours=27), 26)
    assert "damaged pages" in _pgbackrest.why_old(_pgbackrest.repository(answer(NOON, error=True), "music"), NOON, 26)


def test_a_restore_needs_room() -> None:
    known = _pgbackrest.repository(answer(NOON), "music")
    assert _pgbackrest.why_no_room(known, "/srv", 31000001) == ""
    told = _pgbackrest.why_no_room(known, "/srv", 30000000)
    assert told == "the data of 20261122-120000F takes 0.03 GiB, and /srv has room for 0.03 GiB: give that host a larger disk."
    assert _pgbackrest.why_no_room(_pgbackrest.repository([], "music"), "/srv", 0) == "", "that there is none is told already"


@pytest.mark.parametrize(
    ("restored", "expected"),
    [
        ({"public.song": 7, "public.cover": 3}, []),
        ({"public.song": 9, "public.cover": 3}, []),
        ({"public.song": 6, "public.cover": 3}, ["public.song has 6 rows, and had 7 to 9"]),
        ({"public.song": 8, "public.cover": 4}, ["public.cover has 4 rows, and had 3"]),
        ({"public.song": 8}, ["public.cover is missing"]),
        ({"public.song": 8, "public.cover": 3, "public.went_meanwhile": 1}, []),
    ],
)
def test_rows_are_between_the_two_counts(restored: dict[str, int], expected: list[str]) -> None:
    before = {"public.song": 7, "public.cover": 3, "public.went_meanwhile": 1}
    assert _drill.differences(before, {"public.song": 9, "public.cover": 3}, restored) == expected


@pytest.mark.parametrize(
    ("there", "last", "expected"),
    [
        (["01/02", "01/03", "01/04"], "000000010000000000000004", []),
        (["01/02", "01/04"], "000000010000000000000004", ["000000010000000000000003"]),
        (["01/02", "01/03", "02/03", "02/04"], "000000020000000000000004", []),
        (["01/02", "02/04"], "000000020000000000000005", ["000000020000000000000003", "000000020000000000000005"]),
    ],
)
def test_log_that_is_missing(there: list[str], last: str, expected: list[str]) -> None:
    """As timeline/segment."""
    parts = [name.split("/") for name in there]
    files = [f"17-1/{0:016X}/000000{line}00000000000000{segment}-{'a' * 40}.zst" for line, segment in parts]
    assert _pgbackrest.missing_log([*files, "17-1/00000002.history"], "000000010000000000000002", last) == expected


def test_log_that_is_missing_where_names_roll_over() -> None:
    files = [f"0000000100000001000000FF-{'a' * 40}.zst", f"000000010000000200000001-{'a' * 40}"]
    assert _pgbackrest.missing_log(files, "0000000100000001000000FF", "000000010000000200000001") == ["000000010000000200000000"]
