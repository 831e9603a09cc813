# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs that the app's containers are given: run as they are, against a server that speaks just enough of uWSGI's protocol."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _paths import ROOT

PROGRAMS = ROOT / "roles" / "django_uwsgi" / "files"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nok\n"


def run(program: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-IS", str(PROGRAMS / program), *words],
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


# --- berth-entrypoint -------------------------------------------------------------------------------------------------------------


AWKWARD = """ 50% off? a=b & "c" 'd' #e $HOME ${PATH} `f` \\n {instance} \u00e9\t\n\n second line\n"""


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    (tmp_path / "secret_key").write_bytes(AWKWARD.encode())
    (tmp_path / "database-password").write_bytes(b"two\r\nlines\n")
    (tmp_path / "keytab").write_bytes(b"\0\1")
    (tmp_path / ".hidden").write_text("no")
    (tmp_path / "folder").mkdir()
    return tmp_path


def test_entrypoint_exports_secrets(secrets: Path) -> None:
    found = environment(BERTH_EXPORT_SECRETS="1", BERTH_SECRETS_PATH=str(secrets), NOTICE=AWKWARD, LC_ALL="C")
    assert found["SECRET_KEY"] == AWKWARD == found["NOTICE"], "whatever the locale is"
    assert found["DATABASE_PASSWORD"] == "two\r\nlines\n"
    assert not {"FOLDER", ".HIDDEN", "HIDDEN", "KEYTAB"} & set(found)


def environment(**given: str) -> dict[str, str]:
    """What a program has that berth-entrypoint starts."""
    command = [sys.executable, "-IS", str(PROGRAMS / "berth-entrypoint"), "env", "-0"]
    outcome = subprocess.run(command, env={"PATH": os.environ["PATH"], **given}, capture_output=True, check=True)
    return dict(line.split("=", 1) for line in outcome.stdout.decode().split("\0") if line)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, None),
        ({"PYTHONPATH": "/srv/lib"}, "/srv/lib"),
        ({"BERTH_PYTHONPATH": "/app"}, "/app"),
        ({"BERTH_PYTHONPATH": "/settings:/app", "PYTHONPATH": "/srv/lib"}, "/settings:/app:/srv/lib"),
    ],
)
def test_entrypoint_keeps_the_python_path_of_the_image(given: dict[str, str], expected: str | None) -> None:
    assert environment(**given).get("PYTHONPATH") == expected


def test_entrypoint_exports_only_when_told(secrets: Path) -> None:
    assert "SECRET_KEY" not in run("berth-entrypoint", "env", BERTH_SECRETS_PATH=str(secrets)).stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["sh", "-c", "exit 7"], 7, ""),
        ([], 2, "usage: berth-entrypoint"),
        (["no-such-program"], 127, "no-such-program: No such file or directory"),
    ],
)
def test_entrypoint_becomes_the_command(words: list[str], code: int, said: str) -> None:
    outcome = run("berth-entrypoint", *words, BERTH_EXPORT_SECRETS="1", BERTH_SECRETS_PATH="/nonexistent")
    assert (outcome.returncode, outcome.stderr.strip()[: len(said)]) == (code, said)


# --- a server ---------------------------------------------------------------------------------------------------------------------


class Server:
    """Answers each connection with what `answer` makes of the request's variables."""

    def __init__(self, path: Path, answer: Callable[[dict[str, str]], bytes], speaks_uwsgi: bool = True) -> None:
        self.answer, self.speaks_uwsgi, self.asked = answer, speaks_uwsgi, 0
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen(10)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                connection, _address = self.socket.accept()
            except OSError:
                return
            with connection:
                self.asked += 1
                connection.sendall(self.answer(self.read(connection) if self.speaks_uwsgi else {}))

    def read(self, connection: socket.socket) -> dict[str, str]:
        modifier, size, _modifier = struct.unpack("<BHB", connection.recv(4))
        assert modifier == 0
        body, words = connection.recv(size, socket.MSG_WAITALL), []
        while body:
            (length,) = struct.unpack("<H", body[:2])
            words.append(body[2 : 2 + length].decode())
            body = body[2 + length :]
        return dict(zip(words[::2], words[1::2]))


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., tuple[str, Server]]]:
    servers = []

    def start(answer: Callable[[dict[str, str]], bytes] = lambda _request: OK, **options: bool) -> tuple[str, Server]:
        path = tmp_path / f"{len(servers)}.sock"
        servers.append(Server(path, answer, **options))
        return str(path), servers[-1]

    yield start
    for server in servers:
        server.socket.close()


# --- berth-probe ------------------------------------------------------------------------------------------------------------------


def test_probe_asks_as_nginx_would(serve: Callable[..., tuple[str, Server]]) -> None:
    seen: dict[str, str] = {}

    def answer(request: dict[str, str]) -> bytes:
        seen.update(request)
        return OK

    path, _server = serve(answer)
    assert run("berth-probe", path, "www.example.com", "/health/?full=1").returncode == 0
    assert seen["HTTP_HOST"] == "www.example.com"
    assert (seen["PATH_INFO"], seen["QUERY_STRING"]) == ("/health/", "full=1")
    assert (seen["HTTPS"], seen["HTTP_X_FORWARDED_PROTO"]) == ("on", "https"), "by either, a project knows HTTPS"


