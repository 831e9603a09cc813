# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules and hashes of a service dict, as tables."""

from __future__ import annotations

import copy
import typing as t

import pytest
import yaml
from _paths import ROOT
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.berth.django.plugins.module_utils._spec import GENERATION_TOKEN, create_spec
from ansible_collections.berth.django.plugins.module_utils._spec_parse import SERVICE_ARGUMENT_SPEC, parse

MINIMAL: dict[str, t.Any] = dict(
    project="music",
    name="nginx",
    fleet="lab",
    image="nginx:1.26",
    user="10002:10002",
    directory="/srv/berth/music/nginx",
    memory="64m",
    health=dict(command=["true"]),
)
RELOADING = dict(config=dict(files={"a.conf": "x"}), reload=dict(signal="HUP"), proof=dict(command=["show"]))


def spec(**changes: t.Any) -> dict[str, t.Any]:
    return {**copy.deepcopy(MINIMAL), **changes}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(imagee="x"), ["service.imagee", "Known keys"]),
        (dict(project="Music"), ["service.project", "'Music'"]),
        (dict(name="x"), ["service.name"]),
        (dict(user="root"), ["service.user", "numeric"]),
        (dict(user="0:0"), ["service.user", "other than 0"]),
        (dict(health=None), ["service.health.command"]),
        (dict(health=dict(command=[])), ["service.health.command"]),
        (dict(directory="relative"), ["service.directory"]),
        (dict(memory="lots"), ["service.memory", "256m"]),
        (dict(ports=[dict(address="0.0.0.0", port=80, container_port=8080)]), ["0.0.0.0", "public: true"]),
        (dict(ports=[dict(address="::", port=80, container_port=8080)]), ["public: true"]),
        (dict(ports=[dict(address="web1", port=80, container_port=8080)]), ["'web1'", "IP address"]),
        (dict(host_network=True, networks=[dict(name="music")]), ["host_network"]),
        (dict(replace="beside", ports=[dict(address="10.0.0.1", port=80, container_port=80)]), ["beside", "publish"]),
        (dict(config=dict(files={"a": "x"}), reload=dict(signal="HUP")), ["service.proof"]),
        ({**RELOADING, "config": None}, ["service.config"]),
        ({**RELOADING, "proof": dict(command=["a"], socket="/b")}, ["service.proof", "exactly one"]),
        (dict(config=dict(files={"../etc/passwd": "x"})), ["'../etc/passwd'"]),
        (dict(secrets={"a/b": "x"}), ["'a/b'"]),
        (dict(secrets={"password": None}), ["service.secrets.password", "empty"]),
        (dict(env={"LANGUAGE": None}), ["service.env.LANGUAGE", "empty"]),
        (dict(env={"A=B": "c"}), ["service.env", "'A=B'"]),
        (dict(env={"A": "b\0"}), ["service.env", "NUL"]),
        (dict(mounts=[dict(source="/var/run/docker.sock", target="/x")]), ["docker.sock", "whole host"]),
        (dict(mounts=[dict(source="a,b", target="/x")]), ["'a,b'"]),
    ],
)
def test_refused(changes: dict[str, t.Any], words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        parse(spec(**changes))
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "new_instance"),
    [
        (dict(image="nginx:1.27"), True),
        (dict(memory="65m"), True),
        (dict(env={"A": "1"}), True),
        (dict(secrets={"password": "other"}), True),
        (dict(config=dict(files={"a.conf": "other"})), True),
        (dict(health=dict(command=["true"], wait=99)), False),
        (dict(health=dict(command=["true"], explain=["date"])), False),
        (dict(before_stop=dict(withdraw="/x")), False),
        (dict(validate=[dict(command=["true"])]), False),
    ],
)
def test_what_makes_a_new_instance(changes: dict[str, t.Any], new_instance: bool) -> None:
    base = dict(secrets={"password": "one"}, config=dict(files={"a.conf": "x"}))
    assert (parse(spec(**base)).instance != parse(spec(**{**base, **changes})).instance) is new_instance


def test_a_reloadable_config_is_not_part_of_the_instance() -> None:
    one, two = (parse(spec(**{**RELOADING, "config": dict(files={"a.conf": text})})) for text in ("x", "y"))
    assert one.instance == two.instance
    assert one.generation != two.generation


def test_a_config_knows_its_own_generation() -> None:
    service = parse(spec(config=dict(files={"a.conf": f"id {GENERATION_TOKEN}"})))
    assert service.config_texts == {"a.conf": f"id {service.generation}"}


def test_the_instance_goes_everywhere_but_into_files() -> None:
    files = {"settings.py": 'NAME = f"{instance}"'}
    service = parse(
        spec(
            replace="beside",
            config=dict(files=files),
            secrets=files,
            command=["--socket", "/run/{instance}.sock"],
            env={"SOCKET": "{instance}"},
            switch=[dict(link="/run/current", target="{instance}.sock")],
            before_stop=dict(drained=dict(command=["drained", "{instance}"])),
        )
    )
    assert service.container == f"music-nginx-{service.instance}"
    assert service.config and service.config.files == files == service.secrets, "what a project keeps in files is its own"
    assert service.command[1] == f"/run/{service.instance}.sock"
    assert service.env["SOCKET"] == service.switch[0].target.split(".")[0] == service.instance
    assert service.before_stop.drained is not None
    assert service.before_stop.drained.command == ("drained", service.instance)


def test_secret_values_are_in_no_representation() -> None:
    service = parse(spec(secrets={"password": "canary-value"}))
    assert "canary-value" not in repr(service)
    assert "canary-value" not in str(create_spec(service))


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("tests/unit/golden/*/*/service.yml")), ids=lambda path: f"{path.parts[-3]}-{path.parts[-2]}"
)
def test_the_roles_declare_what_the_module_takes(path: t.Any) -> None:
    validated = ArgumentSpecValidator(SERVICE_ARGUMENT_SPEC).validate(yaml.safe_load(path.read_text()))
    assert validated.error_messages == []
    assert parse(validated.validated_parameters).instance


def test_the_first_hint_that_fits_is_told_and_changes_no_container() -> None:
    hints = {"No module named": "Look at a.", "named 'x'": "Look at b.", "[0-9]+ MB": "Look at c."}
    service = parse(spec(hints=hints))
    assert service.hint("No module named 'x'") == "\nLook at a." and service.hint("took 12 MB") == "\nLook at c."
    assert service.hint("all is well") == ""
    assert service.instance == parse(spec()).instance
