# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of steps, for every state that a host can be found in."""

from __future__ import annotations

import dataclasses
import json
import typing as t

import pytest
from ansible_collections.berth.django.plugins.module_utils._observe import mount_point
from ansible_collections.berth.django.plugins.module_utils._plan import Actual, Container, Plan, Step, plan, remove, roll_back
from ansible_collections.berth.django.plugins.module_utils._release import Record, UnderWay
from ansible_collections.berth.django.plugins.module_utils._spec import create_spec
from ansible_collections.berth.django.plugins.module_utils._spec_parse import parse
from test_spec import RELOADING, spec

STOP_FIRST = parse(
    spec(
        **RELOADING,
        validate=[dict(command=["check"])],
        networks=[dict(name="music")],
        ports=[dict(address="10.0.0.1", port=80, container_port=80)],
        before_stop=dict(withdraw="/flag"),
        restart_when=dict(command=["pending"]),
    )
)
BESIDE = parse(spec(replace="beside", networks=[dict(name="music")], switch=[dict(link="/run/current", target="{instance}.sock")]))
PREPARED = dict(engine=True, image_present=True, networks=frozenset(["music"]), config_staged=True, withdrawn=False)


def running(service: t.Any, **changes: t.Any) -> Container:
    return Container(
        **{**dict(name=service.container, instance=service.instance, running=True, spec=json.dumps(create_spec(service))), **changes}
    )


OLD = Container(name="music-nginx", instance="old", running=True)
OLD_BESIDE = Container(name="music-nginx-old", instance="old", running=True)
CONVERGED = Actual(
    **PREPARED,
    has_versions=True,
    containers=(running(STOP_FIRST),),
    config_current=STOP_FIRST.generation,
    loaded=True,
    config_files=STOP_FIRST.config_texts,
)
CONVERGED_BESIDE = Actual(**PREPARED, containers=(running(BESIDE),), links={"/run/current": f"{BESIDE.instance}.sock"})
CREATE = ["validate", "check_ports", "create", "point_config", "start", "wait_healthy", "put_back"]


@pytest.mark.parametrize(
    ("name", "actual", "steps"),
    [
        ("converged", CONVERGED, []),
        ("no engine", Actual(), ["pull", "network", "config", *CREATE]),
        ("empty host", Actual(**PREPARED), CREATE),
        (
            "another spec runs",
            Actual(**PREPARED, containers=(OLD,)),
            [
                "validate",
                "check_ports",
                "rename",
                "create",
                "withdraw",
                "drain",
                "stop",
                "point_config",
                "start",
                "wait_healthy",
                "put_back",
                "commit",
                "remove",
            ],
        ),
        (
            "a stopped one is left",
            Actual(**PREPARED, containers=(dataclasses.replace(OLD, running=False),)),
            [*CREATE[:2], "remove", *CREATE[2:]],
        ),
        (
            "other files",
            dataclasses.replace(CONVERGED, config_current="x", loaded=False),
            ["validate", "point_config", "reload", "restart_if_pending", "wait_healthy", "put_back"],
        ),
        (
            "killed before the reload",
            dataclasses.replace(CONVERGED, loaded=False),
            ["validate", "point_config", "reload", "restart_if_pending", "wait_healthy", "put_back"],
        ),
        (
            "killed before a restart",
            dataclasses.replace(CONVERGED, restart_pending=True),
            ["withdraw", "drain", "restart", "wait_healthy", "put_back"],
        ),
        ("killed out of rotation", dataclasses.replace(CONVERGED, withdrawn=True), ["put_back"]),
        ("not healthy yet", dataclasses.replace(CONVERGED, containers=(running(STOP_FIRST, healthy=False),)), ["wait_healthy"]),
        (
            "killed before the old one was removed",
            dataclasses.replace(
                CONVERGED, containers=(running(STOP_FIRST), dataclasses.replace(OLD, name="music-nginx-old", running=False))
            ),
            ["remove"],
        ),
    ],
)
def test_stop_first(name: str, actual: Actual, steps: list[str]) -> None:
    assert [step.do for step in plan(STOP_FIRST, actual).steps] == steps, name


