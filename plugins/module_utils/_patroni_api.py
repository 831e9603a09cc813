# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Asking Patroni over its REST API. Every member answers for the whole cluster."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
import typing as t
import urllib.error
import urllib.request
from dataclasses import dataclass

from ansible_collections.berth.django.plugins.module_utils import _patroni
from ansible_collections.berth.django.plugins.module_utils._shell import EngineError

TIMEOUT = 10
POLL = 1


class NoAnswer(EngineError):
    """Nobody answers there: no Patroni yet, or none any more."""


@dataclass(frozen=True)
class Api:
    """`url` is one member's; `ca` is the authority (PEM) that its certificate is from."""

    url: str
    ca: str
    username: str = ""
    password: str = ""

    def ask(self, path: str, method: str = "GET", body: t.Mapping[str, t.Any] | None = None, timeout: float = TIMEOUT) -> t.Any:
        request = urllib.request.Request(f"{self.url}{path}", method=method)  # noqa: S310 (https, of the inventory)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
            login = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
            request.add_header("Authorization", f"Basic {login}")
        try:
            with urllib.request.urlopen(  # noqa: S310
                request, timeout=timeout, context=ssl.create_default_context(cadata=self.ca)
            ) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace").strip()
            if error.code == 503 and method == "GET" and said.startswith("{"):
                return json.loads(said)
            raise EngineError(f"Patroni refused {method} {path}: {error.code} {said}") from None
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswer(f"{self.url} does not answer: {error}") from None
        return json.loads(text) if text.startswith("{") else text

    def members(self) -> list[_patroni.Member]:
        return _patroni.members(self.ask("/cluster"))

    def settings(self) -> dict[str, t.Any]:
        return dict(self.ask("/config"))


def wait_whole(api: Api, wanted: t.Sequence[str], seconds: float) -> list[_patroni.Member]:
    """Until every wanted member is there and follows, or leads."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = api.members()
            left = _patroni.missing(found, wanted)
        except EngineError as error:
            found, left = [], [str(error)]
        if not left:
            return found
        if time.monotonic() > deadline:
            raise EngineError(f"the cluster is not whole after {seconds:.0f} s: {'; '.join(left)}.")
        time.sleep(POLL)
