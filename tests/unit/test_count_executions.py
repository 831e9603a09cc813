# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The counter that guards the fixed cost counts modules, not tasks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from _paths import ROOT

PLAYBOOK = """
- hosts: a,b
  gather_facts: false
  tasks:
    - debug: {msg: runs no module}
    - ping:
    - ping:
      loop: [1, 2]
    - copy: {content: runs two or more, dest: "{{ target }}/{{ inventory_hostname }}"}
    - ping:
      when: inventory_hostname == 'a'
      delegate_to: c
"""


def test_counts(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    counts = tmp_path / "counts.json"
    outcome = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "play.yml", "-i", "a,b,c", "-c", "local", "-e", f"target={tmp_path}"],
        cwd=tmp_path,
        env={
            **os.environ,
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "tests" / "callback"),
            "ANSIBLE_CALLBACKS_ENABLED": "count_executions",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "BERTH_EXECUTIONS_FILE": str(counts),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    found = json.loads(counts.read_text())
    modules = [execution["module"] for execution in found["executions"] if execution["host"] == "b"]
    assert modules.count("ansible.legacy.ping") + modules.count("ping") + modules.count("ansible.builtin.ping") == 3
    assert len(modules) > 4, "copy runs more than one module, and each counts"
    assert found["per_host"]["c"] == 1