@pytest.mark.parametrize(
    ("name", "actual", "until", "steps", "pending"),
    [
        ("converged", CONVERGED_BESIDE, "retire", [], False),
        ("first", Actual(**PREPARED), "retire", ["create", "start", "wait_healthy", "switch"], False),
        ("first, not switched", Actual(**PREPARED), "start", ["create", "start", "wait_healthy"], True),
        (
            "replaces",
            dataclasses.replace(CONVERGED_BESIDE, containers=(OLD_BESIDE,), links={"/run/current": "old.sock"}),
            "retire",
            ["create", "start", "wait_healthy", "switch", "drain", "stop", "commit", "remove"],
            False,
        ),
        (
            "healthy beside, not switched",
            dataclasses.replace(CONVERGED_BESIDE, containers=(running(BESIDE), OLD_BESIDE), links={"/run/current": "old.sock"}),
            "start",
            [],
            True,
        ),
        (
            "killed after the switch",
            dataclasses.replace(CONVERGED_BESIDE, containers=(running(BESIDE), OLD_BESIDE)),
            "retire",
            ["drain", "stop", "commit", "remove"],
            False,
        ),
    ],
)
def test_beside(name: str, actual: Actual, until: str, steps: list[str], pending: bool) -> None:
    found = plan(BESIDE, actual, until=until)
    assert ([step.do for step in found.steps], found.pending) == (steps, pending), name


RELEASED = parse(
    spec(
        replace="beside",
        networks=[dict(name="music")],
        switch=[dict(link="/static/current", target="two"), dict(link="/sock", target="{instance}.sock")],
        release=dict(id="two", directory="/static", keep=2, bake=3, pause=2),
        before_stop=dict(drained=dict(command=["drained"])),
    )
)
BEFORE = Container(name="music-nginx-before", instance="before", running=True)
SERVED = [Record("", name, f"registry/app:{name}", instance, "alice") for name, instance in (("zero", "zero"), ("one", "before"))]
FOUND = Actual(
    **PREPARED,
    containers=(BEFORE,),
    links={"/static/current": "one", "/sock": "before.sock"},
    records=tuple(SERVED),
    release_directories=("zero", "one", "two", "0123456789ab", "uploads"),
    release_images=("registry/app:zero", "registry/app:one"),
)
STARTED = dataclasses.replace(
    FOUND, containers=(BEFORE, running(RELEASED)), under_way=UnderWay(RELEASED.instance, {"/static/current": "one", "/sock": "before.sock"})
)
SWITCHED = dataclasses.replace(STARTED, links={item.link: item.target for item in RELEASED.switch})
WATCHED_IN_VAIN = dataclasses.replace(STARTED, under_way=dataclasses.replace(STARTED.under_way, switched=True))  # type: ignore[type-var]
ANOTHER_RUN = dataclasses.replace(STARTED.under_way, run="another")  # type: ignore[type-var]
RETIRED = dataclasses.replace(SWITCHED, containers=(running(RELEASED),))
RECORDED = dataclasses.replace(RETIRED, records=(*SERVED, Record("", "two", "registry/app:two", RELEASED.instance, "bob")))
DONE = dataclasses.replace(RECORDED, under_way=None, release_directories=("one", "two"), release_images=("registry/app:one",))
END = ["record", "conclude", "prune_directory", "prune_directory", "prune_image"]


@pytest.mark.parametrize(
    ("name", "actual", "until", "steps", "pending"),
    [
        ("ship", FOUND, "ship", [], True),
        ("start", FOUND, "start", ["begin", "create", "start", "wait_healthy", "bake"], True),
        ("killed before the switch", STARTED, "start", ["bake"], True),
        ("begun by a run that was killed", dataclasses.replace(STARTED, under_way=ANOTHER_RUN), "start", ["begin", "bake"], True),
        ("another one was begun and killed", dataclasses.replace(STARTED, under_way=UnderWay("other")), "start", ["begin", "bake"], True),
        ("switch", STARTED, "switch", ["switch", "watch"], True),
        ("asked again", SWITCHED, "switch", ["look"], True),
        ("killed after the switch", dataclasses.replace(SWITCHED, under_way=ANOTHER_RUN), "switch", [], True),
        ("retire", SWITCHED, "retire", ["look", "drain", "stop", "commit", "remove", *END], False),
        ("killed before the record", dataclasses.replace(RETIRED, under_way=ANOTHER_RUN), "retire", END, False),
        ("killed after the record", dataclasses.replace(RECORDED, under_way=ANOTHER_RUN), "retire", END[1:], False),
        ("done", DONE, "retire", [], False),
        ("an image that something else uses", dataclasses.replace(DONE, release_images=("registry/app:zero",)), "retire", [], False),
    ],
)
def test_a_release_goes_on_from_wherever_it_was_killed(name: str, actual: Actual, until: str, steps: list[str], pending: bool) -> None:
    found = plan(RELEASED, actual, until=until)
    assert ([step.do for step in found.steps], found.pending) == (steps, pending), name


