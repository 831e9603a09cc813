# SPDX-License-Identifier: GPL-3.0-or-later
"""One small base image and a place on disk, for tests that converge real containers on the engine at hand."""

from __future__ import annotations

import os
import subprocess
import tempfile
import typing as t
from pathlib import Path

import pytest
from _docker import docker

ROOT = Path(__file__).resolve().parents[2]
BASE = "debian:trixie-slim"


@pytest.fixture(scope="session")
def base_image() -> str:
    """The base that the lab uses too; made by debootstrap where neither the engine nor a registry has it."""
    if subprocess.run(["docker", "image", "inspect", BASE], capture_output=True, check=False).returncode != 0:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([ROOT / "roles/image/files/debootstrap.sh", "trixie", f"{folder}/root"], check=True)
            subprocess.run(f"tar -C {folder}/root -c . | docker import - {BASE}", shell=True, check=True)
    return BASE


@pytest.fixture
def directory() -> t.Iterator[Path]:
    """A directory that the engine can mount, and no container or network of the test project afterwards."""
    with tempfile.TemporaryDirectory(prefix="berth-converge-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)
        leftovers = docker("ps", "--all", "--quiet", "--filter", "label=berth.project=converge").split()
        if leftovers:
            docker("rm", "--force", *leftovers)
        for network in docker("network", "ls", "--quiet", "--filter", "label=berth.project=converge").split():
            docker("network", "rm", network)
