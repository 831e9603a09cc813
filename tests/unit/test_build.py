# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The built collection holds what a user installs, and nothing that running it left behind."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml
from _paths import ROOT

LEFT_BEHIND = re.compile(
    r"(^|/)(\.git|\.venv|\.berth|\.cache|\.collections|\.ansible|__pycache__|\.pytest_cache|\.ruff_cache|\.mypy_cache)(/|$)"
    r"|\.(pyc|retry|pem|key|log|tar\.gz)$|(^|/)(id_rsa|id_ed25519|known_hosts)"
)
KEPT = ["LICENSE", "README.md", "meta/runtime.yml", "plugins/modules/inventory_check.py", "examples/music/manage.py"]


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    target = tmp_path_factory.mktemp("built")
    galaxy = Path(sys.executable).parent / "ansible-galaxy"
    outcome = subprocess.run(
        [galaxy, "collection", "build", ROOT, "--output-path", target], capture_output=True, text=True, cwd=target, check=False
    )
    assert outcome.returncode == 0, outcome.stderr
    with tarfile.open(next(target.glob("*.tar.gz"))) as archive:
        return archive.getnames()


def test_nothing_left_behind(members: list[str]) -> None:
    assert [name for name in members if LEFT_BEHIND.search(name)] == []


def test_everything_needed(members: list[str]) -> None:
    assert [name for name in KEPT if name not in members] == []


def test_version_has_a_changelog_entry() -> None:
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    fragments = ROOT / "changelogs" / "fragments"
    released = ROOT / "changelogs" / "changelog.yaml"
    assert any(fragments.glob("*.yml")) or version in yaml.safe_load(released.read_text())["releases"]


@pytest.mark.parametrize("path", sorted((ROOT / "changelogs" / "fragments").glob("*.yml")), ids=lambda path: path.name)
def test_fragment_uses_known_sections(path: Path) -> None:
    config = yaml.safe_load((ROOT / "changelogs" / "config.yaml").read_text())
    known = {name for name, _title in config["sections"]} | {config["prelude_section_name"], config["trivial_section_name"]}
    assert set(yaml.safe_load(path.read_text())) <= known
