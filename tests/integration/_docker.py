# SPDX-License-Identifier: GPL-3.0-or-later
"""The docker command line, for tests."""

from __future__ import annotations

import subprocess


def docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"docker {' '.join(words)}: {done.stderr}"
    return done.stdout.strip()
