# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask uWSGI through a unix socket or ADDRESS:PORT, as nginx would: the other end of the protocol, in a few lines, run by a host's Python.

With `--load FILE CLIENTS` it keeps asking until that file is there, and prints how many requests were sent and what was lost.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import threading
import time


def connect(path, timeout):
    if path.startswith("/"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        connection.connect(path)
        return connection
    address, _, port = path.rpartition(":")
    return socket.create_connection((address, int(port)), timeout)


def ask(path, host, uri, method="GET", timeout=15, trickle=0):
    """(status, headers, body) of one request, with no retry. `trickle` kB of a body go out slowly, five in a second."""
    uri, _, query = uri.partition("?")
    variables = {
        "REQUEST_METHOD": method,
        "REQUEST_URI": uri + ("?" + query if query else ""),
        "PATH_INFO": uri,
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": host,
        "SERVER_PORT": "80",
        "HTTP_HOST": host,
        "REMOTE_ADDR": "127.0.0.1",
        **({"CONTENT_LENGTH": str(trickle * 1000)} if trickle else {}),
    }
    body = b"".join(struct.pack("<H", len(part)) + part for item in variables.items() for part in (text.encode() for text in item))
    with connect(path, timeout) as connection:
        connection.sendall(struct.pack("<BHB", 0, len(body), 0) + body)
        for _ in range(trickle):
            time.sleep(0.2)
            connection.sendall(b"x" * 1000)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    if not answer:
        raise ConnectionError("closed without an answer")
    head, _, content = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return int(lines[0].split()[1]), headers, content.decode("utf-8", "replace")


def load(path, host, uri, stop, clients):
    end = time.monotonic() + 1200
    sent, lost, lock = [], [], threading.Lock()

    def client():
        while time.monotonic() < end and not os.path.exists(stop):
            try:
                status, headers, _body = ask(path, host, uri)
                problem = "" if status == 200 else f"status {status}"
                served = headers.get("x-served-by", "")
            except (OSError, IndexError, ValueError) as error:
                problem, served = f"{type(error).__name__} {error}", ""
            with lock:
                sent.append(served)
                if problem:
                    lost.append(problem)
            time.sleep(0.02)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"sent": len(sent), "lost": lost, "served": sorted(set(sent)), "ended": os.path.exists(stop)}


if __name__ == "__main__":
    if sys.argv[1] == "--load":
        print(json.dumps(load(*sys.argv[4:7], sys.argv[2], int(sys.argv[3]))))
    else:
        print(json.dumps(ask(*sys.argv[1:5], trickle=int(*sys.argv[5:] or [0]))))
