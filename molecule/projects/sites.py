# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The five projects as their visitors see them, through the load balancer, which a proxy that ends HTTPS is in front of."""

from __future__ import annotations

import base64
import json
import re
import typing as t
import uuid

from fleet import Answer, request

# The page of each, and what it says of its version.
PAGES = {"guestbook": "/", "gallery": "/", "press": "/", "brochure": "/", "club": "/about"}
# A static file of each, in the page or by its name.
STATIC = {
    "guestbook": "/static/entries/guestbook.css",
    "gallery": "/static/gallery.css",
    "press": r"/static/[^\"]+\.css",
    "brochure": "/assets/v1/brochure.css",
    "club": "/static/members/club.css",
}


def ask(project: str, path: str, said: t.Any = None, host: str = "", **headers: str) -> Answer:
    """GETs, or POSTs what is said: as JSON, unless it is bytes."""
    body = said if isinstance(said, bytes) or said is None else json.dumps(said)
    sent = {"Host": host or f"{project}.example.org", "X-Forwarded-Proto": "https", **headers}
    return request(path, method="GET" if body is None else "POST", body=body, headers=sent)


def version(project: str) -> str:
    page = ask(project, PAGES[project])
    found = re.search(r"version (\d+)", page.text)
    return found[1] if page.status == 200 and found else f"{page.status}: {page.text[:200]}"


def static(project: str) -> Answer:
    named = STATIC[project]
    path = re.search(named, ask(project, PAGES[project]).text)
    return ask(project, path[0] if path else named)


def write(project: str) -> str:
    """A row of its own in the project's database: what it is found by."""
    mark = uuid.uuid4().hex[:12]
    if project == "gallery":
        status = upload(mark).status
    else:
        path, said = {
            "guestbook": ("/entries/", {"name": mark, "text": "I was here."}),
            "press": ("/jobs/", {"text": mark, "seconds": 0.1}),
            "brochure": ("/enquiries/", {"email": f"{mark}@example.org", "text": "How much?"}),
            "club": ("/members", {"email": f"{mark}@example.org", "full_name": mark}),
        }[project]
        status = ask(project, path, said).status
    assert status in (200, 201), f"{project} answered {status}"
    return mark


def work(seconds: float) -> str:
    """A job that takes so long."""
    mark = uuid.uuid4().hex[:12]
    assert ask("press", "/jobs/", {"text": mark, "seconds": seconds}).status in (200, 201)
    return mark


def is_read(project: str, mark: str, admin_password: str) -> bool:
    path = {"guestbook": "/entries/", "gallery": "/api/photos/", "press": "/jobs/", "brochure": "/enquiries/", "club": "/members"}[project]
    login = base64.b64encode(f"admin:{admin_password}".encode()).decode()
    return mark in ask(project, path, **({"Authorization": f"Basic {login}"} if project == "brochure" else {})).text


def upload(title: str) -> Answer:
    parts = {"title": ("", title.encode()), "picture": ("dot.png", b"small"), "original": ("dot.png", b"large")}
    body = b"".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"{file and f"; filename={file}"}\r\n\r\n'.encode() + value + b"\r\n"
        for name, (file, value) in parts.items()
    )
    return ask("gallery", "/api/photos/", body + b"--x--\r\n", **{"Content-Type": "multipart/form-data; boundary=x"})


def photos() -> list[dict[str, str]]:
    return ask("gallery", "/api/photos/").json()["photos"]


def jobs() -> list[dict[str, t.Any]]:
    return ask("press", "/jobs/").json()["jobs"]


def editions() -> list[dict[str, t.Any]]:
    return ask("press", "/editions/").json()["editions"]
