# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads go to a replica, unless whoever reads may miss there what was just written.

For any project: `DATABASE_ROUTERS = ["….ReadsFromReplica"]`, the middleware after that of sessions, and a connection named `replica` in DATABASES.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

from django.db import connections
from django.http import HttpRequest, HttpResponse

PRIMARY, REPLICA = "default", "replica"
SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")
# Who is logged in is read in the request after the one that wrote it.
ON_PRIMARY = frozenset(("admin", "auth", "contenttypes", "sessions"))
# A replica is some milliseconds behind. A client that wrote reads from the primary for so many seconds.
COOKIE, SECONDS = "wrote", 5

_wrote: contextvars.ContextVar[bool] = contextvars.ContextVar("wrote", default=False)


class ReadsFromReplica:
    def db_for_read(self, model: Any, **_hints: Any) -> str:
        own = model._meta.app_label in ON_PRIMARY or _wrote.get() or connections[PRIMARY].in_atomic_block
        return PRIMARY if own else REPLICA

    def db_for_write(self, _model: Any, **_hints: Any) -> str:
        _wrote.set(True)
        return PRIMARY

    def allow_relation(self, *_objects: Any, **_hints: Any) -> bool:
        return True

    def allow_migrate(self, db: str, *_names: Any, **_hints: Any) -> bool:
        return db == PRIMARY


def reads_own_writes(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Each request begins anew, on the primary where it may write, or where its client just did."""

    def answer(request: HttpRequest) -> HttpResponse:
        token = _wrote.set(request.method not in SAFE or COOKIE in request.COOKIES)
        try:
            response = get_response(request)
            if _wrote.get() and COOKIE not in request.COOKIES:
                response.set_cookie(COOKIE, "1", max_age=SECONDS, httponly=True, samesite="Lax", secure=request.is_secure())
            return response
        finally:
            _wrote.reset(token)

    return answer
