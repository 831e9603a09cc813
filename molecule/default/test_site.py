# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole stack, asked from outside: what a visitor, an operator and a stranger see."""

from __future__ import annotations

import gzip
import json
import re
import uuid
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fleet import FLEET, GROUPS, HOSTS, PROJECT, container, containers, inspect, on, playbook, request, until

WEB_PORT = 8000
STATS_PORT = 9080
# One pixel.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


@pytest.fixture(scope="module")
def song() -> dict[str, object]:
    """A song with a cover, posted through the balancer."""
    title = f"song {uuid.uuid4()}"
    boundary = uuid.uuid4().hex
    fields = {"title": title, "artist": "us"}
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()]
    cover = f'--{boundary}\r\nContent-Disposition: form-data; name="cover"; filename="cover.png"\r\nContent-Type: image/png\r\n\r\n'
    body = "".join(parts).encode() + cover.encode() + PNG + f"\r\n--{boundary}--\r\n".encode()
    answer = request("/api/music/", method="POST", body=body, headers={"Content-Type": f"multipart/form-data; boundary={boundary}"})
    assert answer.status == 201, answer.text
    return answer.json()


def sql(statement: str) -> str:
    """Asked on the database's host, past Django."""
    name = container(GROUPS["postgres"][0], "postgres")
    return on(GROUPS["postgres"][0], f'docker exec {name} psql --no-psqlrc -h /run/postgresql -U postgres -d {PROJECT} -Atc "{statement}"')


def test_both_web_hosts_answer_in_turn() -> None:
    served = [request("/api/music/").headers["x-served-by"] for _ in range(8)]
    assert {name.split(" ")[0].split("/")[0] for name in served} >= set(GROUPS["django_uwsgi"]), served


def test_song_is_a_row_and_is_read_on_every_web_host(song: dict[str, object]) -> None:
    assert sql(f"SELECT title FROM songs_song WHERE id = {song['id']}") == song["title"]
    for host in GROUPS["nginx"]:
        assert request(f"/api/music/{song['id']}/", host, WEB_PORT).json()["title"] == song["title"]


def test_cover_is_served_by_nginx_of_every_web_host(song: dict[str, object]) -> None:
    path = "/" + str(song["cover"]).split("/", 3)[3]
    for host in GROUPS["nginx"]:
        answer = request(path, host, WEB_PORT)
        assert (answer.status, answer.body) == (200, PNG), f"{host} {path}: {answer.status}"
        assert "x-served-by" not in answer.headers, "Django served an upload"


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "link" and values.get("rel") == "stylesheet":
            self.found.append(values["href"] or "")
        if tag == "script" and values.get("src"):
            self.found.append(values["src"] or "")


def test_admin_comes_with_its_css_from_nginx() -> None:
    page = request("/admin/login/")
    assert page.status == 200 and "x-served-by" in page.headers
    links = Links()
    links.feed(page.text)
    assert any(link.endswith(".css") for link in links.found), page.text
    for link in links.found:
        for host in GROUPS["nginx"]:
            answer = request(link, host, WEB_PORT)
            assert answer.status == 200 and answer.body, f"{link} on {host}: {answer.status}"
            assert "x-served-by" not in answer.headers, f"Django served {link}"
            assert answer.headers["content-type"].startswith(("text/css", "application/javascript", "text/javascript"))
            assert re.search(r"\.[0-9a-f]{12}\.(css|js)$", link), f"{link} is not named by its content"
            assert "immutable" in answer.headers["cache-control"], answer.headers


def test_css_is_sent_as_it_was_compressed_beforehand() -> None:
    """The file beside it, byte for byte: nginx compresses less, and does so for each request."""
    links = Links()
    links.feed(request("/admin/login/").text)
    link = next(link for link in links.found if "base." in link)
    for host in GROUPS["nginx"]:
        copy = f"{FLEET['directory']}/{PROJECT}/static/current/{link.removeprefix('/static/')}.gz"
        size, changed = (int(word) for word in on(host, f"stat -L -c '%s %Y' {copy}").split())
        packed, plain = (request(link, host, WEB_PORT, headers={"Accept-Encoding": way}) for way in ("gzip", "identity"))
        assert packed.headers["content-encoding"] == "gzip" and len(packed.body) == int(packed.headers["content-length"]) == size
        assert packed.headers["etag"] == f'"{changed:x}-{size:x}"' and "content-encoding" not in plain.headers
        assert gzip.decompress(packed.body) == plain.body and len(plain.body) > size


def test_stats_need_the_password_of_this_fleet() -> None:
    assert request("/stats", port=STATS_PORT).status == 401
    for user in (("admin", "admin"), ("admin", "password"), ("haproxy", "haproxy")):
        assert request("/stats", port=STATS_PORT, user=user).status == 401
    answer = request("/stats", port=STATS_PORT, user=tuple(FLEET["stats"]))
    assert answer.status == 200 and "Statistics Report" in answer.text


