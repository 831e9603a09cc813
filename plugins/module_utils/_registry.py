# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Asks a registry which images it has, in milliseconds and without an engine.

Credentials are those that the host role keeps for the engine, so that no task has to carry a password.
"""

from __future__ import annotations

import base64
import json
import os
import re
import ssl
import typing as t
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from ansible_collections.berth.django.plugins.module_utils._build import split_reference
from ansible_collections.berth.django.plugins.module_utils._docker_argv import DOCKER_CONFIG

TIMEOUT = 15
_MANIFESTS = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "docker.distribution.manifest.v2",
        "docker.distribution.manifest.list.v2",
        "oci.image.manifest.v1",
        "oci.image.index.v1",
    )
)


class RegistryError(Exception):
    """The registry cannot be asked: one sentence. `unreachable` when it may simply not be there yet, `no_login` when the login may not."""

    def __init__(self, message: str, unreachable: bool = False, no_login: bool = False):
        super().__init__(message)
        self.unreachable, self.no_login = unreachable, no_login


def has(image: str) -> bool:
    """Whether the image's registry has it."""
    registry, repository, tag = split_reference(image)
    address = "registry-1.docker.io" if registry == "docker.io" else registry
    url = f"https://{address}/v2/{repository}/manifests/{tag}"
    login = _login(registry)
    try:
        status, headers = _head(url, registry, f"Basic {login}" if login else "")
        if status == 401 and headers.get("WWW-Authenticate", "").lower().startswith("bearer"):
            status, headers = _head(url, registry, f"Bearer {_token(headers['WWW-Authenticate'], registry, login)}")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise RegistryError(f"the registry {registry} cannot be asked for {repository}: {reason}", unreachable=True) from None
    if status in (401, 403) and not login:
        raise RegistryError(
            f"the registry {registry} wants a login, and this host has none for it: "
            "check host_registry_user and host_registry_password, and run the host role.",
            no_login=True,
        )
    if status in (401, 403):
        raise RegistryError(
            f"the registry {registry} refuses the login that this host has for it: "
            "check host_registry_user and host_registry_password, and run the host role."
        )
    if status not in (200, 404):
        raise RegistryError(f"the registry {registry} answered {status} when it was asked for {repository}:{tag}.")
    return status == 200


def _head(url: str, registry: str, authorization: str) -> tuple[int, t.Any]:
    headers = {"Accept": _MANIFESTS, **({"Authorization": authorization} if authorization else {})}
    request = urllib.request.Request(url, method="HEAD", headers=headers)  # noqa: S310 (always https)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT, context=_trust(registry)) as answer:  # noqa: S310
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers


def _token(challenge: str, registry: str, login: str) -> str:
    fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    query = urllib.parse.urlencode({key: fields[key] for key in ("service", "scope") if key in fields})
    headers = {"Authorization": f"Basic {login}"} if login else {}
    realm = fields.get("realm", "")
    if not realm.startswith("https://"):
        raise ValueError(f"its token server is {realm!r}, not an https address")
    request = urllib.request.Request(f"{realm}?{query}", headers=headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=TIMEOUT, context=_trust(registry)) as answer:  # noqa: S310
        content = json.load(answer)
    return content.get("token") or content["access_token"]


def _trust(registry: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    own = f"/etc/docker/certs.d/{registry}/ca.crt"
    if os.path.exists(own):
        context.load_verify_locations(own)
    return context


def _login(registry: str) -> str:
    """What the engine would send: base64 of user:password."""
    try:
        auths = json.loads(Path(DOCKER_CONFIG, "config.json").read_text(encoding="utf-8")).get("auths", {})
    except (FileNotFoundError, ValueError):
        return ""
    keys = (
        (registry, f"https://{registry}", "https://index.docker.io/v1/") if registry == "docker.io" else (registry, f"https://{registry}")
    )
    found: dict[str, str] = next((auths[key] for key in keys if key in auths), {})
    if found.get("auth"):
        return found["auth"]
    if found.get("username"):
        return base64.b64encode(f"{found['username']}:{found.get('password', '')}".encode()).decode()
    return ""
