# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as `ansible-galaxy` builds and installs it: it works without the clone, and holds nothing that was left there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("[!_]*.py"))
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))

# What labs, tests, editors and builds leave in a clone.
LEFT_BEHIND = """
    .ansible/collections/x.yml
    .cache/x
    .mypy_cache/x.json
    .pytest_cache/x
    .ruff_cache/x
    .venv/bin/x
    .berth/ssh/id_ed25519
    berth-django-0.0.1.tar.gz
    site.retry
    ansible.log
    plugins/modules/__pycache__/image.cpython-311.pyc
    tests/unit/__pycache__/x.pyc
    tests/unit/.pytest_cache/x
    molecule/shared/.ruff_cache/x
    examples/music/.cache/x
    examples/music/songs/__pycache__/x.pyc
    inventories/lab/.berth/lab-base
    inventories/lab/.berth/ssh/id_ed25519
    inventories/lab/.berth/secrets/postgres
    inventories/lab/.berth/ca/ca.key
    inventories/lab/.berth/ca/issued/registry.pem
    inventories/production/.berth/ca/ca.pem
    molecule/default/inventory/.berth/secrets/registry
    """.split()
# Put together, so that this file does not hold it.
SECRET = "-".join(["left", "behind", "4711"])


@dataclass(frozen=True)
class Installed:
    tarball: Path
    place: Path

    @property
    def directory(self) -> Path:
        return self.place / "ansible_collections" / "berth" / "django"

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return ansible(*command, cwd=self.place)


def ansible(command: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """One of Ansible's commands, which sees what is installed below `cwd`, and nothing of this clone or its ansible.cfg."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return subprocess.run(
        [str(Path(sys.executable).parent / command), *words],
        cwd=cwd,
        env={**kept, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_COLLECTIONS_PATH": str(cwd), "ANSIBLE_HOME": str(cwd / ".ansible")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Built from a copy of this clone in which everything was run before."""
    clone, place = tmp_path_factory.mktemp("clone") / "django", tmp_path_factory.mktemp("installed")
    shutil.copytree(ROOT, clone, symlinks=True, ignore=shutil.ignore_patterns(".git", ".venv", ".berth", ".*_cache", "__pycache__"))
    for name in LEFT_BEHIND:
        file = clone / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(SECRET)
    built = ansible("ansible-galaxy", "collection", "build", str(clone), "--output-path", str(place), cwd=place)
    assert built.returncode == 0, built.stderr
    (tarball,) = place.glob("berth-django-*.tar.gz")
    done = ansible("ansible-galaxy", "collection", "install", str(tarball), "--offline", "--collections-path", str(place), cwd=place)
    assert done.returncode == 0, done.stderr
    return Installed(tarball, place)


def test_holds_nothing_that_was_left_behind(installed: Installed) -> None:
    with tarfile.open(installed.tarball) as tar:
        files = {entry.name: tar.extractfile(entry) for entry in tar if entry.isfile()}
        assert "plugins/modules/container_service.py" in files and "inventories/lab/hosts.yml" in files
        assert not [name for name, file in files.items() if file and SECRET.encode() in file.read()]
    hidden = {name for name in files if any(part.startswith(".") for part in Path(name).parts)}
    assert hidden == {
        ".config/ansible-lint.yml",
        ".config/molecule/config.yml",
        ".yamllint.yml",
        "examples/music/.dockerignore",
    }


def test_playbook_is_found_by_its_name(installed: Installed) -> None:
    lab = installed.directory / "inventories" / "lab"
    for playbook in PLAYBOOKS:
        done = installed.run("ansible-playbook", f"berth.django.{playbook}", "--syntax-check", "--inventory", str(lab))
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_is_documented(installed: Installed) -> None:
    done = installed.run("ansible-doc", "--json", *(f"berth.django.{name}" for name in MODULES))
    assert done.returncode == 0, done.stderr
    known = json.loads(done.stdout)
    assert sorted(known) == [f"berth.django.{name}" for name in MODULES]
    assert all(Path(entry["doc"]["filename"]).is_relative_to(installed.directory) for entry in known.values())


@pytest.mark.parametrize(
    ("variables", "words"),
    [({}, []), ({"postgres_password": "password"}, ["postgres_password of host db1", "is weak"])],
    ids=["the lab's", "a weak password"],
)
def test_inventory_is_checked(installed: Installed, variables: dict[str, str], words: list[str]) -> None:
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": [{"berth.django.inventory_check": {}}]}]
    (installed.place / "check.yml").write_text(json.dumps(play))
    lab = installed.directory / "inventories" / "lab"
    done = installed.run("ansible-playbook", "check.yml", "--check", "--inventory", str(lab), "--extra-vars", json.dumps(variables))
    assert (done.returncode != 0) is bool(words), done.stdout + done.stderr
    assert all(word in done.stdout + done.stderr for word in words), done.stdout + done.stderr
    assert not (lab / ".berth").exists()
