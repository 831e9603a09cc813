# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker command lines, word for word."""

from __future__ import annotations

import pytest
from ansible_collections.berth.django.plugins.module_utils import _docker_argv
from ansible_collections.berth.django.plugins.module_utils._spec import Validation
from ansible_collections.berth.django.plugins.module_utils._spec_parse import parse
from test_spec import RELOADING, spec


def without_labels(argv: list[str]) -> list[str]:
    """The label that holds the whole spec would only repeat the test's input."""
    kept = iter(argv)
    return [word for word in kept if not (word == "--label" and next(kept))]


def test_create_word_for_word() -> None:
    service = parse(spec(networks=[dict(name="music", aliases=["web"])], command=["nginx", "-g", "daemon off;"]))
    assert without_labels(_docker_argv.create(service)) == [
        "docker", "create", "--name", "music-nginx",
        "--restart", "unless-stopped", "--stop-timeout", "30",
        "--network", "music", "--network-alias", "web",
        "--health-cmd", "true", "--health-interval", "30s", "--health-timeout", "5s", "--health-retries", "3",
        "--health-start-period", "30s",
        "--user", "10002:10002", "--cap-drop=ALL", "--security-opt", "no-new-privileges", "--read-only",
        "--memory", "64m", "--pids-limit", "200",
        "--env", f"BERTH_INSTANCE={service.instance}",
        "nginx:1.26", "nginx", "-g", "daemon off;",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(entrypoint=["tini", "--"], command=["x"]), ["--entrypoint", "tini", "nginx:1.26", "--", "x"]),
        (dict(host_network=True), ["--network", "host"]),
        (dict(), ["--network", "none"]),
        (dict(ports=[dict(address="10.0.0.1", port=80, container_port=8080)]), ["--publish", "10.0.0.1:80:8080/tcp"]),
        (dict(ports=[dict(address="fd00::1", port=80, container_port=8080)]), ["--publish", "[fd00::1]:80:8080/tcp"]),
        (dict(secrets={"a": "b"}), ["type=bind,source=/srv/berth/music/nginx/secrets/{secrets},target=/run/secrets,readonly"]),
        (
            dict(config=dict(files={"a": "b"})),
            ["type=bind,source=/srv/berth/music/nginx/config/{generation},target=/etc/berth/current,readonly"],
        ),
        (RELOADING, ["type=bind,source=/srv/berth/music/nginx/config,target=/etc/berth,readonly"]),
        (dict(tmpfs={"/tmp": "size=1m"}), ["--tmpfs", "/tmp:size=1m"]),
        (dict(capabilities=["NET_BIND_SERVICE"]), ["--cap-add", "NET_BIND_SERVICE"]),
        (dict(extra_hosts={"db": "10.0.0.2"}), ["--add-host", "db:10.0.0.2"]),
        (dict(health=dict(command=["sh", "-c", "a b"])), ["--health-cmd", "sh -c 'a b'"]),
        (dict(stop_signal="SIGQUIT"), ["--stop-signal", "SIGQUIT"]),
        (dict(log=dict(driver="local", options={"max-size": "1m"})), ["--log-driver", "local", "--log-opt", "max-size=1m"]),
        (
            dict(init=True, shm_size="64m", ulimits={"nofile": "1024:2048"}, sysctls={"net.core.somaxconn": 4096}, group_add=["10010"]),
            ["--init", "--shm-size", "64m", "--ulimit", "nofile=1024:2048", "--sysctl", "net.core.somaxconn=4096", "--group-add", "10010"],
        ),
    ],
)
def test_create_options(changes: dict, words: list[str]) -> None:
    service = parse(spec(**changes))
    argv = _docker_argv.create(service)
    for word in words:
        assert word.format(secrets=service.secrets_version, generation=service.generation) in argv


AWKWARD = {
    "ALL": """ 50% off? a=b & "c" 'd' #e $HOME ${PATH} `f` $(g) \\n {{ x }}\t\n\n second line\n""",
    "EMPTY": "",
    "URL": "postgresql://a:p%3Fw@db/a?sslmode=require#x",
}


def test_environment_goes_through_unchanged() -> None:
    """No shell is between, and each value is one word."""
    service = parse(spec(env={**AWKWARD, "NUMBER": 5, "TRUTH": True}))
    wanted = sorted(f"{name}={value}" for name, value in {**AWKWARD, "NUMBER": "5", "TRUTH": "true"}.items())
    for argv in (_docker_argv.create(service), _docker_argv.one_off(service, ["x"])):
        given = [word for option, word in zip(argv, argv[1:]) if option == "--env"]
        assert [word for word in given if not word.startswith("BERTH_")] == wanted


def test_a_secret_is_in_no_command_line() -> None:
    service = parse(spec(secrets={"password": "canary-value"}))
    assert "canary-value" not in " ".join(_docker_argv.create(service) + _docker_argv.one_off(service, ["x"]))


def test_a_validator_sees_the_candidate_and_not_the_data() -> None:
    service = parse(spec(**RELOADING, mounts=[dict(source="/srv/data", target="/data", read_only=False)]))
    argv = _docker_argv.validate(service, Validation(("nginx", "-t")), "name")
    assert f"type=bind,source=/srv/berth/music/nginx/config/{service.generation},target=/etc/berth/current,readonly" in argv
    assert not any("/srv/data" in word for word in argv)
    assert argv[-4:] == ["--entrypoint", "nginx", "nginx:1.26", "-t"]


def test_a_one_off_has_the_mounts_and_writes_where_it_may() -> None:
    service = parse(spec(mounts=[dict(source="/srv/static", target="/static")]))
    assert "type=bind,source=/srv/static,target=/static,readonly" in _docker_argv.one_off(service, ["x"])
    assert "type=bind,source=/srv/static,target=/static" in _docker_argv.one_off(service, ["x"], writable=["/static"])
    assert "--publish" not in _docker_argv.one_off(service, ["x"])


def test_where_a_command_runs() -> None:
    service = parse(spec(entrypoint=["python3", "-I", "start"]))
    argv = _docker_argv.one_off(service, ["x"], workdir="/app")
    assert argv[argv.index("--workdir") + 1] == "/app" and argv[-6:] == ["--entrypoint", "python3", "nginx:1.26", "-I", "start", "x"]
    assert "--workdir" not in _docker_argv.one_off(service, ["x"])
    assert _docker_argv.exec_in("web", ["x"], workdir="/app") == ["docker", "exec", "--workdir", "/app", "web", "x"]


def test_files_of_an_image_are_copied_and_nothing_is_run() -> None:
    assert _docker_argv.create_bare("shop:1", "x") == [
        "docker", "create", "--name", "x", "--network", "none", "--label", "berth.throwaway=x", "shop:1", "true",
    ]  # fmt: skip
    assert _docker_argv.copy_out("x", "/srv/static/", "/tmp/a") == ["docker", "cp", "x:/srv/static/.", "/tmp/a"]