def test_unknown_host_is_refused() -> None:
    for host in GROUPS["nginx"]:
        assert request("/api/music/", host, WEB_PORT, headers={"Host": "evil.example"}).status in (400, 421)
    assert request("/api/music/", headers={"Host": "evil.example"}).status in (400, 421)


def test_client_cannot_say_where_it_comes_from(song: dict[str, object]) -> None:
    lying = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "evil.example"}
    page = request("/api/music/", headers={**lying, "Accept": "application/json"})
    assert str(song["title"]) in page.text and '"http://' in page.text, "nothing here says how the site was asked"
    assert "https://" not in page.text and "evil.example" not in page.text
    for host in GROUPS["nginx"]:
        logged = on(host, f"docker logs --tail 200 {container(host, 'nginx')} 2>/dev/null")
        clients = re.findall(r'"client":"([^"]*)"', logged)
        assert clients and "203.0.113.9" not in clients


def test_nothing_is_published_to_everyone() -> None:
    for host in HOSTS:
        ports = on(host, "docker ps --format '{{.Ports}}'")
        assert "0.0.0.0:" not in ports and "[::]:" not in ports and ":::" not in ports, f"{host}: {ports}"


def test_containers_are_confined() -> None:
    for host in HOSTS:
        for name in containers(host):
            seen = inspect(host, name)
            config, limits = seen["Config"], seen["HostConfig"]
            assert re.fullmatch(r"[1-9]\d*(:\d+)?", config["User"]), f"{name} runs as {config['User']!r}"
            assert limits["ReadonlyRootfs"], f"{name} can write to its root"
            assert limits["CapDrop"] == ["ALL"] and not limits["Privileged"], f"{name} has capabilities"
            assert any(option.startswith("no-new-privileges") for option in limits["SecurityOpt"] or []), f"{name} can gain privileges"
            assert limits["Memory"] and limits["PidsLimit"], f"{name} has no limits"
            until(lambda host=host, name=name: inspect(host, name)["State"]["Health"]["Status"] == "healthy", 40, f"{name} is healthy")


def test_secrets_are_in_files_only() -> None:
    """No secret of the inventory in `inspect`, in the process list or in a log."""
    assert FLEET["secrets"], "the scenario passes no secrets, so this would prove nothing"
    for host in HOSTS:
        shown = on(host, "docker ps -aq | xargs --no-run-if-empty docker inspect; ps -eo args")
        shown += on(host, 'docker ps -aq | while read -r id; do docker logs "$id" 2>&1; done')
        for name, secret in FLEET["secrets"].items():
            assert secret not in shown, f"{name} can be read on {host}"


def test_second_run_changes_nothing_and_costs_little(tmp_path: Path) -> None:
    counts = tmp_path / "counts.json"
    counting = {
        "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).resolve().parents[2] / "tests" / "callback"),
        "ANSIBLE_CALLBACKS_ENABLED": "count_executions",
        "BERTH_EXECUTIONS_FILE": str(counts),
    }
    run = playbook(environment=counting)
    assert run.rc == 0, run.told
    assert run.unchanged, run.told
    per_host = json.loads(counts.read_text())["per_host"]
    print(per_host)
    assert {per_host.get(host, 0) for host in HOSTS} == {1}, f"not one module execution on each host: {per_host}\n{run.told}"


# Of a fleet of one host (molecule/single, which runs this file, too), with `make test-faults`.
@(pytest.mark.long if len(HOSTS) == 1 else lambda test: test)
def test_check_mode_predicts_exactly() -> None:
    """What it says would change is what changes, and nothing is changed by asking."""
    assert playbook("--check", "--diff").unchanged
    wanted = {"nginx_client_max_body_size": "21m"}
    predicted = playbook("--check", "--diff", variables=wanted)
    assert predicted.rc == 0, predicted.told
    assert "+    client_max_body_size 21m;" in predicted.out, predicted.told
    assert playbook("--check", "--diff").unchanged, "check mode changed something"
    real = playbook(variables=wanted)
    assert real.rc == 0 and real.changed == predicted.changed, f"predicted {predicted.changed}, changed {real.changed}"
    assert playbook().rc == 0


def test_images_are_small() -> None:
    """The base is trimmed like Debian's own slim one, and what the project adds is its requirements, not what built them."""
    builder = GROUPS["builder"][0]
    names = on(builder, "docker images --filter dangling=false --format '{{.Repository}}:{{.Tag}}'").split()
    sizes = dict(zip(names, on(builder, f"docker image inspect --format '{{{{.Size}}}}' {' '.join(names)}").split()))
    base = int(sizes["debian:trixie-slim"])
    apps = [int(size) for name, size in sizes.items() if f"/{PROJECT}-app:" in name]
    print(f"base {base / 1e6:.0f} MB, app {max(apps) / 1e6:.0f} MB")
    assert base <= 110e6 and max(apps) - base <= 130e6
