# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a data directory says of itself before a server is started on it."""

from __future__ import annotations

import struct
from pathlib import Path

from ansible_collections.berth.django.plugins.module_utils._postgres_data import look_at


def test_data_of_a_server(tmp_path: Path) -> None:
    data = tmp_path / "17"
    (data / "global").mkdir(parents=True)
    (data / "PG_VERSION").write_text("17\n")
    (data / "global" / "pg_control").write_bytes(struct.pack("=Q", 7391234567890123456) + b"\1" * 8184)
    found = look_at(str(data))
    assert found["data"] and found["system"] == "7391234567890123456"
    assert 8192 <= found["used"] < 10**6 < found["free"]


def test_a_host_without_any(tmp_path: Path) -> None:
    """Also where nothing is there but what is above it."""
    found = look_at(str(tmp_path / "srv" / "berth" / "postgres" / "data" / "17"))
    assert (found["data"], found["system"], found["used"]) == (False, "", 0) and found["free"] > 0


def test_data_that_lost_its_control_file(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("17\n")
    assert look_at(str(tmp_path))["system"] == ""
