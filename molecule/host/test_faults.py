# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of the operator that the engine cannot take: what ran goes on, the error says why, and the file is as it was."""

from __future__ import annotations

import typing as t

import pytest
from fleet import HOSTS, Run, on, playbook, processes, until

HOST = next(iter(HOSTS), "")
DAEMON = "/etc/docker/daemon.json"


def converge(**variables: t.Any) -> Run:
    return playbook(name="molecule/host/converge.yml", variables=variables)


@pytest.fixture(scope="module", autouse=True)
def something_runs() -> t.Iterator[None]:
    """A container that is small enough to be made of the host's own files."""
    files = "$(command -v sleep) $(ldd $(command -v sleep) | grep -o '/[^ ]*')"
    on(HOST, f"tar -ch {files} 2>/dev/null | docker import - sleeper && docker run -d --name sleeper --restart always sleeper sleep 1d")
    yield
    on(HOST, "docker rm --force sleeper; docker rmi sleeper", check=False)


@pytest.fixture
def nothing_is_touched() -> t.Iterator[None]:
    before, text = processes(), on(HOST, f"cat {DAEMON}")
    assert before, "nothing runs, so this would prove nothing"
    yield
    assert on(HOST, f"cat {DAEMON}") == text
    assert processes() == before, "a container was restarted"
    run = converge()
    assert run.rc == 0 and run.changed == {HOST: 0}, run.told


def test_settings_that_keep_the_engine_from_starting(nothing_is_touched: None) -> None:
    """Valid JSON, known keys, accepted by the engine's own check."""
    run = converge(host_daemon={"storage-driver": "no-such-driver"})
    assert run.rc != 0, run.told
    assert "Docker Engine did not start with the settings in host_daemon, those before are back." in run.errors
    assert "no-such-driver" in run.errors and run.errors.count("fatal:") == 1, run.errors


def test_settings_that_the_engine_does_not_know(nothing_is_touched: None) -> None:
    engine = on(HOST, "pgrep -x dockerd")
    run = converge(host_daemon={"no-such-setting": True})
    assert run.rc != 0 and "Docker Engine refuses the settings in host_daemon:" in run.errors and "no-such-setting" in run.errors, run.told
    assert on(HOST, "pgrep -x dockerd") == engine, "the engine was restarted"


@pytest.mark.long
def test_file_of_somebody_else_that_is_no_json(nothing_is_touched: None) -> None:
    on(HOST, f"cp -p {DAEMON} /root/daemon.json && echo '{{broken' > {DAEMON}")
    try:
        run = converge()
        assert run.rc != 0 and "/etc/docker/daemon.json is not JSON" in run.errors and "correct or remove it" in run.errors, run.told
        assert on(HOST, f"cat {DAEMON}") == "{broken", "what somebody wrote was overwritten"
    finally:
        on(HOST, f"cp -p /root/daemon.json {DAEMON}")


@pytest.mark.long
def test_settings_of_somebody_else_stay() -> None:
    on(HOST, f"""cp -p {DAEMON} /root/daemon.json && sed -i '1a "max-concurrent-downloads": 2,' {DAEMON}""")
    try:
        run = converge(host_daemon={"max-concurrent-uploads": 2})
        assert run.rc == 0 and run.changed[HOST] == 1, run.told
        kept = on(HOST, f"cat {DAEMON}")
        assert '"max-concurrent-downloads": 2' in kept and '"max-concurrent-uploads": 2' in kept and '"live-restore": true' in kept
    finally:
        on(HOST, f"cp -p /root/daemon.json {DAEMON}")
        on(HOST, "service docker restart")
        until(lambda: on(HOST, "docker version --format '{{.Server.Version}}'", check=False), 60, "the engine answers")


@pytest.mark.long
def test_stopped_engine_is_started(nothing_is_touched: None) -> None:
    on(HOST, "service docker stop")
    run = converge()
    assert run.rc == 0 and run.changed[HOST] == 1, run.told
