# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell which instance answered: it makes a fleet visible with nothing but curl."""

from __future__ import annotations

import os
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

GetResponse = Callable[[HttpRequest], HttpResponse]


def served_by(get_response: GetResponse) -> GetResponse:
    host = os.environ.get("BERTH_HOST") or os.environ.get("HOSTNAME", "unknown")
    instance = os.environ.get("BERTH_INSTANCE", "")
    name = f"{host}/{instance}" if instance else host

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["X-Served-By"] = name
        return response

    return middleware
