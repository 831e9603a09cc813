# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A repository in what speaks as S3 does: moto, which these tests install for themselves and which holds what it is given in memory."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
import sys
import typing as t
import urllib.request
from pathlib import Path

import pytest
from backups import REPOSITORY, SCHEDULE, STORED, archived, backups, fill
from fleet import HOSTS, inspect, on, playbook, until

pytestmark = pytest.mark.long
MOTO = "moto[server]==5.2.5"
SECRET = "s3-secret-of-this-test-2c7d"


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[dict[str, t.Any]]:
    """What the inventory says of it. The machine that runs the lab has it: the way out of the lab's network."""
    place = tmp_path_factory.mktemp("s3")
    subprocess.run([sys.executable, "-m", "venv", place / "venv"], check=True)
    subprocess.run([place / "venv/bin/pip", "install", "--quiet", MOTO], check=True)
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=s3", "-keyout", place / "key", "-out", place / "pem"]
    subprocess.run(make, check=True, capture_output=True)
    host, port = on(REPOSITORY, "ip route show default").split()[2], 9443
    with server(place, host, port):
        yield {
            "pgbackrest_settings": {
                "repo1-type": "s3",
                "repo1-path": "/music",
                "repo1-s3-bucket": "backups",
                "repo1-s3-endpoint": host,
                "repo1-s3-region": "eu-1",
                "repo1-s3-uri-style": "path",
                "repo1-storage-port": port,
                "repo1-storage-verify-tls": "n",
            },
            "pgbackrest_secret_settings": {"repo1-s3-key": "key-of-this-test", "repo1-s3-key-secret": SECRET},
        }


@contextlib.contextmanager
def server(place: Path, host: str, port: int) -> t.Iterator[None]:
    words = [place / "venv/bin/moto_server", "-H", host, "-p", str(port), "-c", place / "pem", "-k", place / "key"]
    with (place / "log").open("w") as log:
        running = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        until(lambda: put(f"https://{host}:{port}/backups"), 60, "there is a bucket")
        yield
    finally:
        running.kill()
        running.wait()


def put(url: str) -> bool:
    context = ssl._create_unverified_context()
    with urllib.request.urlopen(urllib.request.Request(url, method="PUT"), context=context) as answer:
        return bool(answer.status == 200)


def test_backups_and_the_log_go_there_and_come_back(bucket: dict[str, t.Any]) -> None:
    stored = on(REPOSITORY, f"find {STORED} -type f | wc -l")
    try:
        run = playbook("--limit", "pgbackrest", variables=bucket)
        assert run.rc == 0, run.told
        until(backups, 180, "there is a backup, without anybody asking for it")
        assert len(backups()) == 1 and HOSTS[REPOSITORY]
        fill()
        archived()
        assert on(REPOSITORY, f"find {STORED} -type f | wc -l") == stored, "it went to the host's own disk"
        assert SECRET not in str(inspect(REPOSITORY, SCHEDULE))
        proved = playbook(name="playbooks/restore_drill.yml", variables=bucket)
        assert proved.rc == 0 and "can be restored" in proved.out, proved.told
    finally:
        back = playbook("--limit", "pgbackrest")
    assert back.rc == 0 and SECRET not in back.out, back.told
    until(lambda: len(backups()) > 1, 60, "the repository is the one before")
