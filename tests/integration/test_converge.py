# SPDX-License-Identifier: GPL-3.0-or-later
"""The promises of container_service against a real engine, with a service small enough to be read here.

The service is a shell: it copies its config to /tmp/loaded when it starts and on SIGHUP, and refuses (keeps the old one, silently, as
real products do) a config that says `rotten`. Its checker only refuses `broken`, so that `rotten` passes the check and fails live.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from _docker import docker
from ansible_collections.berth.django.plugins.module_utils import _engine, _observe, _shell
from ansible_collections.berth.django.plugins.module_utils._plan import Plan, plan, remove
from ansible_collections.berth.django.plugins.module_utils._spec import Service
from ansible_collections.berth.django.plugins.module_utils._spec_parse import parse

LOAD = "grep -q rotten /etc/berth/current/app.conf || cat /etc/berth/current/app.conf > /tmp/loaded"
SERVE = f"load() {{ {LOAD}; }}; trap load HUP; trap 'exit 0' TERM; load; while :; do sleep 0.1; done"
CHECK = "! grep -n broken /etc/berth/current/app.conf"
SECRET = "canary-value-of-a-secret"


def service(base: str, directory: Path, **changes: t.Any) -> Service:
    text = changes.pop("text", "one")
    values: dict[str, t.Any] = dict(
        project="converge",
        name="app",
        fleet="test",
        image=base,
        user="10777:10777",
        directory=f"{directory}/app",
        memory="64m",
        command=["bash", "-c", SERVE],
        secrets={"password": SECRET},
        config=dict(files={"app.conf": f"{text} @GENERATION@\n"}),
        tmpfs={"/tmp": "mode=1777"},
        networks=[dict(name="converge-net")],
        health=dict(command=["test", "-f", "/tmp/loaded"], wait=4, start_period=0),
        validate=[dict(command=["bash", "-c", CHECK])],
        reload=dict(signal="HUP"),
        proof=dict(command=["cat", "/tmp/loaded"]),
        before_stop=dict(withdraw=f"{directory}/in-rotation"),
        stop_grace=5,
    )
    return parse({**values, **changes})


def beside(base: str, directory: Path, **changes: t.Any) -> Service:
    """The shape of an application server: replaced for every change, switched by a link."""
    shape: dict[str, t.Any] = dict(
        replace="beside",
        reload=None,
        proof=None,
        before_stop=None,
        switch=[dict(link=f"{directory}/current", target="{instance}")],
    )
    return service(base, directory, **{**shape, **changes})


def converge(wanted: Service, until: str = "retire") -> Plan:
    actual = _observe.observe(wanted)
    found = plan(wanted, actual, until)
    _engine.execute(wanted, actual, found)
    return found


def running() -> dict[str, int]:
    """Name and process id of every running container of the test project."""
    names = docker("ps", "--filter", "label=berth.project=converge", "--format", "{{.Names}}").split()
    return {name: int(docker("inspect", "--format", "{{.State.Pid}}", name)) for name in names}


def loaded(name: str = "converge-app") -> str:
    return docker("exec", name, "cat", "/tmp/loaded").split()[0]


def test_first_run_second_run(base_image: str, directory: Path) -> None:
    wanted = service(base_image, directory)
    assert converge(wanted).changed
    before = running()
    assert loaded() == "one"
    assert (directory / "in-rotation").exists()
    assert not converge(wanted).changed
    assert running() == before


def test_other_files_are_a_reload_of_the_same_process(base_image: str, directory: Path) -> None:
    converge(service(base_image, directory))
    before = running()
    converge(service(base_image, directory, text="two"))
    assert loaded() == "two"
    assert running() == before


def test_a_reloaded_container_still_comes_back_by_itself(base_image: str, directory: Path) -> None:
    """`docker kill --signal=HUP` would have ended its restart policy."""
    converge(service(base_image, directory))
    converge(service(base_image, directory, text="two"))
    os.kill(running()["converge-app"], signal.SIGKILL)
    deadline = time.monotonic() + 20
    while "converge-app" not in running() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert "converge-app" in running()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(text="broken"), ["refuses its new configuration", "1:broken"]),
        (dict(text="rotten"), ["did not take its new configuration", "one"]),
        (dict(image="converge/none:1"), ["converge/none:1", "cannot be pulled"]),
        (dict(text="broken", memory="65m"), ["refuses its new configuration"]),
        (dict(health=dict(command=["false"], wait=1)), ["did not become healthy", "exit code 1"]),
        (dict(command=["bash", "-c", "echo no such module >&2; exit 3"]), ["ended with code 3", "no such module"]),
        (dict(user="10778:10778", command=["bash", "-c", "cat /run/secrets/*; exit 4"], read_only=False), ["ended with code 4"]),
    ],
)
def test_what_is_refused_leaves_what_runs(base_image: str, directory: Path, changes: dict[str, t.Any], words: list[str]) -> None:
    first = service(base_image, directory)
    converge(first)
    before = running()
    with pytest.raises(_shell.EngineError) as caught:
        converge(service(base_image, directory, **changes))
    for word in [*words, "What ran before runs on"]:
        assert word in str(caught.value)
    assert running().keys() == before.keys()
    stopped = "command" in changes or "health" in changes  # these fail after the old one gave way: it was started again
    assert stopped or running() == before
    assert loaded() == "one"
    assert (directory / "in-rotation").exists()
    assert not converge(first).changed


def test_a_taken_port_is_noticed_before_anything_stops(base_image: str, directory: Path) -> None:
    converge(service(base_image, directory))
    before = running()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = dict(address="127.0.0.1", port=taken.getsockname()[1], container_port=80)
        with pytest.raises(_shell.EngineError, match=f"port {port['port']} on 127.0.0.1 is taken"):
            converge(service(base_image, directory, ports=[port]))
    assert running() == before
    with pytest.raises(_shell.EngineError, match="not an address of this host"):
        converge(service(base_image, directory, ports=[dict(address="192.0.2.1", port=80, container_port=80)]))
    assert running() == before


def test_beside_starts_waits_and_switches(base_image: str, directory: Path) -> None:
    one, two = beside(base_image, directory), beside(base_image, directory, text="two")
    converge(one)
    started = converge(two, until="start")
    assert started.pending
    assert set(running()) == {one.container, two.container}
    assert os.readlink(directory / "current") == one.instance
    assert not converge(two, until="start").changed
    converge(two)
    assert set(running()) == {two.container}
    assert os.readlink(directory / "current") == two.instance
    assert not converge(two).changed


def test_beside_that_fails_leaves_the_old_one_serving(base_image: str, directory: Path) -> None:
    one = beside(base_image, directory)
    converge(one)
    before = running()
    with pytest.raises(_shell.EngineError, match="ended with code 5"):
        converge(beside(base_image, directory, command=["bash", "-c", "exit 5"]))
    assert running() == before
    assert os.readlink(directory / "current") == one.instance


@pytest.mark.parametrize("shape", [service, beside])
def test_a_run_that_is_killed_after_any_step_is_completed_by_the_next(
    base_image: str, directory: Path, shape: t.Callable[..., Service]
) -> None:
    """A killed module undoes nothing: taking only the first steps of a plan is the same."""
    one, two = shape(base_image, directory), shape(base_image, directory, memory="65m", text="two")
    converge(one)
    actual = _observe.observe(two)
    steps = plan(two, actual).steps
    for count in range(1, len(steps)):
        _engine.execute(two, actual, Plan(steps=steps[:count]))
        if count % 2:  # somebody takes the change back first
            converge(one)
            assert not converge(one).changed, steps[count - 1]
        converge(two)
        assert set(running()) == {two.container}, steps[count - 1]
        assert loaded(two.container) == "two"
        assert not converge(two).changed, steps[count - 1]
        converge(one)
        actual = _observe.observe(two)
        steps = plan(two, actual).steps


def test_a_killed_container_and_a_wrong_file_are_healed(base_image: str, directory: Path) -> None:
    wanted = service(base_image, directory)
    converge(wanted)
    docker("rm", "--force", "converge-app")
    (Path(wanted.config_directory) / "app.conf").write_text("tampered")
    converge(wanted)
    assert loaded() == "one"
    assert not converge(wanted).changed


def test_a_damaged_version_is_mended_in_the_place_that_is_mounted(base_image: str, directory: Path) -> None:
    wanted = service(base_image, directory, secrets={"password": "of two\r\nlines", "other": "kept"})
    converge(wanted)
    before = running()
    (Path(wanted.secrets_directory) / "password").write_text("tampered")
    assert converge(wanted).changed
    assert running() == before
    assert docker("exec", "converge-app", "od", "-An", "-c", "/run/secrets/password").split()[4:7] == ["o", "\\r", "\\n"]
    assert not converge(wanted).changed


def test_a_container_that_crashes_again_and_again_is_replaced(base_image: str, directory: Path) -> None:
    crashing = ["bash", "-c", f"grep -q one /etc/berth/current/app.conf && exit 1; {SERVE}"]
    wanted = service(base_image, directory, command=crashing, text="two")
    converge(wanted)
    link = directory / "app/config/current"
    bad = Path(service(base_image, directory, command=crashing).config_directory)
    bad.mkdir(mode=0o755)
    (bad / "app.conf").write_text("one\n")
    link.unlink()
    link.symlink_to(bad.name)
    docker("restart", "-t", "1", "converge-app")
    # By then the engine waits for several seconds between two attempts: it is looked at while it does not run.
    while docker("inspect", "--format", "{{.State.Restarting}} {{ge .RestartCount 6}}", "converge-app").strip() != "true true":
        time.sleep(0.1)
    converge(wanted)
    assert loaded() == "two"


def test_a_paused_container_and_another_address_of_its_port(base_image: str, directory: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    port = dict(address="127.0.0.1", port=number, container_port=80)
    wanted = service(base_image, directory, ports=[port])
    converge(wanted)
    docker("pause", "converge-app")
    converge(wanted)
    assert loaded() == "one"
    everywhere = service(base_image, directory, ports=[dict(port, address="0.0.0.0", public=True)])
    converge(everywhere)
    converge(wanted)
    assert not converge(wanted).changed


def test_secrets_are_files_and_nothing_else(base_image: str, directory: Path) -> None:
    wanted = service(base_image, directory)
    converge(wanted)
    assert SECRET not in docker("inspect", "converge-app")
    path = Path(wanted.secrets_directory) / "password"
    assert (path.stat().st_mode & 0o777, path.stat().st_uid) == (0o400, 10777)
    assert docker("exec", "converge-app", "cat", "/run/secrets/password") == SECRET
    assert "read_only" not in str(plan(wanted, _observe.observe(wanted)).diff)


def test_the_sandbox(base_image: str, directory: Path) -> None:
    converge(service(base_image, directory))
    status = docker("exec", "converge-app", "cat", "/proc/1/status")
    assert "Uid:\t10777" in status
    assert "CapBnd:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    with pytest.raises(AssertionError, match="Read-only"):
        docker("exec", "converge-app", "touch", "/etc/x")


def test_another_fleet_and_a_stranger_are_refused(base_image: str, directory: Path) -> None:
    wanted = service(base_image, directory)
    converge(wanted)
    with pytest.raises(_shell.EngineError, match="belongs to the fleet 'test'"):
        converge(dataclasses.replace(wanted, fleet="other"))
    docker("rm", "--force", "converge-app")
    docker("create", "--name", "converge-app", base_image, "true")
    try:
        with pytest.raises(_shell.EngineError, match="is not ours"):
            converge(wanted)
    finally:
        docker("rm", "converge-app")


def test_two_projects_do_not_share_the_ports_of_a_host(base_image: str, directory: Path) -> None:
    """Both would bind with SO_REUSEPORT, and the kernel would send connections to either."""
    shape: dict[str, t.Any] = dict(host_network=True, networks=[], reload=None, proof=None)
    converge(service(base_image, directory, **shape))
    with pytest.raises(_shell.EngineError, match="converge-app uses this host's network already"):
        converge(service(base_image, directory, **shape, project="another"))


def test_absent(base_image: str, directory: Path) -> None:
    wanted = service(base_image, directory)
    converge(wanted)
    actual = _observe.observe(wanted)
    _engine.execute(wanted, actual, remove(wanted, actual))
    assert running() == {}
    assert not Path(wanted.secrets_directory).exists()
    assert remove(wanted, _observe.observe(wanted)).steps == ()


def test_a_second_run_waits_and_is_told_for_whom() -> None:
    program = (
        "import sys, time; from ansible_collections.berth.django.plugins.module_utils._shell import service_lock\n"
        "with service_lock('converge', 'app', 'alice@laptop'): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": ":".join(sys.path)})
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(_shell.EngineError, match="alice@laptop"), _shell.service_lock("converge", "app", "bob", timeout=0.5):
            pass
        started = time.monotonic()
        os.kill(holder.pid, signal.SIGKILL)  # the kernel gives up the lock of a dead process at once
        with _shell.service_lock("converge", "app", "bob", timeout=20):
            assert time.monotonic() - started < 5
    finally:
        holder.kill()
        holder.wait()