FIRST_EVER = dataclasses.replace(STARTED, links={}, containers=(running(RELEASED),))
WITH_PREVIOUS = dataclasses.replace(RELEASED, switch=(RELEASED.switch[0], dataclasses.replace(RELEASED.switch[1], previous="/before")))


@pytest.mark.parametrize(
    ("name", "planned", "steps"),
    [
        ("from the start", plan(WITH_PREVIOUS, STARTED), ["bake", "switch", "watch", "unlink", "drain"]),
        ("switched", plan(WITH_PREVIOUS, dataclasses.replace(SWITCHED, previous=("/before",))), ["look", "unlink", "drain"]),
        ("gone already", plan(WITH_PREVIOUS, SWITCHED), ["look", "drain"]),
        ("taken back", roll_back(WITH_PREVIOUS, dataclasses.replace(SWITCHED, previous=("/before",))), ["switch_back", "unlink", "drain"]),
        ("the first ever", plan(WITH_PREVIOUS, FIRST_EVER), ["bake", "switch"]),
        ("asked again", plan(WITH_PREVIOUS, dataclasses.replace(SWITCHED, previous=("/before",)), until="switch"), ["look"]),
    ],
)
def test_nobody_is_led_to_the_instance_before_when_it_drains(name: str, planned: Plan, steps: list[str]) -> None:
    assert [step.do for step in planned.steps][: len(steps)] == steps, name
    assert [step.target for step in planned.steps if step.do == "unlink"] == (["/before"] if "unlink" in steps else []), name


def test_what_is_not_mounted_is_refused_before_anything_else() -> None:
    steps = plan(RELEASED, dataclasses.replace(FOUND, unmounted=("/srv/shared/media",))).steps
    assert steps[0] == Step("refuse_unmounted", "/srv/shared/media")
    assert "refuse_unmounted" not in [step.do for step in plan(RELEASED, FOUND).steps]


@pytest.mark.parametrize(
    ("path", "point"),
    [("/srv/shared/media", "/srv/shared"), ("/srv/shared", "/srv/shared"), ("/srv/shared2", "/"), ("/mnt/my disk/x", r"/mnt/my\040disk")],
)
def test_mount_point_of_a_path(path: str, point: str) -> None:
    assert mount_point(path, ["/", "/srv/shared", r"/mnt/my\040disk"]) == point.replace(r"\040", " ")


def test_directories_of_an_instance_are_made_with_its_container() -> None:
    """A release that is refused before that leaves none behind."""
    own = f"/run/{RELEASED.instance}"
    found = dataclasses.replace(FOUND, missing_directories=("/run", own))
    assert [step.target for step in plan(RELEASED, found, until="ship").steps if step.do == "directory"] == ["/run"]
    steps = [(step.do, step.target) for step in plan(RELEASED, found, until="start").steps]
    assert steps.index(("directory", own)) + 1 == steps.index(("create", RELEASED.container))


def test_images_that_are_no_releases_are_left_alone() -> None:
    shipped, foreign = "registry/app:0123456789abcdef", "registry/app:1.2"
    found = dataclasses.replace(RETIRED, release_images=(shipped, foreign))
    assert [step.target for step in plan(RELEASED, found).steps if step.do == "prune_image"] == [shipped]


def test_only_what_is_not_kept_is_pruned() -> None:
    pruned = [step.target for step in plan(RELEASED, RETIRED).steps if step.do.startswith("prune")]
    assert pruned == ["0123456789ab", "zero", "registry/app:zero"], "and not what somebody else keeps there"


