# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A converged nginx, asked from outside: whom it answers, what it passes on, what it serves by itself."""

from __future__ import annotations

import gzip
import json
import shlex
import socket
import typing as t
from pathlib import Path

import pytest
from fleet import GROUPS, HOSTS, inspect, on, playbook, until
from web import CONTAINER, FLAG, HOST, PORT, PROJECT_DIRECTORY, get

ADDRESS = HOSTS[HOST]["address"]
PROXY = "builder1"


def raw(text: str) -> str:
    """Sends exactly this, and returns the whole answer."""
    with socket.create_connection((ADDRESS, PORT), timeout=10) as connection:
        connection.sendall(text.replace("\n", "\r\n").encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer.decode()


def seen(**headers: str) -> dict[str, str]:
    """The variables that the application was given."""
    return t.cast("dict[str, str]", get("/seen/?a=1", headers={name.replace("_", "-"): value for name, value in headers.items()}).json())


def test_every_web_host_answers_for_its_names() -> None:
    for host in GROUPS["nginx"]:
        for name in ("localhost", "localhost:8080", "example.com", "www.example.com", "WWW.EXAMPLE.COM"):
            assert get("/", host, headers={"Host": name}).status == 200, f"{host} {name}"


@pytest.mark.parametrize("name", ["evil.test", "localhost.evil.test", ADDRESS, ""])
def test_other_names_are_refused(name: str) -> None:
    assert get("/", headers={"Host": name}).status == (421 if name else 400)
    assert get("/berth/health", headers={"Host": name}).status != 200


def test_without_a_name_there_is_no_site() -> None:
    assert raw("GET / HTTP/1.0\n\n").startswith("HTTP/1.1 421 ")


def test_application_is_told_the_request() -> None:
    said = seen(Host="localhost:8080")
    assert said["PATH_INFO"] == "/seen/" and said["QUERY_STRING"] == "a=1" and said["REQUEST_METHOD"] == "GET"
    assert said["HTTP_HOST"] == "localhost:8080", "Django compares the Origin of a form with host and port"
    assert said["HTTP_X_FORWARDED_PROTO"] == "http" and "HTTPS" not in said


def test_name_of_the_request_line_wins() -> None:
    said = json.loads(raw("GET http://localhost/ HTTP/1.1\nHost: evil.test\nConnection: close\n\n").split("\r\n\r\n")[1])
    assert said["HTTP_HOST"] == said["HTTP_X_FORWARDED_HOST"] == "localhost"
    assert "evil" not in json.dumps(said)


def test_word_of_a_client_is_not_passed_on() -> None:
    claims = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.test",
        "X-Forwarded-Port": "4443",
        "X-Forwarded-Prefix": "/evil",
        "X-Forwarded-Ssl": "on",
        "X-Real-IP": "203.0.113.9",
        "Forwarded": "for=203.0.113.9;proto=https",
        "Proxy": "http://evil.test/",
        "X_Forwarded_Proto": "https",
    }
    said = get("/", headers=claims).json()
    words = json.dumps(said)
    assert not any(word in words for word in ("203.0.113.9", "https", "evil", "4443")), said
    assert not {"HTTPS", "HTTP_PROXY", "HTTP_FORWARDED", "HTTP_X_FORWARDED_SSL", "HTTP_X_FORWARDED_PREFIX"} & set(said)
    assert said["HTTP_X_FORWARDED_FOR"] == said["HTTP_X_REAL_IP"] == said["REMOTE_ADDR"]


