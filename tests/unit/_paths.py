# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are in the repository, for the tests."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLLECTIONS = ROOT / ".collections"
ROLES = sorted(path for path in (ROOT / "roles").glob("*") if path.is_dir())
GOLDEN = ROOT / "tests" / "unit" / "golden"
