# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for Django under uWSGI: speaks the uwsgi protocol and answers with the variables that it was given, as JSON.

usage: uwsgi_echo.py ADDRESS    (the path of a unix socket, or host:port)

`?sleep=0.5` in the query string makes the answer wait. /health/ answers 503 while the file `ADDRESS.sick` exists, and
late while `ADDRESS.busy` does.
"""

from __future__ import annotations

import json
import os
import re
import socket
import socketserver
import struct
import sys
import time
from pathlib import Path

ADDRESS = sys.argv[1]


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        header = self.rfile.read(4)
        if len(header) < 4:
            return
        size = struct.unpack("<xHx", header)[0]
        variables = _variables(self.rfile.read(size))
        self.rfile.read(int(variables.get("CONTENT_LENGTH") or 0))
        wait = re.search(r"(?:^|&)sleep=([0-9.]+)", variables.get("QUERY_STRING", ""))
        busy = variables.get("PATH_INFO") == "/health/" and Path(ADDRESS + ".busy").exists()
        time.sleep(float(wait.group(1)) if wait else 8 if busy else 0)
        sick = variables.get("PATH_INFO") == "/health/" and Path(ADDRESS + ".sick").exists()
        body = json.dumps(variables, sort_keys=True).encode()
        status = "503 Service Unavailable" if sick else "200 OK"
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self.wfile.write(f"{head}X-Served-By: {socket.gethostname()} {ADDRESS}\r\n\r\n".encode() + body)


def _variables(data: bytes) -> dict[str, str]:
    words: list[str] = []
    while data:
        length = struct.unpack_from("<H", data)[0]
        words.append(data[2 : 2 + length].decode("latin-1"))
        data = data[2 + length :]
    return dict(zip(words[::2], words[1::2]))


class Unix(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 1024


class Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 1024


if __name__ == "__main__":
    if ADDRESS.startswith("/"):
        Path(ADDRESS).unlink(missing_ok=True)
        server: socketserver.BaseServer = Unix(ADDRESS, Handler)
        os.chmod(ADDRESS, 0o666)
    else:
        host, port = ADDRESS.rsplit(":", 1)
        server = Tcp((host, int(port)), Handler)
    server.serve_forever()
