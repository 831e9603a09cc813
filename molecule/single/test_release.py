# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""With one web host, no other one answers while something is replaced: a release loses nothing all the same."""

from __future__ import annotations

import pytest
from losses import losses, pause
from versions import URL, deploy, rollback, served, version

LOAD = ("--keep-alive", "3", "--new", "3", "--slow", "1", "--uploads", "1", *pause(0.05))


@pytest.mark.long
def test_a_deploy_loses_nothing() -> None:
    assert deploy(version("one")).rc == 0
    with losses(URL, *LOAD) as counted:
        run = deploy(version("two"))
    assert run.rc == 0, run.told
    assert served() == {"two"} and counted["sent"] > 100 and counted["lost"] == 0, counted


@pytest.mark.long
def test_a_release_that_is_refused_and_a_rollback_lose_nothing() -> None:
    with losses(URL, *LOAD) as counted:
        refused = deploy(version("broken", **{"site_settings/settings.py": "raise RuntimeError('a typo of mine')\n"}))
        run = rollback()
    assert refused.rc != 0 and "a typo of mine" in refused.errors, refused.told
    assert run.rc == 0, run.told
    assert served() == {"one"} and counted["sent"] > 100 and counted["lost"] == 0, counted
