# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each project does what its README says, beside the others, with nothing in its source changed."""

from __future__ import annotations

import time

import pytest
import sites
from fleet import FLEET, GROUPS, on, playbook, until

PROJECTS = list(sites.PAGES)
IMPRINT = "Ink & Sons = 100%? \"b\" 'c' #d $HOME ${PATH} `e` \\f"


@pytest.mark.parametrize("project", PROJECTS)
def test_its_page_a_row_and_a_static_file(project: str) -> None:
    assert sites.version(project) == "1"
    assert sites.is_read(project, sites.write(project), FLEET["secrets"]["brochure_admin"])
    found = sites.static(project)
    assert found.status == 200 and found.body and "max-age" in found.headers.get("cache-control", ""), f"not from nginx: {found}"


def test_commands_of_the_first_deploy_ran_once_and_those_of_other_fleets_did_not() -> None:
    """A second time, they would have failed the release (test_releases.py deploys it again)."""
    users = "docker exec guestbook-postgres psql -XAt -U postgres -d guestbook -c 'SELECT username, is_superuser FROM auth_user'"
    assert on("guestbook-db1", users) == "host|t"


def test_a_host_name_is_of_two_projects_by_path() -> None:
    assert "Club, version 1" in sites.ask("", "/about", host="example.org").text
    assert sites.ask("", sites.STATIC["club"], host="example.org").body == sites.static("club").body
    assert "Brochure, version 1" in sites.ask("", "/", host="example.org").text


def test_no_other_host_name_is_answered() -> None:
    assert sites.ask("", "/", host="www.guestbook.example.org").status == 503


def test_uploads_of_both_roots_are_served_by_nginx() -> None:
    sites.write("gallery")
    (photo, *_others) = sites.photos()
    assert [sites.ask("gallery", photo[name]).body for name in ("picture", "original")] == [b"small", b"large"]


def test_any_value_arrives_unchanged_in_the_site_and_in_manage_py() -> None:
    notice = "50% off? a=b & \"c\" 'd' #e $HOME ${PATH} `f` \\n\n second line\t"
    assert sites.ask("gallery", "/api/environment/").json() == {name: {"GALLERY_NOTICE_SALE": notice} for name in ("web", "command")}


def test_workers_work_and_each_job_is_done_once() -> None:
    marks = [sites.write("press") for _ in range(8)]
    printed = until(lambda: [job for job in sites.jobs() if job["text"] in marks and job["copies"]] or None, 30, "a job is printed")
    until(lambda: all(job["copies"] for job in sites.jobs() if job["text"] in marks), 30, "all of them are")
    assert {job["copies"] for job in sites.jobs() if job["text"] in marks} == {1} and IMPRINT in printed[0]["printed_by"]
    for host in GROUPS["press_web"]:
        names = on(host, "docker ps --format '{{.Names}} {{.Status}}' | grep ^press-worker-").splitlines()
        assert len(names) == 3 and all("(healthy)" in name for name in names), names
        secrets = "find /srv/berth/press -path '*/secrets/*' -type f"
        search = 'docker ps --quiet | xargs docker inspect | grep -qFf "$file" && echo "$file"'
        assert on(host, f"{secrets} | while read -r file; do {search}; done; true") == "", "inspect shows a secret"
        assert on(host, f"{secrets} | wc -l") != "0"


def test_a_scheduled_command_runs_once_on_the_whole_fleet() -> None:
    """Two hosts could, and one does: one edition in each minute."""
    until(lambda: len(sites.editions()) >= 2, 150, "two minutes have an edition")
    time.sleep(1)
    minutes = [edition["appeared"][:16] for edition in sites.editions()]
    assert len(minutes) == len(set(minutes)), minutes


def test_one_machine_has_parts_of_several_projects_that_know_nothing_of_each_other() -> None:
    names = on("gallery-web1", "docker ps --format '{{.Names}}'").split()
    assert {name.split("-")[0] for name in names} == {"guestbook", "gallery", "press", "club"}
    networks = on("gallery-web1", "docker network ls --format '{{.Name}}'").split()
    assert {"gallery-django_uwsgi", "club-django_uwsgi"} <= set(networks)
    refused = on("gallery-db1", "docker exec gallery-postgres psql -U postgres -lqt | cut -d '|' -f 1")
    assert "gallery" in refused and "club" not in refused


def test_a_second_run_changes_nothing() -> None:
    run = playbook()
    assert run.unchanged, run.told