@pytest.mark.parametrize(
    ("name", "actual", "steps"),
    [
        ("not begun", FOUND, []),
        ("never ran, and was written for", Actual(has_versions=True), ["forget"]),
        ("never ran, and was begun", Actual(has_versions=True, records=(Record("", "a", "b", "c", "d", "began"),)), ["forget"]),
        ("ran once, and its container is gone", Actual(has_versions=True, records=tuple(SERVED)), []),
        ("started", STARTED, ["discard", "remove_directories", "record", "conclude"]),
        ("switched", SWITCHED, ["switch_back", "drain", "stop", "discard", "remove_directories", "record", "conclude"]),
        ("the one before has gone", RETIRED, []),
        (
            "the one before has gone, and nobody was led to the new one",
            dataclasses.replace(STARTED, containers=(running(RELEASED),)),
            ["discard", "remove_directories", "record", "conclude"],
        ),
        (
            "the inventory describes another one meanwhile",
            dataclasses.replace(SWITCHED, under_way=dataclasses.replace(STARTED.under_way, instance="other", release="other")),
            ["switch_back", "drain", "stop", "discard", "remove_directories", "remove_directories", "record", "conclude"],
        ),
        ("begun by another run", dataclasses.replace(SWITCHED, under_way=ANOTHER_RUN), []),
        ("pointed back already", WATCHED_IN_VAIN, ["drain", "stop", "discard", "remove_directories", "record", "conclude"]),
        (
            "beside what an earlier run left",
            dataclasses.replace(STARTED, containers=(BEFORE, Container("music-nginx-left", "left", running=True), running(RELEASED))),
            ["discard", "discard", "remove_directories", "remove_directories", "record", "conclude"],
        ),
        ("crashed, not switched", dataclasses.replace(STARTED, containers=(BEFORE,)), ["remove_directories", "record", "conclude"]),
        (
            "the first ever",
            dataclasses.replace(
                STARTED, containers=(running(RELEASED),), links={}, under_way=UnderWay(RELEASED.instance, {"/static/current": ""})
            ),
            ["discard", "remove_directories", "record", "conclude"],
        ),
    ],
)
def test_roll_back(name: str, actual: Actual, steps: list[str]) -> None:
    assert [step.do for step in roll_back(RELEASED, actual).steps] == steps, name


def test_hosts_take_turns_with_the_switch_of_a_release_only() -> None:
    assert not plan(RELEASED, FOUND, until="start").disruptive
    found = plan(RELEASED, FOUND, until="switch")
    assert found.disruptive
    assert [step.do for step in found.quiet] == ["begin", "create", "start", "wait_healthy"]


@pytest.mark.parametrize(
    ("service", "actual", "changed", "disruptive"),
    [
        (STOP_FIRST, CONVERGED, False, False),
        (STOP_FIRST, Actual(**PREPARED), True, False),
        (STOP_FIRST, Actual(**PREPARED, containers=(OLD,)), True, True),
        (STOP_FIRST, dataclasses.replace(CONVERGED, containers=(running(STOP_FIRST, healthy=False),)), False, False),
        (BESIDE, Actual(**PREPARED, containers=(OLD_BESIDE,)), True, False),
    ],
)
def test_changed_and_disruptive(service: t.Any, actual: Actual, changed: bool, disruptive: bool) -> None:
    found = plan(service, actual)
    assert (found.changed, found.disruptive) == (changed, disruptive)


def test_what_runs_and_is_not_healthy_is_told_apart() -> None:
    serving = dataclasses.replace(CONVERGED, containers=(running(STOP_FIRST),))
    assert not plan(STOP_FIRST, serving, until="ship").unhealthy
    ill = dataclasses.replace(CONVERGED, containers=(running(STOP_FIRST, healthy=False),))
    assert plan(STOP_FIRST, ill, until="ship").unhealthy and not plan(STOP_FIRST, ill, until="ship").pending
    assert not plan(STOP_FIRST, Actual(**PREPARED, containers=(OLD,))).unhealthy, "the one before is ill: it is replaced"


def test_everything_that_can_refuse_comes_before_anything_that_runs_is_touched() -> None:
    steps = [step.do for step in plan(STOP_FIRST, Actual(containers=(OLD,))).steps]
    first_touch = min(steps.index(do) for do in ("rename", "withdraw", "drain", "stop", "point_config"))
    assert all(steps.index(do) < first_touch for do in ("pull", "network", "config", "validate", "check_ports"))


def test_no_diff_without_a_change() -> None:
    assert plan(STOP_FIRST, CONVERGED).diff == ()
    assert plan(BESIDE, CONVERGED_BESIDE).diff == ()


def test_a_diff_shows_files_and_spec() -> None:
    texts = [(item["before_header"], item["after"]) for item in plan(STOP_FIRST, Actual()).diff]
    assert ("music-nginx: a.conf", "x") in texts
    assert any(header == "container music-nginx" and 'memory: "64m"' in after for header, after in texts)


def test_a_host_without_an_engine_names_what_cannot_be_known() -> None:
    unknown = plan(STOP_FIRST, Actual()).unknown
    assert any("Docker Engine" in text for text in unknown)
    assert any("product accepts" in text for text in unknown)


def test_remove_drains_what_runs_and_is_idempotent() -> None:
    assert [step.do for step in remove(STOP_FIRST, CONVERGED).steps] == [
        "withdraw",
        "drain",
        "stop",
        "forget",
        "remove",
        "remove_directories",
    ]
    assert remove(STOP_FIRST, Actual(engine=True)).steps == ()