@pytest.mark.parametrize(
    ("answer", "statuses", "code", "said"),
    [
        (OK, "200", 0, ""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "200,204", 0, ""),
        (b"HTTP/1.1 302 Found\r\n\r\n", "200-399", 0, ""),
        (b"HTTP/1.1 302 Found\r\n\r\n", "200", 1, "/ answered 302 to Host a.example.com, not 200: "),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n<p>\n No</p>", "200", 1, "/ answered 400 to Host a.example.com, not 200: <p> No</p>"),
        (b"", "200", 1, "/ answered nothing to Host a.example.com, not 200: "),
    ],
)
def test_probe(serve: Callable[..., tuple[str, Server]], answer: bytes, statuses: str, code: int, said: str) -> None:
    path, _server = serve(lambda _request: answer)
    outcome = run("berth-probe", path, "a.example.com", "/", statuses)
    assert (outcome.returncode, outcome.stdout.rstrip("\n")) == (code, said)


def test_probe_says_when_nobody_listens(tmp_path: Path) -> None:
    outcome = run("berth-probe", str(tmp_path / "no.sock"), "a.example.com", "/")
    assert outcome.returncode == 1
    assert "no.sock does not answer" in outcome.stdout


# --- berth-drained ----------------------------------------------------------------------------------------------------------------


def stats(in_request: int, queue: int = 0) -> bytes:
    cores = [{"in_request": in_request}, {"in_request": 0}]
    return json.dumps({"listen_queue": queue, "workers": [{"cores": cores}, {"cores": []}]}).encode()


def test_drained_when_nothing_is_in_work(serve: Callable[..., tuple[str, Server]]) -> None:
    path, server = serve()
    stats_path, figures = serve(lambda _request: stats(0), speaks_uwsgi=False)
    assert run("berth-drained", path, stats_path, "a.example.com", "/health/").returncode == 0
    assert server.asked == 1
    assert figures.asked == 3, "once may be between two requests"


def test_drained_waits_for_what_is_in_work(serve: Callable[..., tuple[str, Server]]) -> None:
    path, _server = serve()
    start = time.monotonic()
    stats_path, _figures = serve(lambda _request: stats(int(time.monotonic() - start < 1)), speaks_uwsgi=False)
    assert run("berth-drained", path, stats_path).returncode == 0
    assert time.monotonic() - start > 1


@pytest.mark.parametrize("figures", [stats(1), stats(0, queue=2)])
def test_drained_gives_up_with_a_sentence(serve: Callable[..., tuple[str, Server]], figures: bytes) -> None:
    path, _server = serve()
    stats_path, _figures = serve(lambda _request: figures, speaks_uwsgi=False)
    outcome = run("berth-drained", path, stats_path, BERTH_DRAIN_TIMEOUT="0.5")
    assert outcome.returncode == 1
    assert "requests that are not answered" in outcome.stdout


def test_drained_waits_in_the_queue(serve: Callable[..., tuple[str, Server]]) -> None:
    """The probe's own answer comes after those of all that waited before it."""

    def slow(_request: dict[str, str]) -> bytes:
        time.sleep(1)
        return OK

    path, _server = serve(slow)
    stats_path, _figures = serve(lambda _request: stats(0), speaks_uwsgi=False)
    before = socket.socket(socket.AF_UNIX)
    before.connect(path)
    before.sendall(struct.pack("<BHB", 0, 0, 0))
    start = time.monotonic()
    assert run("berth-drained", path, stats_path).returncode == 0
    assert time.monotonic() - start > 2
    before.close()


def test_nothing_to_drain_when_it_is_gone(tmp_path: Path) -> None:
    assert run("berth-drained", str(tmp_path / "a.sock"), str(tmp_path / "a.stats")).returncode == 0


# --- berth-explain ----------------------------------------------------------------------------------------------------------------

# A project in one file. It logs nothing: DEBUG is off.
PROJECT = """
from django.http import HttpResponse
from django.urls import path
SECRET_KEY, ROOT_URLCONF, ALLOWED_HOSTS, SECURE_SSL_REDIRECT = "for this test", "project", ["www.example.com"], True
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"]
def broken(request):
    raise LookupError("relation songs_song does not exist")
urlpatterns = [path("broken", broken), path("works", lambda request: HttpResponse("yes"))]
"""


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["www.example.com", "/broken"], 1, ["in broken", "LookupError: relation songs_song does not exist"]),
        (["www.example.com", "/works"], 0, ["Asked for /works once more, Django answers 200."]),
        (["other.example.com", "/works"], 0, ["answers 400"]),
        ([], 2, ["usage: berth-explain"]),
    ],
)
def test_explain_tells_what_django_raises(words: list[str], code: int, told: list[str], tmp_path: Path) -> None:
    (tmp_path / "project.py").write_text(PROJECT)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "DJANGO_SETTINGS_MODULE": "project"}
    command = [sys.executable, str(PROGRAMS / "berth-explain"), *words]
    outcome = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert outcome.returncode == code and all(line in outcome.stdout + outcome.stderr for line in told), outcome


def test_explain_tells_of_settings_that_cannot_be_read(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "DJANGO_SETTINGS_MODULE": "nothing"}
    command = [sys.executable, str(PROGRAMS / "berth-explain"), "localhost", "/"]
    outcome = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert outcome.returncode == 1 and "No module named 'nothing'" in outcome.stdout
