# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host needs, by distribution; settings that are merged; what makes the engine take them over."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from ansible_collections.berth.django.plugins.module_utils import _host

DEBIAN_12 = {"ID": "debian", "VERSION_ID": "12"}
DEBIAN_13 = {"ID": "debian", "VERSION_ID": "13"}
SID = {"ID": "debian"}
UBUNTU = {"ID": "ubuntu", "VERSION_ID": "24.04"}


@pytest.mark.parametrize(
    ("release", "builder", "expected"),
    [
        (DEBIAN_12, False, ["docker.io", "iptables", "ca-certificates"]),
        (DEBIAN_12, True, ["docker.io", "iptables", "ca-certificates", "debootstrap"]),
        (DEBIAN_13, False, ["docker.io", "iptables", "ca-certificates", "docker-cli"]),
        (DEBIAN_13, True, ["docker.io", "iptables", "ca-certificates", "docker-cli", "docker-buildx", "debootstrap"]),
        (SID, False, ["docker.io", "iptables", "ca-certificates", "docker-cli"]),
        (UBUNTU, True, ["docker.io", "iptables", "ca-certificates", "docker-buildx", "debootstrap"]),
    ],
)
def test_packages(release: dict[str, str], builder: bool, expected: list[str]) -> None:
    assert _host.packages(release, builder, apparmor=False) == expected


def test_apparmor_where_the_kernel_has_it() -> None:
    assert "apparmor" in _host.packages(DEBIAN_13, False, apparmor=True)


def test_other_distributions_are_told_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"^Fedora 40 is not Debian or Ubuntu: install Docker Engine"):
        _host.packages({"ID": "fedora", "PRETTY_NAME": "Fedora 40"}, False, False)


def test_os_release() -> None:
    assert _host.read_os_release('# x\nID=debian\nVERSION_ID="13"\n') == DEBIAN_13


MERGES: list[tuple[str, dict[str, Any], dict[str, Any], list[str], str]] = [
    ("", {"live-restore": True}, {"live-restore": True}, ["live-restore"], "reload"),
    ('{"live-restore": true}', {"live-restore": True}, {"live-restore": True}, [], ""),
    ('{"data-root": "/d"}', {"log-driver": "local"}, {"data-root": "/d", "log-driver": "local"}, ["log-driver"], "restart"),
    (
        '{"log-opts": {"max-size": "1m", "tag": "x"}}',
        {"log-opts": {"max-size": "2m"}, "debug": True},
        {"log-opts": {"max-size": "2m", "tag": "x"}, "debug": True},
        ["debug", "log-opts"],
        "restart",
    ),
]


@pytest.mark.parametrize(("text", "wanted", "merged", "changed", "needs"), MERGES)
def test_merge_daemon(text: str, wanted: dict[str, Any], merged: dict[str, Any], changed: list[str], needs: str) -> None:
    after, keys = _host.merge_daemon(text, wanted)
    assert json.loads(after) == merged
    assert keys == changed
    assert _host.needs(keys) == needs
    assert changed or after == text, "an unchanged file keeps its own layout"


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_broken_daemon_json_is_not_replaced(text: str) -> None:
    with pytest.raises(ValueError, match=r"/etc/docker/daemon\.json"):
        _host.merge_daemon(text, {})


def test_other_logins_stay() -> None:
    text = _host.with_login('{"auths": {"other": {"auth": "x"}}, "proxies": {}}', "10.0.0.1:5000", "berth", "pw")
    login = base64.b64encode(b"berth:pw").decode()
    assert json.loads(text) == {"auths": {"10.0.0.1:5000": {"auth": login}, "other": {"auth": "x"}}, "proxies": {}}
    assert _host.with_login(text, "10.0.0.1:5000", "berth", "pw") == text


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.core.somaxconn", "/proc/sys/net/core/somaxconn"),
        ("net.ipv4.conf.eth0/100.rp_filter", "/proc/sys/net/ipv4/conf/eth0.100/rp_filter"),
    ],
)
def test_sysctl_path(name: str, path: str) -> None:
    assert _host.sysctl_path(name) == path


@pytest.mark.parametrize("name", ["../etc/passwd", "a b", ""])
def test_a_strange_sysctl_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a kernel setting"):
        _host.sysctl_path(name)


def test_same_setting() -> None:
    assert _host.same_setting("4096\t87380\t6291456\n", "4096 87380 6291456")
    assert not _host.same_setting("0\n", 80)
