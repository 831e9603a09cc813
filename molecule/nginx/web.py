# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx of the scenario, asked over the network as a load balancer would, and on its host as an operator would."""

from __future__ import annotations

import typing as t

from fleet import FLEET, PROJECT, Answer, Run, inspect, on, playbook, request
from over_socket import over_socket

HOST = "web1"
OTHER = "web2"
PORT = 8000
CONTAINER = f"{PROJECT}-nginx"
PROJECT_DIRECTORY = f"{FLEET.get('directory')}/{PROJECT}"
DIRECTORY = f"{PROJECT_DIRECTORY}/nginx"
FLAG = f"{DIRECTORY}/run/in-rotation"


def get(path: str = "/", host: str = HOST, **more: t.Any) -> Answer:
    return request(path, host, PORT, **more)


def converge(*more: str, **variables: object) -> Run:
    """A run of the role, with variables of the operator on top of the inventory's."""
    return playbook(*more, name="molecule/nginx/role.yml", variables=dict(variables))


def server(host: str = HOST) -> tuple[str, int, str]:
    """Container, master process and its start: what stays the same when nothing was interrupted."""
    seen = inspect(host, CONTAINER)
    return seen["Id"], seen["State"]["Pid"], seen["State"]["StartedAt"]


def generations(host: str = HOST) -> tuple[str, str]:
    """What the workers say they run, and what `current` points to."""
    said = over_socket(host, f"{DIRECTORY}/run/internal.sock", "GET /generation HTTP/1.0\r\n\r\n").splitlines()[-1]
    return said, on(host, f"readlink {DIRECTORY}/config/current")


def workers(host: str = HOST) -> list[str]:
    """Process ids of the workers: a reload changes them, a refused configuration must not."""
    return sorted(on(host, f"docker top {CONTAINER} -eo pid,args | awk '/worker process/ {{print $1}}'").split())
