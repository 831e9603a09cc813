# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host needs, by distribution; settings that are merged; what makes the engine take them over."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from _paths import GOLDEN, ROLES
from _render import RoleValues, load_yaml
from ansible_collections.berth.django.plugins.module_utils import _host, _host_converge
from ansible_collections.berth.django.plugins.module_utils._shell import EngineError, Outcome

HOST_ROLE = next(role for role in ROLES if role.name == "host")
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
    (  # options of one driver are errors for another
        '{"log-driver": "json-file", "log-opts": {"max-size": "1m"}}',
        {"log-driver": "journald"},
        {"log-driver": "journald"},
        ["log-driver", "log-opts"],
        "restart",
    ),
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


class Engine:
    """Stands in for the host's Docker Engine: what it runs, what it says of settings, and what was done to it."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.there, self.containers, self.refused, self.applied = True, "c0ffee", "", list[str]()
        self.daemon, self.pending = tmp_path / "daemon.json", tmp_path / "daemon.pending"
        for name, value in {
            "DAEMON": self.daemon,
            "PENDING": self.pending,
            "CERTIFICATES": tmp_path,
            "docker_present": lambda: self.there,
            "run": lambda argv, **_: Outcome(tuple(argv), 0, self.containers if "ps" in argv else "", ""),
            "_install": lambda _: None,
            "_start": lambda: None,
            "_validate": self.validate,
            "_apply": lambda how: (self.applied.append(how), self.pending.unlink()),
        }.items():
            monkeypatch.setattr(_host_converge, name, value)
        monkeypatch.setattr(_host, "packages", lambda *_: ["docker.io"])
        monkeypatch.setattr(_host_converge.shutil, "which", lambda *_, **__: "/usr/sbin/dockerd")

    def validate(self, _text: str) -> None:
        if self.refused:
            raise EngineError(self.refused)

    def converge(self, defer: bool = True, check: bool = False, **options: Any) -> _host_converge.Work:
        nothing: dict[str, Any] = dict(
            builder=False, packages=[], daemon={"log-driver": "local"}, registry=None, sysctls={}, directories=[]
        )
        return _host_converge.converge({**nothing, "defer_disruption": defer, **options}, check)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    return Engine(tmp_path, monkeypatch)


def test_engine_that_serves_waits_for_its_turn(engine: Engine) -> None:
    first = engine.converge()
    assert first.deferred and first.actions == [] and engine.applied == []
    assert not engine.daemon.exists(), "settings that are not in force, and that a failure could not take back"
    rest = engine.converge(defer=False)
    assert not rest.deferred and rest.actions[-1] == "restarted Docker Engine, for log-driver" and engine.applied == ["restart"]
    assert not engine.converge().deferred, "an unchanged host is asked once"


def test_what_a_killed_run_left_waits_too(engine: Engine) -> None:
    engine.daemon.write_text('{"log-driver": "local"}')
    engine.pending.write_text("restart\n")
    assert engine.converge().deferred and engine.applied == []


def test_engine_that_serves_nobody_needs_no_turn(engine: Engine) -> None:
    engine.containers = ""
    assert not engine.converge().deferred and engine.applied == ["restart"]


def test_first_engine_needs_no_turn(engine: Engine) -> None:
    engine.there = False
    assert not engine.converge().deferred and engine.applied == ["restart"]


def test_settings_are_refused_before_anybody_has_a_turn(engine: Engine) -> None:
    engine.refused = "no such setting"
    with pytest.raises(EngineError, match="no such setting"):
        engine.converge()


def test_check_tells_of_the_restart(engine: Engine) -> None:
    work = engine.converge(check=True)
    assert not work.deferred and work.actions[-1] == "restarted Docker Engine, for log-driver" and engine.applied == []


REGISTRY = {"address": "10.0.0.1:5000/images", "ca": "ours\n"}


@pytest.mark.parametrize("check", [False, True])
def test_another_authority_is_not_replaced(engine: Engine, tmp_path: Path, check: bool) -> None:
    trusted = tmp_path / "10.0.0.1:5000" / "ca.crt"
    trusted.parent.mkdir()
    trusted.write_text("another\n")
    directory = {"path": str(tmp_path / "made"), "mode": "0755", "uid": 0, "gid": 0}
    with pytest.raises(EngineError, match=r"another authority for the registry 10\.0\.0\.1:5000/images .* -e replace_registry_ca=true"):
        engine.converge(check=check, registry=REGISTRY, directories=[directory])
    assert trusted.read_text() == "another\n" and not (tmp_path / "made").exists(), "refused, and the host was touched"
    engine.converge(registry={**REGISTRY, "replace_ca": True})
    assert trusted.read_text() == "ours\n"


def test_authority_that_is_there_already_is_no_change(engine: Engine, tmp_path: Path) -> None:
    assert not _host_converge.trusts(REGISTRY)
    engine.converge(defer=False, registry=REGISTRY)
    assert _host_converge.trusts(REGISTRY)
    assert engine.converge(registry=REGISTRY).actions == []


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"web1": {"trusts": True}, "web2": {"trusts": False}, "web3": {"skipped": True}}, ["web1"]),
        ({"web1": {"skipped": True}, "web2": None, "web3": {"trusts": False}}, []),
    ],
    ids=["one trusts another", "nobody was asked, or trusts any"],
)
def test_hosts_that_trust_another_authority(answers: dict[str, Any], expected: list[str]) -> None:
    asked = {host: {"inventory_hostname": host, **({"__host_asked": answer} if answer else {})} for host, answer in answers.items()}
    role = RoleValues(HOST_ROLE, {**load_yaml(GOLDEN / "common.yml"), "hostvars": asked, "ansible_play_hosts": list(asked)}, None)
    assert list(role.value("__host_trusting")) == expected


MAKER = "berth.django.fleet_certificate"


def test_only_the_host_role_makes_an_authority() -> None:
    made = {
        role.name: [task[MAKER].get("make", False) for file in role.glob("tasks/*.yml") for task in load_yaml(file) if MAKER in task]
        for role in ROLES
    }
    assert {name: values for name, values in made.items() if values} == {
        "host": [True],
        "image": [False, False],
        "etcd": [False],
        "pgbackrest": [False],
        "pgbouncer": [False],
        "haproxy": [False],
        "postgres": [False],
    }
