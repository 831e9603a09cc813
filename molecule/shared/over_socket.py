# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One exchange over a unix socket of a host of the fleet: send, read until the other side closes."""

from __future__ import annotations

import base64
import shlex

from fleet import on

_CLIENT = """
import base64, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.settimeout(20)
connection.connect(sys.argv[1])
connection.sendall(base64.b64decode(sys.argv[2]))
while part := connection.recv(65536):
    sys.stdout.buffer.write(part)
"""


def over_socket(host: str, path: str, text: str) -> str:
    sent = base64.b64encode(text.encode()).decode()
    return on(host, f"python3 -c {shlex.quote(_CLIENT)} {shlex.quote(path)} {sent}")
