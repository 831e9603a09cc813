# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server without an engine: a check of the whole site says what it would make there, what it cannot know, and makes nothing."""

from __future__ import annotations

import re

import pytest
from fleet import HOSTS, Run, on, playbook

HOST = next(iter(HOSTS), "")


@pytest.fixture(scope="module")
def check() -> Run:
    assert on(HOST, "command -v dockerd docker || echo none") == "none", "this host is not fresh"
    return playbook("--check", "--diff")


def test_check_fails_nowhere(check: Run) -> None:
    assert check.rc == 0, check.told


@pytest.mark.parametrize("task", ["Converge the host", "Converge PostgreSQL", "Ship the release", "Converge nginx", "Converge HAProxy"])
def test_check_predicts_what_would_be_made(check: Run, task: str) -> None:
    assert re.search(rf"^TASK \[.*{task}.*\] \**$(?:\n(?!TASK|PLAY).*)*\nchanged: \[{HOST}\]", check.out, re.MULTILINE), check.out


@pytest.mark.parametrize(
    "sentence",
    [
        "there is no Docker Engine yet: what it runs, and whether it takes its settings, is not known",
        "there is no Docker Engine on this host yet",
    ],
)
def test_check_names_what_it_cannot_know(check: Run, sentence: str) -> None:
    assert sentence in check.out, check.out


def test_check_shows_the_settings_of_the_engine(check: Run) -> None:
    assert '+  "live-restore": true' in check.out and "+net.core.somaxconn = 4096" in check.out, check.out


def test_check_made_nothing(check: Run) -> None:
    assert on(HOST, "ls -d /srv/berth /etc/berth /etc/docker /etc/sysctl.d/60-berth.conf 2>/dev/null || true") == ""
    assert on(HOST, "command -v dockerd docker || echo none") == "none"
