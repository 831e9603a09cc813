# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sample project in versions that can be told apart from outside, and the playbooks that bring them."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from fleet import GROUPS, HOSTS, PROJECT, ROOT, Run, container, on, playbook, request

WEB = GROUPS.get("django_uwsgi", [])
NGINX = GROUPS.get("nginx", [])
BALANCER = GROUPS.get("haproxy", [""])[0]
URL = f"http://{HOSTS[BALANCER]['address']}/api/music/" if HOSTS else ""
DIRECTORY = f"/srv/berth/{PROJECT}"
# What the clients of tests/load ask for besides the page: a request that takes time, and an upload that has to arrive whole.
LONG_REQUESTS = """
        if "sleep" in request.GET:
            time.sleep(float(request.GET["sleep"]))
        if "upload" in request.GET:
            return HttpResponse(status=200 if len(request.body) == int(request.headers["content-length"]) else 400)
"""
# manage.py note WHAT: puts the word and the version into the list of songs.
NOTE = """
from django.core.management.base import BaseCommand
from songs.models import Song


class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("what")

    def handle(self, what, **_options):
        Song.objects.create(title=what, artist="{name}")
"""
SOURCES = Path(tempfile.gettempdir()) / "berth-release-sources"


def version(name: str, **changes: str) -> Path:
    """The project's source with `X-Version: name` in every answer, long requests, and the text of files replaced: path -> text."""
    source = SOURCES / name
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(ROOT / "examples" / "music", source, ignore=shutil.ignore_patterns("__pycache__"))
    middleware = source / "songs" / "middleware.py"
    text = middleware.read_text()
    changed = re.sub(r"^(\s+)return response$", rf'\1response.headers["X-Version"] = "{name}"\n\1return response', text, flags=re.MULTILINE)
    changed = changed.replace("import os\n", "import os\nimport time\n").replace(
        "-> HttpResponse:\n", f"-> HttpResponse:{LONG_REQUESTS}", 1
    )
    assert all(word in changed for word in ("X-Version", "import time", "upload")), "the middleware looks different now"
    middleware.write_text(changed)
    for path, more in {"songs/management/commands/note.py": NOTE.replace("{name}", name), **changes}.items():
        target = source / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(more)
    return source


def deploy(source: Path, *more: str, **variables: Any) -> Run:
    return playbook(*more, name="playbooks/deploy.yml", variables={"django_uwsgi_source": str(source), **variables})


def rollback(**variables: Any) -> Run:
    return playbook(name="playbooks/rollback.yml", variables=variables)


def served() -> set[str]:
    """The version that each host of the project answers with, whichever web server it is asked through."""
    seen: dict[str, str] = {}
    for _ in range(20):
        answers = [request("/api/music/", host, 8000) for host in NGINX]
        assert all(answer.status == 200 for answer in answers), [answer.text[:200] for answer in answers]
        seen |= {answer.headers["x-served-by"].split("/")[0]: answer.headers.get("x-version", "none") for answer in answers}
        if len(seen) == len(WEB):
            break
    assert set(seen) == set(WEB), seen
    return set(seen.values())


def log(host: str) -> str:
    return on(host, f"docker logs --tail 30 {container(host, 'django_uwsgi')} 2>&1", check=False)


def state() -> dict[str, list[str]]:
    """What a deploy leaves on each host: containers, links, the record's last line, nothing under way."""
    ask = (
        f"docker ps --all --format '{{{{.Names}}}} {{{{.State}}}}' | sort; "
        f"readlink {DIRECTORY}/static/current {DIRECTORY}/django_uwsgi/run/current.sock; "
        f"ls {DIRECTORY}/django_uwsgi/run {DIRECTORY}/static/kept; ls {DIRECTORY}/django_uwsgi | grep -E 'under-way|lock' || true"
    )
    return {host: on(host, ask).splitlines() for host in WEB}


def is_tidy() -> None:
    """One instance on each host and its sockets, nothing under way, no lock."""
    for host, lines in state().items():
        apps = [line for line in lines if line.startswith(f"{PROJECT}-django_uwsgi")]
        assert len(apps) == 1 and apps[0].endswith(" running"), f"{host}: {lines}"
        assert not {"under-way.json", "deploy-lock.json"} & set(lines), f"{host}: {lines}"
        serving = on(host, f"readlink {DIRECTORY}/django_uwsgi/run/current.sock").partition("/")[0]
        assert on(host, f"ls {DIRECTORY}/django_uwsgi/run").split() == sorted([serving, "current.sock"]), "sockets of other instances"
