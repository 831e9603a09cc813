# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host as the role made it."""

from __future__ import annotations

import json

from fleet import FLEET, HOSTS, PROJECT, on, playbook

HOST = next(iter(HOSTS), "")


def test_engine_answers() -> None:
    assert on(HOST, "docker version --format '{{.Server.Version}}'")


def test_engine_has_taken_its_settings() -> None:
    """Not the file only: what the engine itself says."""
    told = json.loads(on(HOST, "docker info --format '{{json .}}'"))
    assert told["LiveRestoreEnabled"] and told["LoggingDriver"] == "json-file"
    settings = json.loads(on(HOST, "cat /etc/docker/daemon.json"))
    assert settings["log-opts"] == {"max-file": "3", "max-size": "10m"}
    assert on(HOST, "ls /etc/berth/daemon.pending 2>/dev/null || true") == "", "settings wait to be taken over"


def test_builder_can_build() -> None:
    assert on(HOST, "docker buildx version") and on(HOST, "command -v debootstrap")


def test_kernel_settings_are_live_and_kept() -> None:
    assert on(HOST, "cat /proc/sys/net/core/somaxconn") == "4096"
    assert "net.core.somaxconn = 4096" in on(HOST, "cat /etc/sysctl.d/60-berth.conf")


def test_directories() -> None:
    directory = FLEET["directory"]
    assert on(HOST, f"stat -c '%a %u' {directory} {directory}/{PROJECT}") == "755 0\n755 0"


def test_login_is_for_root_only() -> None:
    assert on(HOST, "stat -c '%a %u' /etc/berth/docker /etc/berth/docker/config.json") == "700 0\n600 0"


def test_second_run_changes_nothing() -> None:
    run = playbook(name="molecule/host/converge.yml")
    assert run.rc == 0 and run.changed == {HOST: 0}, run.told
