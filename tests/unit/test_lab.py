# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab as a value: names to numbers, refusals, the plan for every state that machines can be found in, command lines."""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

import pytest
from ansible_collections.berth.django.plugins.plugin_utils import _lab
from ansible_collections.berth.django.plugins.plugin_utils._lab import Actual, Found, Lab, Machine

SUBNET = _lab.network("play")


def machine(name: str, **changes: t.Any) -> Machine:
    return Machine(**{"name": name, "address": _lab.address(name, "play"), "port": _lab.port(name, "play"), **changes})


def lab(*machines: Machine, **changes: t.Any) -> Lab:
    values = dict(
        name="play",
        machines=machines,
        network=SUBNET,
        images={"engine": "m:1-engine", "bare": "m:1-bare"},
        base="debian:trixie-slim",
        keys="k",
    )
    return Lab(**{**values, **changes})


WEB1, WEB2 = machine("web1"), machine("web2")
LAB = lab(WEB1, WEB2)


def found(one: Machine, state: str = "running", **changes: t.Any) -> Found:
    return Found(**{**dict(state=state, spec=_lab.spec_hash(LAB, one)), **changes})


def there(**machines: Found) -> Actual:
    return Actual(machines=machines, network=SUBNET, images=frozenset(LAB.images.values()), base=True)


def test_numbers_follow_from_names() -> None:
    # Written down: a lab that stands must keep its numbers when the collection is updated.
    assert (_lab.network("berth-lab"), _lab.address("web1", "berth-lab"), _lab.port("web1", "berth-lab")) == (
        "10.99.240.0/20",
        "10.99.242.76",
        25889,
    )


@pytest.mark.parametrize("host", [f"host{number}" for number in range(200)])
def test_every_name_gives_a_usable_address(host: str) -> None:
    net = ipaddress.ip_network(SUBNET)
    address = ipaddress.ip_address(_lab.address(host, "play"))
    assert address in net and address not in (net.network_address, net.network_address + 1, net.broadcast_address)
    assert _lab.port(host, "play") in range(20000, 32000)


@pytest.mark.parametrize(
    ("actual", "kinds"),
    [
        pytest.param(Actual(), ["base", "image", "network", "create web1", "create web2"], id="nothing"),
        pytest.param(Actual(base=True), ["image", "network", "create web1", "create web2"], id="base is there"),
        pytest.param(there(web1=found(WEB1), web2=found(WEB2)), [], id="as it should be"),
        pytest.param(there(web1=found(WEB1)), ["create web2"], id="one was removed, or is new"),
        pytest.param(there(web1=found(WEB1), web2=found(WEB2, "exited")), ["start web2"], id="killed"),
        pytest.param(there(web1=found(WEB1), web2=found(WEB2, "paused")), ["unpause web2"], id="paused"),
        pytest.param(there(web1=found(WEB1), web2=found(WEB2, connected=False)), ["connect web2"], id="cut off"),
        pytest.param(
            there(web1=found(WEB1), web2=found(WEB2, "exited", connected=False)), ["connect web2", "start web2"], id="cut off, killed"
        ),
        pytest.param(there(web1=found(WEB1), web2=found(WEB2, "created")), ["remove web2", "create web2"], id="half made"),
        pytest.param(there(web1=found(WEB1), web2=found(WEB2, spec="old")), ["remove web2", "create web2"], id="other description"),
        pytest.param(there(web1=found(WEB1), web2=found(WEB2), web3=found(WEB2)), ["remove web3"], id="not in the inventory any more"),
        pytest.param(
            dataclasses.replace(there(web1=found(WEB1), web2=found(WEB2)), network="10.1.0.0/20"),
            ["remove web1", "remove web2", "remove_network", "network", "create web1", "create web2"],
            id="other network",
        ),
        pytest.param(
            dataclasses.replace(there(web1=found(WEB1), web2=found(WEB2)), images=frozenset(), base=False),
            [],
            id="image gone, machines stand",
        ),
    ],
)
def test_plan(actual: Actual, kinds: list[str]) -> None:
    steps = _lab.plan(LAB, actual)
    assert [
        f"{step.kind} {step.subject}" if step.subject in actual.machines or step.kind == "create" else step.kind for step in steps
    ] == kinds


@pytest.mark.parametrize(
    ("claims", "changes", "stale"),
    [
        pytest.param(machine("web3").claims, {}, ["web3"], id="in nobody's way"),
        pytest.param(machine("web3", publish=("8080:80",)).claims, {}, [], id="its port is needed"),
        pytest.param(machine("web3", address=WEB1.address).claims, {}, [], id="its address is needed"),
        pytest.param(machine("web3", cache="kept").claims, {}, [], id="its disk is needed"),
        pytest.param(machine("web3").claims, {"network": "10.1.0.0/20"}, [], id="its network goes"),
    ],
)
def test_stale_machine_may_stay_for_a_while(claims: frozenset[str], changes: dict[str, t.Any], stale: list[str]) -> None:
    wanted = lab(WEB1, machine("web2", publish=("8080:443",), cache="kept"))
    actual = dataclasses.replace(there(web3=Found("running", "old", claims=claims)), **changes)
    assert _lab.stale(wanted, actual) == stale
    assert ("remove web3" not in [f"{step.kind} {step.subject}" for step in _lab.plan(wanted, actual, prune=False)]) is bool(stale)
    assert "remove web3" in [f"{step.kind} {step.subject}" for step in _lab.plan(wanted, actual)]


