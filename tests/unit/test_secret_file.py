# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that a lab makes for itself: one for everybody, nobody else's to read, and none in check mode."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible.plugins.loader import lookup_loader
from ansible_collections.berth.django.plugins.plugin_utils._secret_file import kept


def test_made_once_for_everybody(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "postgres"
    with ThreadPoolExecutor(16) as pool:
        found = set(pool.map(lambda _: kept(path, 40), range(64)))
    assert found == {path.read_text().strip()}
    (secret,) = found
    assert len(secret) == 40 and secret.isalnum()
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [entry.name for entry in path.parent.iterdir()] == ["postgres"]


def test_existing_secret_is_returned(tmp_path: Path) -> None:
    (tmp_path / "postgres").write_text("given by hand\n")
    assert kept(tmp_path / "postgres", 40) == kept(tmp_path / "postgres", 40, write=False) == "given by hand"


@pytest.mark.parametrize("check_mode", [True, False])
def test_nothing_is_written_in_check_mode(tmp_path: Path, check_mode: bool) -> None:
    path = tmp_path / "secrets" / "postgres"
    (secret,) = lookup_loader.get("berth.django.generated_secret").run([str(path)], {"ansible_check_mode": check_mode}, length=24)
    assert len(secret) == 24
    assert path.exists() is not check_mode and path.parent.exists() is not check_mode
