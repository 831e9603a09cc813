# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""inventories/production.example, copied and filled in as its README says, and asked by the real inventory_check."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from _paths import COLLECTIONS, ROOT

EXAMPLE = ROOT / "inventories" / "production.example"
VAULT = yaml.safe_load((EXAMPLE / "group_vars" / "all" / "vault.yml").read_text())

# Secret of the vault -> the input that it is for, and the host that needs it.
USED = {
    "vault_registry_password": ("image_registry_password", "builder1.example.com"),
    "vault_postgres_superuser_password": ("postgres_superuser_password", "db1.example.com"),
    "vault_postgres_password": ("postgres_password", "db1.example.com"),
    "vault_postgres_app_password": ("django_uwsgi_secrets.database_password", "web1.example.com, web2.example.com"),
    "vault_django_secret_key": ("django_uwsgi_secrets.secret_key", "web1.example.com, web2.example.com"),
    "vault_django_superuser_password": ("django_uwsgi_superuser.password", "web1.example.com, web2.example.com"),
    "vault_haproxy_stats_password": ("haproxy_stats_password", "lb1.example.com"),
}

GROUPS = ["builder", "postgres", "django_uwsgi", "nginx", "haproxy"]
ONE_HOST = {group: {"hosts": {"one.example.com": {"ansible_host": "192.0.2.10"}}} for group in GROUPS}


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """A copy with every secret made as the vault file says: openssl rand -hex 32."""
    copy = tmp_path / "production"
    shutil.copytree(EXAMPLE, copy)
    fill(copy, {name: secrets.token_hex(32) for name in VAULT})
    return copy


def fill(inventory: Path, values: Mapping[str, Any]) -> None:
    """Writes secrets into the vault file, the others as they are there."""
    vault = inventory / "group_vars" / "all" / "vault.yml"
    vault.write_text(yaml.safe_dump({**yaml.safe_load(vault.read_text()), **values}))


def checked(inventory: Path) -> tuple[int, str]:
    """Exit code of the check, and what it said in one line."""
    playbook = inventory.parent / "check.yml"
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [{"berth.django.inventory_check": {}}]}]))
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), str(playbook), "--inventory", str(inventory)],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_NOCOLOR": "1", "COLUMNS": "10000"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, re.sub(r"\s+", " ", done.stdout + done.stderr)


def test_every_secret_of_the_vault_is_looked_at() -> None:
    assert set(VAULT) == set(USED) and not any(VAULT.values())


def test_filled_in_it_is_accepted(inventory: Path) -> None:
    rc, said = checked(inventory)
    assert rc == 0, said


def test_one_host_for_everything_is_accepted(inventory: Path) -> None:
    (inventory / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": ONE_HOST}}))
    rc, said = checked(inventory)
    assert rc == 0, said


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "is empty"),
        (None, "is empty"),
        ("password", "is weak (it is among the first that are tried)"),
        (1234, "is weak (it has 4 characters"),
    ],
    ids=["as it comes", "nothing", "weak", "number"],
)
def test_every_secret_is_needed(inventory: Path, value: Any, why: str) -> None:
    """All at once, each with its input's name and its host."""
    fill(inventory, dict.fromkeys(VAULT, value))
    rc, said = checked(inventory)
    assert rc != 0
    for name, (needed, hosts) in USED.items():
        plural = "hosts" if "," in hosts else "host"
        assert f"{needed} of {plural} {hosts} {why}" in said, f"{name}: {said}"


@pytest.mark.parametrize("name", sorted(USED))
def test_one_weak_secret_is_told_alone(inventory: Path, name: str) -> None:
    fill(inventory, {name: "changeme"})
    rc, said = checked(inventory)
    assert rc != 0 and USED[name][0] in said
    other = {needed for needed, _hosts in USED.values()} - {USED[name][0]}
    assert not [needed for needed in other if re.search(rf"(?<![\w.]){re.escape(needed)} of host", said)], said
    assert "changeme" not in said
