# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""What a restored database is compared with: rows of the one that serves, counted just before and after a restore point. Pure: no I/O."""

from __future__ import annotations

import typing as t

Rows = t.Mapping[str, int]

# All tables of a database, counted in one statement.
COUNT = """
select coalesce(json_object_agg(name, (xpath('/row/rows/text()', counted))[1]::text::bigint), '{}') from (
  select name, query_to_xml('select count(*) as rows from ' || name, false, true, '') as counted
    from (select format('%I.%I', schemaname, relname) as name from pg_stat_user_tables) as tables
) as every;
"""


def point(name: str) -> str:
    """Counts, makes the point, counts again, and has the log that holds the point sent to the archive.

    With a transaction after it: a restore to a moment ends at the first one that is later, and fails where there is none.
    """
    later = "select pg_current_xact_id();\nselect pg_walfile_name(pg_switch_wal());\n"
    return f"{COUNT}\nselect pg_create_restore_point('{name}');\n{COUNT}\n{later}"


# Whether the archive has the segment.
ARCHIVED = "select coalesce(last_archived_wal >= '{segment}', false), coalesce(last_failed_wal, '') from pg_stat_archiver;"


def differences(before: Rows, after: Rows, restored: Rows) -> list[str]:
    """Tables whose rows cannot be right: between the two counts, whatever was written meanwhile."""
    found = [f"{name} is missing" for name in before if name in after and name not in restored]
    for name, rows in restored.items():
        low, high = sorted((before.get(name, 0), after.get(name, 0)))
        if name in before and name in after and not low <= rows <= high:
            found.append(f"{name} has {rows} rows, and had {low if low == high else f'{low} to {high}'}")
    return found


# Since when the archive takes nothing, and how much waits; no row where it does.
NOT_ARCHIVED = """
select format('since %s, %s segments wait', to_char(coalesce(last_archived_time, stats_reset), 'YYYY-MM-DD HH24:MI:SSOF'),
              (select count(*) from pg_ls_archive_statusdir() where name like '%.ready'))
  from pg_stat_archiver where last_failed_time > coalesce(last_archived_time, '-infinity') and not pg_is_in_recovery();
"""
