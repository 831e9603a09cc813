# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every change that an operator makes while visitors ask, and beside it the naive way: stop, make anew, start.

50 clients: some keep their connection, some make a new one each time, some ask for what takes seconds, some upload. None asks twice.
The figures are in docs/performance.md.
"""

from __future__ import annotations

import concurrent.futures
import subprocess
import typing as t
from dataclasses import dataclass

import pytest
from fleet import HOSTS, Run, container, on, one_more, playbook, until
from losses import losses
from versions import BALANCER, DIRECTORY, URL, WEB, deploy, rollback, served, version

pytestmark = pytest.mark.long

MANY = ("--keep-alive", "22", "--new", "22", "--slow", "3", "--uploads", "3")


def site(*more: str, **variables: t.Any) -> Run:
    return playbook(*more, variables={"django_uwsgi_source": str(version("load")), **variables})


def restart(service: str, hosts: t.Sequence[str] = WEB) -> None:
    """Host by host, and gently."""
    for host in hosts:
        on(host, f"docker restart --time 20 {container(host, service)}")


def restart_at_once(service: str) -> None:
    """As a play does that says nothing about the order of its hosts."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(lambda host: restart(service, [host]), WEB))


def remove_and_start(service: str, host: str) -> None:
    """As `docker rm --force` ends a container."""
    name = container(host, service)
    on(host, f"docker kill {name} && docker start {name}")


@dataclass(frozen=True)
class Change:
    name: str
    change: t.Callable[[], Run]
    naive: t.Callable[[], None]


CHANGES = [
    Change("deploy", lambda: deploy(version("load")), lambda: restart("django_uwsgi")),
    Change("rollback", rollback, lambda: restart("django_uwsgi")),
    Change("settings of uWSGI", lambda: site(django_uwsgi_threads=5), lambda: restart("django_uwsgi")),
    Change("settings of nginx", lambda: site(nginx_client_max_body_size="21m"), lambda: restart_at_once("nginx")),
    Change("container of one nginx", lambda: site("--limit", WEB[0], nginx_memory="200m"), lambda: remove_and_start("nginx", WEB[0])),
    Change("HAProxy's container", lambda: site(haproxy_memory="200m"), lambda: restart("haproxy", [BALANCER])),
]


@pytest.mark.parametrize("case", CHANGES, ids=lambda case: case.name.replace(" ", "-"))
def test_changed_under_load(case: Change) -> None:
    with losses(URL, *MANY, "--at-least", "10000") as load:
        run = case.change()
    assert run.rc == 0 and any(run.changed.values()), run.told
    with losses(URL, *MANY) as naive:
        case.naive()
    print(f"{case.name}: {load['lost']} of {load['sent']} lost; the naive way: {naive['lost']} of {naive['sent']}")
    assert load["sent"] >= 10_000 and load["lost"] == 0, load
    assert naive["lost"] > 0, naive


def test_web_host_comes_and_goes_under_load() -> None:
    with one_more("web3", "web"):
        with losses(URL, *MANY, "--at-least", "10000") as coming:
            run = site()
        assert run.rc == 0 and run.changed["web3"], run.told
        until(lambda: served() == {"load"}, 60)
    with losses(URL, *MANY, "--at-least", "10000") as going:
        run = site()
    assert run.rc == 0, run.told
    machine = HOSTS[WEB[1]]["machine"]
    with losses(URL, *MANY) as naive:
        subprocess.run(["docker", "kill", machine], check=True, capture_output=True)
    subprocess.run(["docker", "start", machine], check=True, capture_output=True)
    until(lambda: served() == {"load"}, 120, "the machine comes back by itself")
    assert site().rc == 0
    told = f"{coming['lost']} of {coming['sent']} lost when it came, {going['lost']} of {going['sent']} when it went"
    print(f"a web host: {told}; one that is switched off: {naive['lost']} of {naive['sent']}")
    assert coming["lost"] == 0 and going["lost"] == 0, (coming, going)
    assert naive["lost"] > 0, naive


def test_a_host_that_joined_later_has_the_files_of_a_release_before() -> None:
    """It never collected them: the rollback does."""
    before = on(WEB[0], f"readlink {DIRECTORY}/static/current")
    assert deploy(version("joined")).rc == 0
    with one_more("web3", "web"):
        assert site(django_uwsgi_source=str(version("joined"))).rc == 0
        run = rollback()
        assert run.rc == 0 and run.changed["web3"], run.told
        ask = f"cd {DIRECTORY}/static/current && pwd -P && ls admin/css/base.*.css | head -1"
        machine = HOSTS[WEB[0]]["machine"].replace(WEB[0], "web3")
        found = subprocess.run(["docker", "exec", machine, "sh", "-c", ask], check=True, capture_output=True, text=True).stdout.strip()
        assert found == on(WEB[0], ask) and before in found, found
    assert site().rc == 0


def test_the_slowest_requests_take_at_most_twice_as_long_during_a_deploy() -> None:
    """Compared with a run that finds nothing to do, since the lab's hosts share their processors with the playbook."""
    few = ("--keep-alive", "3", "--new", "3", "--pause", "0.02", "--at-least", "2000")
    assert deploy(version("quick")).rc == 0
    with losses(URL, *few) as unchanged:
        assert deploy(version("quick")).rc == 0
    with losses(URL, *few) as deployed:
        assert deploy(version("quick-too")).rc == 0
    print(f"the slowest one percent took {deployed['p99']} ms and more during a deploy, {unchanged['p99']} during a run without one")
    assert deployed["lost"] == 0 and deployed["p99"] <= 2 * unchanged["p99"], (unchanged, deployed)
