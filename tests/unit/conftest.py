# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make `ansible_collections.berth.django` importable the way Ansible does it, so that plugins and plain imports agree."""

from __future__ import annotations

import pytest
from _paths import COLLECTIONS
from ansible.plugins.loader import init_plugin_loader

init_plugin_loader([str(COLLECTIONS)])


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--refresh-golden", action="store_true", help="write what the templates produce now, to be read in git diff")


@pytest.fixture
def refresh_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--refresh-golden"))
