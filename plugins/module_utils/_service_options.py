# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""The ``service`` option as an argument spec: names, types and defaults. Its documentation is in the module container_service."""

from __future__ import annotations

import typing as t

_PROBE_OPTIONS: dict[str, t.Any] = dict(
    command=dict(type="list", elements="str"),
    socket=dict(type="str"),
    send=dict(type="str"),
    expect=dict(type="str"),
    reject=dict(type="str"),
)
_MOUNT_OPTIONS: dict[str, t.Any] = dict(
    source=dict(type="str", required=True), target=dict(type="str", required=True), read_only=dict(type="bool", default=True)
)

SERVICE_ARGUMENT_SPEC: dict[str, t.Any] = dict(
    project=dict(type="str", required=True),
    name=dict(type="str", required=True),
    fleet=dict(type="str", required=True),
    image=dict(type="str", required=True),
    command=dict(type="list", elements="str", default=[]),
    entrypoint=dict(type="list", elements="str", default=[]),
    workdir=dict(type="str", default=""),
    user=dict(type="str", required=True),
    env=dict(type="dict", default={}),
    secrets=dict(type="dict", default={}, no_log=True),
    secrets_path=dict(type="str", default="/run/secrets", no_log=False),
    config=dict(
        type="dict",
        options=dict(files=dict(type="dict", required=True), path=dict(type="str", default="/etc/berth")),
    ),
    directory=dict(type="str", required=True),
    directories=dict(
        type="list",
        elements="dict",
        default=[],
        options=dict(
            path=dict(type="str", required=True),
            mode=dict(type="str", default="0750"),
            uid=dict(type="int"),
            gid=dict(type="int"),
        ),
    ),
    mounts=dict(type="list", elements="dict", default=[], options=_MOUNT_OPTIONS),
    tmpfs=dict(type="dict", default={}),
    networks=dict(
        type="list",
        elements="dict",
        default=[],
        options=dict(name=dict(type="str", required=True), aliases=dict(type="list", elements="str", default=[])),
    ),
    host_network=dict(type="bool", default=False),
    ports=dict(
        type="list",
        elements="dict",
        default=[],
        options=dict(
            address=dict(type="str", required=True),
            port=dict(type="int", required=True),
            container_port=dict(type="int", required=True),
            protocol=dict(type="str", choices=["tcp", "udp"], default="tcp"),
            public=dict(type="bool", default=False),
        ),
    ),
    health=dict(
        type="dict",
        required=True,
        options=dict(
            command=dict(type="list", elements="str", required=True),
            interval=dict(type="int", default=30),
            timeout=dict(type="int", default=5),
            retries=dict(type="int", default=3),
            start_period=dict(type="int", default=30),
            wait=dict(type="int", default=60),
            explain=dict(type="list", elements="str"),
        ),
    ),
    memory=dict(type="str", required=True),
    cpus=dict(type="str"),
    pids_limit=dict(type="int", default=200),
    capabilities=dict(type="list", elements="str", default=[]),
    read_only=dict(type="bool", default=True),
    no_new_privileges=dict(type="bool", default=True),
    stop_signal=dict(type="str"),
    stop_grace=dict(type="int", default=30),
    group_add=dict(type="list", elements="str", default=[]),
    shm_size=dict(type="str"),
    ulimits=dict(type="dict", default={}),
    sysctls=dict(type="dict", default={}),
    extra_hosts=dict(type="dict", default={}),
    init=dict(type="bool", default=False),
    log=dict(
        type="dict",
        default={},
        options=dict(driver=dict(type="str"), options=dict(type="dict", default={})),
    ),
    labels=dict(type="dict", default={}),
    restart=dict(type="str", choices=["no", "on-failure", "always", "unless-stopped"], default="unless-stopped"),
    validate=dict(
        type="list",
        elements="dict",
        default=[],
        options=dict(
            command=dict(type="list", elements="str", required=True),
            mounts=dict(type="list", elements="dict", default=[], options=_MOUNT_OPTIONS),
            tmpfs=dict(type="dict", default={}),
            env=dict(type="dict", default={}),
        ),
    ),
    reload=dict(
        type="dict",
        options=dict(
            signal=dict(type="str", choices=["HUP", "USR1", "USR2"]),
            **_PROBE_OPTIONS,
        ),
    ),
    proof=dict(type="dict", options=_PROBE_OPTIONS),
    restart_when=dict(type="dict", options=dict(command=dict(type="list", elements="str", required=True))),
    hints=dict(type="dict", default={}),
    shared=dict(type="list", elements="str", default=[]),
    replace=dict(type="str", choices=["stop_first", "beside"], default="stop_first"),
    switch=dict(
        type="list",
        elements="dict",
        default=[],
        options=dict(
            link=dict(type="str", required=True),
            target=dict(type="str", required=True),
            previous=dict(type="str"),
        ),
    ),
    release=dict(
        type="dict",
        options=dict(
            id=dict(type="str", required=True),
            directory=dict(type="str", default=""),
            keep=dict(type="int", default=5),
            bake=dict(type="int", default=0),
            batch=dict(type="int", default=1),
            back=dict(type="bool", default=False),
            pause=dict(type="int", default=0),
        ),
    ),
    before_stop=dict(
        type="dict",
        options=dict(
            withdraw=dict(type="str"),
            settle=dict(type="int", default=0),
            drained=dict(type="dict", options=_PROBE_OPTIONS),
            timeout=dict(type="int", default=60),
        ),
    ),
)
