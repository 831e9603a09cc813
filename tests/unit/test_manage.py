# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How manage.py is run in a container that runs already: with a limit that holds inside, too."""

from __future__ import annotations

import pytest
from ansible_collections.berth.django.plugins.module_utils import _manage
from ansible_collections.berth.django.plugins.module_utils._shell import Outcome

NO_TIMEOUT = 'OCI runtime exec failed: exec: "timeout": executable file not found in $PATH: unknown'
PLAIN = "docker exec --interactive web berth-entrypoint python3 manage.py check --no-color"
LIMITED = "docker exec --interactive web timeout -k 5 30 berth-entrypoint python3 manage.py check --no-color"


def project(timeout: int | None) -> _manage.Project:
    return _manage.Project(None, "web", ("berth-entrypoint",), "", "python3", "", timeout, check_mode=False)


@pytest.mark.parametrize(
    ("timeout", "error", "expected"),
    [
        (None, "", [(PLAIN, None)]),
        (30, "", [(LIMITED, 40)]),
        (30, NO_TIMEOUT, [(LIMITED, 40), (PLAIN, 30)]),
    ],
    ids=["no limit", "the image's own timeout", "an image without one"],
)
def test_limit_holds_inside(
    monkeypatch: pytest.MonkeyPatch, timeout: int | None, error: str, expected: list[tuple[str, int | None]]
) -> None:
    calls: list[tuple[str, float | None]] = []

    def run(argv: list[str], stdin: str | None = None, timeout: float | None = None) -> Outcome:
        calls.append((" ".join(argv), timeout))
        failed = bool(error) and "timeout" in argv
        return Outcome(tuple(argv), 127 if failed else 0, "", error if failed else "")

    monkeypatch.setattr(_manage, "run", run)
    assert project(timeout).manage("check").rc == 0
    assert calls == expected
