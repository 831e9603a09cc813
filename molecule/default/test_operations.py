# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator does to a fleet: look before it exists, one more host, one less, a lab that goes, a project that goes and comes back."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from fleet import (
    FLEET,
    GROUPS,
    HOSTS,
    INVENTORIES,
    PROJECT,
    ROOT,
    containers,
    lab_traces,
    on,
    one_more,
    playbook,
    processes,
    request,
    until,
)
from losses import losses

SITE = "/api/music/"
BALANCER = GROUPS["haproxy"][0]
DATABASE = GROUPS["postgres"][0]
LAB = HOSTS[BALANCER]["machine"].removesuffix(f"-{BALANCER}")


def written(place: Path, hosts: dict[str, Any]) -> str:
    """An inventory; its lab is named after the directory (overrides/group_vars/all.yml)."""
    inventory = place / "inventory"
    inventory.mkdir(parents=True)
    (inventory / "hosts.yml").write_text(json.dumps(hosts))
    return str(inventory)


def test_check_of_a_fleet_that_does_not_exist(tmp_path: Path) -> None:
    """Nothing can be asked there, each host says so, and nothing is made: no machine, no key, no password."""
    inventory = tmp_path / "unmade" / "inventory"
    shutil.copytree(INVENTORIES[-1], inventory, ignore=shutil.ignore_patterns(".berth"))
    files = sorted(tmp_path.rglob("*"))
    variables = {"berth_project": "unmade", "django_uwsgi_source": str(ROOT / "examples" / "music")}
    run = playbook("--check", "--diff", variables=variables, inventory=str(inventory))
    assert run.rc == 0, run.told
    for host in HOSTS:
        assert f"{host} does not exist yet" in run.out, run.out
    assert "berth-unmade" not in LAB and not lab_traces("berth-unmade")
    assert sorted(tmp_path.rglob("*")) == files


def balanced() -> dict[str, str]:
    """Server -> status, as HAProxy's statistics say."""
    answer = request("/stats;csv", port=9080, user=tuple(FLEET["stats"]))
    assert answer.status == 200, answer.text
    rows = csv.DictReader(io.StringIO(answer.text.removeprefix("# ")))
    return {row["svname"]: row["status"] for row in rows if row["svname"] not in ("FRONTEND", "BACKEND")}


def answering() -> set[str]:
    return {request(SITE).headers["x-served-by"].split("/")[0] for _ in range(9)}


@pytest.mark.long
def test_web_host_is_added_and_taken_away_under_load() -> None:
    url = f"http://{HOSTS[BALANCER]['address']}{SITE}"
    with one_more("web3", "web"):
        with losses(url, "--pause", "0.05") as load:
            run = playbook()
        assert run.rc == 0 and run.changed["web3"], run.told
        assert load["sent"] > 200 and load["lost"] == 0, load
        until(lambda: balanced().get("web3") == "UP", 20, "HAProxy finds web3 up")
        assert answering() == {*GROUPS["nginx"], "web3"}
        again = playbook()
        assert again.unchanged, again.told
    with losses(url, "--pause", "0.05") as load:
        run = playbook()
    assert run.rc == 0, run.told
    assert load["sent"] > 200 and load["lost"] == 0, load
    assert set(balanced()) == set(GROUPS["nginx"]) == answering()
    assert not [trace for trace in lab_traces(LAB) if "web3" in trace]
    again = playbook()
    assert again.unchanged, again.told


@pytest.mark.long
def test_lab_that_goes_leaves_nothing(tmp_path: Path) -> None:
    """A second lab beside this one: two hosts of it, one with a volume that it shares."""
    place = tmp_path / "second"
    inventory = written(place, {"all": {"hosts": {"bare": {}}, "children": {"django_uwsgi": {"hosts": {"app": {}}}}}})
    ours = lab_traces(LAB)
    made = playbook(name="molecule/shared/create.yml", inventory=inventory)
    assert made.rc == 0, made.told
    assert {"container berth-second-app", "network berth-second", "volume berth-second-shared-media"} <= set(lab_traces("berth-second"))
    assert (place / "inventory" / ".berth" / "ssh" / "id_ed25519").is_file()
    predicted = playbook("--check", name="playbooks/lab_down.yml", inventory=inventory)
    assert predicted.rc == 0 and predicted.changed["localhost"], predicted.told
    assert "container berth-second-app" in lab_traces("berth-second")
    gone = playbook(name="playbooks/lab_down.yml", inventory=inventory)
    assert gone.rc == 0 and gone.changed == predicted.changed, gone.told
    assert not lab_traces("berth-second")
    assert [path.name for path in (place / "inventory").iterdir()] == ["hosts.yml"]
    again = playbook(name="playbooks/lab_down.yml", inventory=inventory)
    assert again.unchanged, again.told
    assert lab_traces(LAB) == ours
    assert request(SITE).status == 200


@pytest.mark.long
def test_project_is_removed_and_brought_back() -> None:
    """Only when it is meant; what it stored stays, and is there again after the next run."""
    song = json.dumps({"title": "kept while the project was away", "artist": "us"})
    posted = request(SITE, method="POST", body=song, headers={"Content-Type": "application/json"})
    assert posted.status == 201, posted.text
    before = processes()
    for named in ({}, {"remove": "another"}):
        refused = playbook(name="playbooks/remove.yml", variables=named)
        assert refused.rc != 0 and f"-e remove={PROJECT}" in refused.errors, refused.told
    assert processes() == before
    removed = playbook(name="playbooks/remove.yml", variables={"remove": PROJECT})
    assert removed.rc == 0, removed.told
    for host in HOSTS:
        left = [name for name in containers(host, everything=True) if name.startswith(f"{PROJECT}-")]
        assert not left, f"{host} still has {left}"
    with pytest.raises(OSError):
        request(SITE)
    assert on(DATABASE, f"find {FLEET['directory']}/{PROJECT}/postgres/data -name PG_VERSION | head -1"), "the database's directory is gone"
    again = playbook(name="playbooks/remove.yml", variables={"remove": PROJECT})
    assert again.unchanged, again.told
    back = playbook()
    assert back.rc == 0, back.told
    kept = until(lambda: request(f"{SITE}{posted.json()['id']}/"), 30, "the site is back")
    assert kept.status == 200 and kept.json()["title"] == "kept while the project was away", kept.text
    unchanged = playbook()
    assert unchanged.unchanged, unchanged.told
