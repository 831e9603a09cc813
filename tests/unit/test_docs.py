# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`ansible-doc` shows every plugin, and every module says what it does in check and diff mode."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from _paths import COLLECTIONS, ROOT

KINDS = {"modules": "module", "lookup": "lookup", "filter": "filter"}
PLUGINS = {
    kind: sorted({path.stem for path in (ROOT / "plugins" / folder).glob("[!_]*") if path.suffix in (".py", ".yml")})
    for folder, kind in KINDS.items()
}

# These are action plugins alone, and their modules hold nothing but documentation.
ON_THE_CONTROLLER = {"lab", "inventory_check", "fleet_certificate"}


@pytest.fixture(scope="module")
def documented() -> dict[str, dict[str, Any]]:
    """kind -> full name -> what ansible-doc knows."""
    found: dict[str, dict[str, Any]] = {}
    for kind, names in PLUGINS.items():
        if not names:
            continue
        ansible_doc = Path(sys.executable).parent / "ansible-doc"
        outcome = subprocess.run(
            [ansible_doc, "--type", kind, "--json", *(f"berth.django.{name}" for name in names)],
            env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert outcome.returncode == 0, outcome.stderr
        found[kind] = json.loads(outcome.stdout)
    return found


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in PLUGINS.items() for name in names])
def test_plugin_is_documented(documented: dict[str, dict[str, Any]], kind: str, name: str) -> None:
    known = documented[kind].get(f"berth.django.{name}")
    assert known, f"ansible-doc does not show {kind} {name}"
    doc = known["doc"]
    assert doc["short_description"] and not doc["short_description"].endswith(".")
    assert doc.get("description")
    assert known["examples"], "no EXAMPLES"
    assert known["return"], "no RETURN"
    for option, meaning in (doc.get("options") or {}).items():
        assert meaning.get("description"), f"option {option} has no description"


@pytest.mark.parametrize("name", PLUGINS["module"])
def test_module_states_its_attributes(documented: dict[str, dict[str, Any]], name: str) -> None:
    known = documented["module"][f"berth.django.{name}"]
    attributes = known["doc"].get("attributes") or {}
    for attribute in ("check_mode", "diff_mode"):
        assert attribute in attributes, f"{name} does not state {attribute}"
        stated = attributes[attribute]
        assert stated["support"] == "full" or stated.get("details"), f"{name}: {attribute} is {stated['support']}, and no details say why"
    examples = yaml.safe_load(known["examples"])
    for task in examples:
        assert task.get("name"), "an example task has no name"


class Caught(Exception):
    """Carries the argument spec that a module would have started with."""


@pytest.mark.parametrize("name", [name for name in PLUGINS["module"] if name not in ON_THE_CONTROLLER])
def test_documentation_agrees_with_the_argument_spec(
    documented: dict[str, dict[str, Any]], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(f"ansible_collections.berth.django.plugins.modules.{name}")

    def catch(argument_spec: dict[str, Any], **_: Any) -> None:
        raise Caught(argument_spec)

    monkeypatch.setattr(module, "AnsibleModule", catch)
    with pytest.raises(Caught) as caught:
        module.main()
    told = facts(documented["module"][f"berth.django.{name}"]["doc"].get("options"), "suboptions")
    wanted = facts(caught.value.args[0], "options")
    if "service" in wanted and name != "container_service":  # which documents what a service is
        wanted["service"] = (*wanted["service"][:-1], {})
    if "companions" in wanted:  # are services
        wanted["companions"] = (*wanted["companions"][:-1], {})
    if "static" in wanted:  # which django_collectstatic documents
        wanted["static"] = (*wanted["static"][:-1], {})
    if name == "fleet_drift":  # which is asked what other modules document
        wanted = {option: (*known[:-1], {}) for option, known in wanted.items()}
    assert told == wanted


def facts(options: dict[str, Any] | None, nested: str) -> dict[str, Any]:
    """What documentation and argument spec both say of each option."""
    return {
        option: (
            known.get("type", "str"),
            known.get("elements"),
            known.get("required", False),
            known.get("default"),
            sorted(known.get("choices") or []),
            facts(known.get(nested), nested),
        )
        for option, known in (options or {}).items()
    }


@pytest.mark.parametrize("page", ["run-a-database-cluster.md", "back-up-and-restore.md"])
def test_playbooks_of_a_page_about_data_are_run_by_a_test(page: str) -> None:
    """Whoever follows it has something to lose."""
    named = set(re.findall(r"playbooks/[a-z_]+\.yml", (ROOT / "docs" / "howto" / page).read_text()))
    tests = "".join(path.read_text() for name in ("postgres_cluster", "pgbackrest") for path in (ROOT / "molecule" / name).glob("*.py"))
    assert named and [name for name in sorted(named) if f'"{name}"' not in tests] == []