def test_word_of_the_load_balancer_is_believed() -> None:
    claims = {"Host": "localhost", "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "443"}
    client = f"""
import urllib.request
print(urllib.request.urlopen(urllib.request.Request("http://{ADDRESS}:{PORT}/", headers={claims})).read().decode())
"""
    said = json.loads(on(PROXY, f"python3 -c {shlex.quote(client)}"))
    assert said["REMOTE_ADDR"] == said["HTTP_X_FORWARDED_FOR"] == "203.0.113.9"
    assert said["HTTPS"] == "on" and said["REQUEST_SCHEME"] == said["HTTP_X_FORWARDED_PROTO"] == "https" and said["SERVER_PORT"] == "443"


def test_static_files_of_the_current_release_come_first() -> None:
    assert get("/static/site.css").text == "new"
    assert get("/static/only-old.css").text == "only in the old release"
    answer = get("/static/missing.css")
    assert answer.status == 404 and "x-served-by" not in answer.headers
    assert get("/static/").status == 200 and "x-served-by" in get("/static/").headers, "not a file: Django's to answer"


def test_static_files_are_typed_cached_and_packed() -> None:
    answer = get("/static/site.css")
    assert answer.headers["content-type"] == "text/css" and answer.headers["cache-control"] == "max-age=3600"
    assert answer.headers["x-content-type-options"] == "nosniff"
    named = get("/static/site.0123456789ab.css")
    assert named.text == "named by its content" and named.headers["x-content-type-options"] == "nosniff"
    assert named.headers["cache-control"] == "max-age=31536000, immutable"
    gone = get("/static/gone.0123456789ab.css")
    assert gone.status == 404 and "cache-control" not in gone.headers
    packing = {"Accept-Encoding": "gzip"}
    assert get("/static/packed.css", headers=packing).text == "packed beforehand" and get("/static/packed.css").text == "plain"
    long = get("/static/long.css", headers=packing)
    assert long.headers["content-encoding"] == "gzip" and len(long.body) < 200
    assert gzip.decompress(long.body) == get("/static/long.css").body


@pytest.mark.parametrize("path", ["/static/../media/cover.txt", "/static/%2e%2e/%2e%2e/etc/passwd", "/media../static/current/site.css"])
def test_paths_stay_inside(path: str) -> None:
    answer = get(path)
    assert "root:" not in answer.text and answer.text not in ("new",)


def test_uploads() -> None:
    answer = get("/media/cover.txt")
    assert (answer.status, answer.text, answer.headers["x-content-type-options"]) == (200, "an upload", "nosniff")
    assert get("/media/").status in (403, 404), "uploads are not listed"


def test_favicon_of_the_static_files_or_else_of_the_project() -> None:
    assert get("/favicon.ico").json()["PATH_INFO"] == "/favicon.ico"
    file = f"{PROJECT_DIRECTORY}/static/second/favicon.ico"
    on(HOST, f"printf icon > {file}")
    try:
        assert get("/favicon.ico").text == "icon"
    finally:
        on(HOST, f"rm {file}")


def test_body_sizes() -> None:
    assert get("/", method="POST", body=b"x" * 900_000).json()["CONTENT_LENGTH"] == "900000"
    assert get("/", method="POST", body=b"x" * 1_100_000).status == 413


def test_health_follows_django_and_the_rotation() -> None:
    sick, busy = (f"{PROJECT_DIRECTORY}/django_uwsgi/run/first.sock.{how}" for how in ("sick", "busy"))
    answer = get("/berth/health")
    assert answer.status == 200 and answer.json()["PATH_INFO"] == "/health/"
    try:
        on(HOST, f"touch {sick}")
        assert get("/berth/health").status == 503
        on(HOST, f"rm {sick}; touch {busy}")
        assert get("/berth/health", timeout=5).status == 200, "what it has would be the others' otherwise, until nobody is left"
        on(HOST, f"rm {FLAG}")
        assert get("/berth/health").status == 404 and get("/").status == 200, "drained, yet serving"
    finally:
        on(HOST, f"rm -f {sick} {busy}; touch {FLAG}")


def test_access_log_is_json_with_both_times() -> None:
    get("/logged/?sleep=0.2", headers={"User-Agent": 'quote " and \\ backslash'})
    line = until(lambda: on(HOST, f"docker logs --since 1m {CONTAINER} 2>/dev/null | grep /logged/ | tail -n 1"))
    entry = json.loads(line)
    assert entry["status"] == "200" and entry["agent"] == 'quote " and \\ backslash'
    assert entry["request_time"] >= 0.2 and float(entry["upstream_time"]) >= 0.2
    assert "/generation" not in on(HOST, f"docker logs {CONTAINER} 2>&1"), "its own health check is not news"


def test_container_is_confined() -> None:
    seen = inspect(HOST, CONTAINER)
    limits = seen["HostConfig"]
    assert seen["Config"]["User"] == "10002:10002" and seen["Config"]["StopSignal"] == "SIGQUIT"
    assert limits["ReadonlyRootfs"] and limits["CapDrop"] == ["ALL"] and not limits["CapAdd"] and limits["Memory"] == 256 * 2**20
    assert limits["PortBindings"] == {"8080/tcp": [{"HostIp": ADDRESS, "HostPort": str(PORT)}]}
    assert {mount["Destination"]: mount["RW"] for mount in seen["Mounts"]} == {
        "/etc/berth": False,
        "/run/nginx": True,
        "/run/uwsgi": False,
        f"/srv/media{PROJECT_DIRECTORY}/media": False,
        "/srv/static": False,
        "/var/tmp/nginx": True,
    }


def test_second_run_changes_nothing_in_one_module_execution(tmp_path: Path) -> None:
    counts = tmp_path / "counts.json"
    counting = {
        "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).resolve().parents[2] / "tests" / "callback"),
        "ANSIBLE_CALLBACKS_ENABLED": "count_executions",
        "BERTH_EXECUTIONS_FILE": str(counts),
    }
    run = playbook(name="molecule/nginx/role.yml", environment=counting)
    assert run.unchanged, run.out
    assert json.loads(counts.read_text())["per_host"][HOST] == 1
