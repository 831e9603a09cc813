# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release of the sample project, asked the way a container is: `manage.py shell`, on SQLite unless DATABASE_URL says otherwise.

Needs the requirements of examples/music. BERTH_TEST_PYTHON names another Python that has them (another Django, say).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from _paths import ROOT
from ansible_collections.berth.django.plugins.module_utils import _django, _django_drift, _manage

PYTHON = os.environ.get("BERTH_TEST_PYTHON", sys.executable)
SOURCES = {module.__name__: Path(str(module.__file__)).read_text() for module in _manage.INSIDE}
DEFAULTS: dict[str, dict[str, Any]] = {
    "migrate": {
        "apply": True, "sql": False, "database": "default", "app": "", "migration": "", "fake": False, "allow_unsafe": False,
        "wait": 1, "lock_timeout": 1, "holder": "test", "known": None, "check_deploy": "", "silenced_checks": [],
    },
    "superuser": {
        "apply": True, "username": "boss", "password": "correct-horse", "email": "boss@example.com", "fields": {},
        "update_password": True, "database": "default",
    },
    "known": {},
    "compare": {"database": "default"},
    "cannot_run": {"database": "default"},
    "drift": {"migrate": _django_drift.PLAN, "superuser": None},
}  # fmt: skip


class Release:
    def __init__(self, path: Path, database: Path, url: str = "") -> None:
        self.path, self.database, self.url = path, database, url or f"sqlite:///{database}"
        if not path.exists():
            shutil.copytree(ROOT / "examples" / "music", path, ignore=shutil.ignore_patterns("__pycache__"))

    def ask(self, do: str, **options: Any) -> dict[str, Any]:
        """Puts a request to the project, and gives its answer; the words are options of the request."""
        environment = options.pop("environment", {"HTTPS": "true", "ALLOWED_HOSTS": "example.com"})
        command = _django.manage("shell", _django.shell(SOURCES), python=PYTHON)
        outcome = self.run(command, environment, json.dumps({"do": do, **DEFAULTS[do], **options}))
        answer = _django.read_answer(outcome.stdout)
        assert answer is not None, outcome.stderr
        return answer

    def run(self, command: list[str], environment: dict[str, str], stdin: str = "") -> subprocess.CompletedProcess[str]:
        """In the project's directory, with what its settings want."""
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONDONTWRITEBYTECODE": "1",
            "DATABASE_URL": self.url,
            "SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmno",
            **environment,
        }
        return subprocess.run(command, input=stdin, cwd=self.path, env=environment, capture_output=True, text=True, check=False)

    def add_migration(self, name: str, after: str, operations: str) -> None:
        (self.path / "songs" / "migrations" / f"{name}.py").write_text(
            "from django.db import migrations, models\n\n\ndef fail(apps, editor):\n    raise ValueError('no year')\n\n\n"
            f"class Migration(migrations.Migration):\n    dependencies = [('songs', '{after}')]\n    operations = [{operations}]\n"
        )
