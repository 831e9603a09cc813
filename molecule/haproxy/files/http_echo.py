# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for nginx: answers with the request's headers as JSON, keeps connections, and can be taken out of rotation.

usage: http_echo.py HOST PORT FLAG

/berth/health answers 200 while FLAG exists and is empty, 404 when it is absent, and the status that it holds otherwise. A check without
the Host `localhost` gets 400, as from Django. `?sleep=0.5` in the query string makes the answer wait, `?until=/root/go` until that file
is there.
"""

from __future__ import annotations

import http.server
import json
import re
import socket
import sys
import time
from pathlib import Path

FLAG = Path(sys.argv[3])


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        wait = re.search(r"[?&]sleep=([0-9.]+)", self.path)
        time.sleep(float(wait.group(1)) if wait else 0)
        awaited = re.search(r"[?&]until=([^&]+)", self.path)
        while awaited and not Path(awaited.group(1)).exists():
            time.sleep(0.1)
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.dumps({"path": self.path, "headers": {name.lower(): value for name, value in self.headers.items()}}).encode()
        self.send_response(self._health() if self.path == "/berth/health" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Served-By", f"{socket.gethostname()}:{sys.argv[2]}")
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def _health(self) -> int:
        if self.headers.get("Host") != "localhost":
            return 400
        return int(FLAG.read_text() or "200") if FLAG.exists() else 404

    def log_message(self, *_words: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024


if __name__ == "__main__":
    Server((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
