# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry that is there already, under a name and with a certificate of its own: one variable, and images go through it."""

from __future__ import annotations

import shlex
import subprocess
import typing as t

import pytest
from app import HOSTS, ask, converge
from fleet import GROUPS, container, inspect, on, ssh

pytestmark = pytest.mark.long

BUILDER, DATABASE = (GROUPS.get(group, [""])[0] for group in ("builder", "postgres"))
NAME = "registry.test"
REGISTRY = f"{NAME}:5443"
PASSWORD = "Registry-0-of-somebody-else"
DIRECTORY = "/srv/other-registry"


@pytest.fixture(scope="module")
def registry() -> t.Iterator[str]:
    """On the database's host, with a name that all hosts know. Its certificate, which no system trusts, is what the test gets."""
    own = on(BUILDER, "docker ps --format '{{.Names}}' --filter label=berth.service=registry")
    image = inspect(BUILDER, own)["Config"]["Image"]
    copy_image(image)
    config = on(BUILDER, f"docker exec {own} cat /etc/berth/current/registry.yml")
    key = f"-keyout {DIRECTORY}/secrets/registry_key -out {DIRECTORY}/secrets/registry_certificate"
    on(DATABASE, f"mkdir -p {DIRECTORY}/secrets {DIRECTORY}/config/current {DIRECTORY}/data")
    on(DATABASE, f"printf %s {shlex.quote(config)} > {DIRECTORY}/config/current/registry.yml")
    on(DATABASE, f"printf %s {PASSWORD} > {DIRECTORY}/secrets/registry_password")
    on(DATABASE, f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={NAME} -addext subjectAltName=DNS:{NAME} {key} 2>&1")
    on(DATABASE, f"chown -R 10005:10005 {DIRECTORY}")
    mounts = {"secrets": "/run/secrets", "config": "/etc/berth", "data": "/var/lib/registry"}
    bound = " ".join(f"--mount type=bind,source={DIRECTORY}/{source},target={target}" for source, target in mounts.items())
    address = on(DATABASE, "hostname -i").split()[0]
    words = f"--publish {address}:5443:5000 --env BERTH_REGISTRY_USER=somebody {bound}"
    on(DATABASE, f"docker run --detach --name other-registry {words} {image}")
    for host in (BUILDER, *HOSTS):
        on(host, f"echo '{address} {NAME}' >> /etc/hosts")
    yield on(DATABASE, f"cat {DIRECTORY}/secrets/registry_certificate")
    back = converge()
    on(DATABASE, f"docker rm --force other-registry; rm -rf {DIRECTORY}")
    for host in (BUILDER, *HOSTS):
        on(host, f"rm -rf /etc/docker/certs.d/{REGISTRY}; grep -v ' {NAME}$' /etc/hosts > /run/hosts; cat /run/hosts > /etc/hosts")
    assert back.rc == 0, back.told


def copy_image(image: str) -> None:
    giving = subprocess.Popen([*ssh(BUILDER), f"docker save {image}"], stdout=subprocess.PIPE)
    subprocess.run([*ssh(DATABASE), "docker load"], stdin=giving.stdout, check=True, capture_output=True)
    assert giving.wait(60) == 0


def test_images_go_through_another_registry(registry: str) -> None:
    wanted = {
        "berth_registry": REGISTRY,
        "berth_registry_user": "somebody",
        "berth_registry_password": PASSWORD,
        "host_registry_ca": registry,
    }
    untrusted = converge(variables={**wanted, "host_registry_ca": ""})
    assert untrusted.rc != 0 and "certificate" in untrusted.errors, untrusted.told
    refused = converge(variables={**wanted, "berth_registry_password": "Not-1-of-its-passwords"})
    assert refused.rc != 0 and f"the registry {REGISTRY} refuses the login" in refused.errors, refused.told
    run = converge(variables=wanted)
    assert run.rc == 0 and PASSWORD not in run.out, run.told
    assert "music-app" in on(DATABASE, f"ls {DIRECTORY}/data/docker/registry/v2/repositories"), "nothing was pushed there"
    for host in HOSTS:  # which build nothing: they can have it from there only
        assert inspect(host, container(host, "django_uwsgi"))["Config"]["Image"].startswith(f"{REGISTRY}/music-app:")
        assert ask(host, "/api/music/").status == 200
    assert converge(variables=wanted).unchanged
