# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each project is released twice, and one of them goes back, while the others serve on."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import typing as t
from pathlib import Path

import pytest
import sites
from fleet import FLEET, GROUPS, ROOT, Run, on, playbook, processes, until

PROJECTS = list(sites.PAGES)
INIT = {
    "guestbook": "entries/__init__.py",
    "gallery": "backend/gallery/__init__.py",
    "press": "press/__init__.py",
    "brochure": "brochure/__init__.py",
    "club": "club/__init__.py",
}
SOURCES = Path(tempfile.gettempdir()) / f"berth-projects-{os.getpid()}"


@pytest.fixture(scope="module", autouse=True)
def sources() -> t.Iterator[None]:
    shutil.copytree(ROOT / "tests" / "projects", SOURCES, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    yield
    shutil.rmtree(SOURCES)


def deploy(number: int, projects: t.Iterable[str], *more: str) -> Run:
    for project in projects:
        path = SOURCES / project / INIT[project]
        text, found = re.subn(r"^VERSION = .*$", f'VERSION = "{number}"', path.read_text(), flags=re.MULTILINE)
        assert found == 1, f"{path} has no VERSION"
        path.write_text(text)
    return playbook(*more, name="playbooks/deploy.yml", variables={"project_sources": str(SOURCES)})


@pytest.mark.long
def test_all_are_released_at_once_and_what_was_stored_stays() -> None:
    marks = {project: sites.write(project) for project in PROJECTS}
    photo = sites.photos()[0]
    run = deploy(2, PROJECTS)
    assert run.rc == 0, run.told
    assert {project: sites.version(project) for project in PROJECTS} == dict.fromkeys(PROJECTS, "2")
    for project, mark in marks.items():
        assert sites.is_read(project, mark, FLEET["secrets"]["brochure_admin"]), project
        assert sites.static(project).status == 200, project
    assert sites.ask("gallery", photo["original"]).body == b"large"
    mark = sites.write("press")
    until(
        lambda: [job for job in sites.jobs() if job["text"] == mark and "version 2" in (job["printed_by"] or "")], 30, "a new worker works"
    )


@pytest.mark.long
def test_a_change_of_one_python_file_ships_that_file_s_layer_and_no_requirements() -> None:
    host = GROUPS["gallery_web"][0]
    new, old = (
        layers(host, image) for image in on(host, "docker images --format '{{.Repository}}:{{.Tag}}' | grep gallery-app").split()[:2]
    )
    shipped = sum(size for layer, size in new.items() if layer not in old)
    print(f"{len(new.keys() - old.keys())} of {len(new)} layers, {shipped} bytes")
    assert 0 < len(new.keys() - old.keys()) <= 2, "the source, and what Python makes of it"
    # Of the source itself, a few kilobytes.
    assert shipped <= 1024 * 1024


def layers(host: str, image: str) -> dict[str, int]:
    """Layer -> its size. History has a line for commands without a layer, too, and layers may be empty."""
    names = json.loads(on(host, f"docker image inspect --format '{{{{json .RootFS.Layers}}}}' {image}"))
    history = on(host, f"docker history --human=false --format '{{{{.Size}}}} {{{{.CreatedBy}}}}' {image}").splitlines()
    sizes = [int(line.split()[0]) for line in history if line.partition(" ")[2].startswith(("RUN", "COPY", "ADD", "WORKDIR"))]
    assert len(names) == len(sizes) + 1, f"{names}\n{history}"  # and the base image's one
    return dict(zip(reversed(names[1:]), sizes))


def test_one_is_released_alone_and_the_others_are_not_touched() -> None:
    others = {name: line for name, line in processes().items() if "/club-" not in name}
    run = deploy(3, ["club"], "--limit", "builder:club")
    assert run.rc == 0, run.told
    assert sites.version("club") == "3"
    assert {name: line for name, line in processes().items() if "/club-" not in name} == others


@pytest.mark.long
def test_a_worker_that_cannot_start_stops_the_release() -> None:
    before = processes()
    run = playbook(
        "--limit",
        "builder:press",
        name="playbooks/deploy.yml",
        variables={"project_sources": str(SOURCES), "django_uwsgi_workers": {"print": {"manage": ["no_such_command"]}}},
    )
    assert run.rc != 0 and "no_such_command" in run.out, run.told
    assert processes() == before and sites.version("press") == "2"


@pytest.mark.long
def test_a_rollback_is_about_one_project() -> None:
    run = playbook(name="playbooks/rollback.yml")
    assert run.rc != 0 and "--limit" in run.out, run.told
    long = sites.work(25)
    run = playbook("--limit", "press", name="playbooks/rollback.yml")
    assert run.rc == 0, run.told
    (job,) = until(lambda: [job for job in sites.jobs() if job["text"] == long and job["copies"]], 30, "what a worker had in hand is done")
    assert job["copies"] == 1 and "version 2" in job["printed_by"], "by the release that had begun it"
    assert {project: sites.version(project) for project in PROJECTS} == {**dict.fromkeys(PROJECTS, "2"), "press": "1", "club": "3"}
    mark = sites.write("press")
    until(
        lambda: [job for job in sites.jobs() if job["text"] == mark and "version 1" in (job["printed_by"] or "")],
        30,
        "the old worker works",
    )


@pytest.mark.long
def test_a_worker_that_is_taken_out_goes() -> None:
    run = playbook(
        "--limit",
        "builder:press",
        name="playbooks/deploy.yml",
        variables={"project_sources": str(SOURCES), "django_uwsgi_workers": {}, "django_uwsgi_schedule": {}},
    )
    assert run.rc == 0, run.told
    for host in GROUPS["press_web"]:
        assert "press-worker" not in on(host, "docker ps --all --format '{{.Names}}'")
        assert on(host, "find /srv/berth/press -path '*worker*/secrets/*' -type f") == ""
    assert sites.version("press") == "2"


@pytest.mark.long
def test_a_project_on_debian_12_has_its_python() -> None:
    variables = {"project_sources": str(SOURCES), "django_uwsgi_image_base": "debian:bookworm-slim"}
    run = playbook("--limit", "builder:guestbook", name="playbooks/deploy.yml", variables=variables)
    assert run.rc == 0, run.told
    host = GROUPS["guestbook_web"][0]
    (name,) = on(host, "docker ps --format '{{.Names}}' | grep '^guestbook-django_uwsgi'").split()
    assert on(host, f"docker exec {name} python3 --version").startswith("Python 3.11."), run.told
    assert sites.version("guestbook") == "2" and sites.static("guestbook").status == 200
