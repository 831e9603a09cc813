# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All style sheets in one file, made beforehand: `manage.py pack`, after collectstatic."""

import hashlib
import json
from pathlib import Path

from django.conf import settings

SHEETS = ("jobs/paper.css", "jobs/print.css")
MANIFEST = "packed.json"


def pack():
    root = Path(settings.STATIC_ROOT)
    text = "".join((root / sheet).read_text() for sheet in SHEETS)
    name = f"packed.{hashlib.sha256(text.encode()).hexdigest()[:12]}.css"
    (root / name).write_text(text)
    (root / MANIFEST).write_text(json.dumps({"css": name}))
    return name


def packed_url():
    """No manifest, no page."""
    return settings.STATIC_URL + json.loads((Path(settings.STATIC_ROOT) / MANIFEST).read_text())["css"]