def test_plan_builds_only_the_stages_that_are_used() -> None:
    wanted = lab(machine("old", engine=False))
    assert [step.subject for step in _lab.plan(wanted, Actual(base=True)) if step.kind == "image"] == ["m:1-bare"]


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (lab(WEB1, name="Play"), "lab_name is 'Play'; it is 2 to 30"),
        (lab(), "The lab has no hosts"),
        (lab(WEB1, machine("web2", port=WEB1.port)), f"web2 and web1 have the same SSH port {WEB1.port}: set ansible_port of web2"),
        (lab(WEB1, machine("web2", address=WEB1.address)), "web2 and web1 have the same address .*: set berth_address of web2"),
        (lab(machine("a", address=str(ipaddress.ip_network(SUBNET)[1]))), "a and the network's gateway have the same address"),
        (lab(machine("a", address="192.0.2.1")), "a: berth_address 192.0.2.1 is not in the lab's network"),
        (
            lab(machine("a", publish=("80:80",)), machine("b", publish=("80:81",))),
            "b and a have the same published port 80: set lab_publish of b",
        ),
        (lab(machine("a", cache="c"), machine("b", cache="c")), "a: lab_cache c is used by another host too"),
    ],
)
def test_refusals(wanted: Lab, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        _lab.check(wanted)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"publish": ["8080"]}, "web1: lab_publish says '8080'"),
        ({"publish": ["0.0.0.0:8080:80"]}, "web1: lab_publish says"),
        ({"volumes": ["media"]}, "web1: lab_volumes says 'media'"),
        ({"name": "web 1"}, "web 1: a lab host's name"),
    ],
)
def test_machine_refuses(changes: dict[str, t.Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        _lab.machine({"name": "web1", "address": "10.0.0.2", "port": 22000, **changes})


def test_create_argv() -> None:
    one = machine("web1", publish=("8080:80",), volumes=("media:/srv/shared",), memory="1g", cpus="1.5")
    argv = _lab.create_argv(lab(one, nameservers=("192.0.2.1", "192.0.2.2")), one)
    assert argv[:6] == ["docker", "create", "--name", "play-web1", "--hostname", "web1"]
    assert "--privileged" not in argv and argv[-1] == "m:1-engine"
    for expected in (
        "--label=berth.lab=play",
        "--mount=type=volume,source=play-web1-docker,target=/var/lib/docker",
        "--mount=type=volume,source=play-shared-media,target=/srv/shared",
        f"--publish=127.0.0.1:{one.port}:22",
        "--publish=127.0.0.1:8080:80",
        "--memory=1g",
        "--cpus=1.5",
        "--env=BERTH_NAMESERVERS=192.0.2.1 192.0.2.2",
    ):
        assert expected in argv


def test_a_cache_holds_what_was_built_and_what_the_builder_knows_of_it() -> None:
    assert _lab.disks(LAB, machine("builder1", cache="kept")) == {"kept-docker": "/var/lib/docker", "kept-berth": "/srv/berth"}


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({"nameservers": ("192.0.2.9",)}, True),
        ({"keys": "others"}, False),
        ({"images": {"engine": "m:2-engine", "bare": "m:1-bare"}}, False),
        ({"images": {"engine": "m:1-engine", "bare": "m:2-bare"}}, True),
    ],
)
def test_what_makes_another_machine(changed: dict[str, t.Any], same: bool) -> None:
    assert (_lab.spec_hash(lab(WEB1, **changed), WEB1) == _lab.spec_hash(LAB, WEB1)) is same


def test_list_is_read() -> None:
    output = "web1\trunning\tabc\tplay\t10.0.0.2 8080\nweb2\texited\tdef\tbridge\t\n\n"
    assert _lab.parse_list("play", output) == {
        "web1": Found("running", "abc", True, frozenset({"10.0.0.2", "8080"})),
        "web2": Found("exited", "def", False),
    }


@pytest.mark.parametrize(
    ("files", "servers"),
    [
        (["nameserver 192.0.2.1\nsearch x\nnameserver 192.0.2.2\n"], ("192.0.2.1", "192.0.2.2")),
        (["nameserver 127.0.0.53\n", "nameserver 192.0.2.3\n"], ("192.0.2.3",)),
        (["nameserver ::1\nnameserver fe80::1%eth0\nnameserver 2001:db8::1\n"], ("2001:db8::1",)),
        (["# nothing\nnameserver\n"], ()),
    ],
)
def test_nameservers(files: list[str], servers: tuple[str, ...]) -> None:
    assert _lab.nameservers(*files) == servers


def test_image_tag_changes_with_every_input() -> None:
    tags = [
        _lab.image_reference({"a": b"1", "b": b"2"}, "base:1", "engine"),
        _lab.image_reference({"a": b"1", "b": b"3"}, "base:1", "engine"),
        _lab.image_reference({"a": b"12", "b": b""}, "base:1", "engine"),
        _lab.image_reference({"a": b"1", "b": b"2"}, "base:2", "engine"),
        _lab.image_reference({"a": b"1", "b": b"2"}, "base:1", "bare"),
    ]
    assert len(set(tags)) == len(tags)
