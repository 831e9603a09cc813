# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each project does what its README says, on a PostgreSQL, and without a container: what fails here is the project's own fault.

`pytest` alone leaves this out, since it installs the requirements of five projects, one of which is compiled (gcc, libpq-dev):
`pytest tests/projects` runs it. BERTH_PROJECTS_VENVS names a directory that keeps the environments.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from test_django_postgres import LIBRARIES, PACKAGES, PROGRAMS, USER

PROJECTS = Path(__file__).resolve().parent
PASSWORD = "corr?ct=h%rs#"
SECRET_KEY = "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmno"
# What `check --deploy` says of a project that leaves HTTPS to what is in front of it.
PLAIN = {"security.W004", "security.W008"}

SERVE = """
import importlib, sys
from wsgiref.simple_server import make_server
module, name = sys.argv[1].split(":")
with make_server("127.0.0.1", 0, getattr(importlib.import_module(module), name)) as server:
    print(server.server_port, flush=True)
    server.serve_forever()
"""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True)
class Site:
    name: str
    directory: Path  # a copy of the project, which it is started in
    python: Path
    environment: dict[str, str]
    manage_py: str = "manage.py"

    def start(self, *words: str) -> subprocess.Popen[str]:
        command = [str(self.python), *words]
        return subprocess.Popen(
            command, cwd=self.directory, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def manage(self, *words: str, fails: bool = False) -> str:
        process = self.start(self.manage_py, *words)
        out, _ = process.communicate()
        assert (process.returncode != 0) is fails, out
        return out

    @contextlib.contextmanager
    def served(self, wsgi: str, host: str) -> Iterator[Any]:
        process = self.start("-c", SERVE, wsgi)
        assert process.stdout
        port = process.stdout.readline()
        assert port.strip().isdigit(), port + process.stdout.read()

        def ask(path: str, said: Any = None, **headers: str) -> Answer:
            """GETs, or POSTs what is said: as JSON, unless it is bytes."""
            body = said if isinstance(said, bytes) or said is None else json.dumps(said)
            connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=20)
            connection.request("GET" if body is None else "POST", path, body, {"Host": host, **headers})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read().decode())

        try:
            yield ask
        finally:
            process.terminate()
            process.wait()

    def lay_over(self, directory: Path, settings: str) -> None:
        """Settings of the operator's own, as django_uwsgi_settings_files brings them."""
        directory.mkdir(exist_ok=True)
        (directory / "operator_settings.py").write_text(settings)
        self.environment["DJANGO_SETTINGS_MODULE"] = "operator_settings"
        self.environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(directory), self.environment.get("PYTHONPATH")]))


@pytest.fixture(scope="session")
def venvs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the environments, with uv in one of them."""
    kept = os.environ.get("BERTH_PROJECTS_VENVS")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("venvs")
    if not (folder / "uv" / "bin" / "uv").exists():
        subprocess.run([sys.executable, "-m", "venv", folder / "uv"], check=True)
        subprocess.run([folder / "uv" / "bin" / "pip", "install", "--quiet", "uv"], check=True)
    return folder


def installed(venvs: Path, name: str, *requirements: str | Path) -> Path:
    """The Python of an environment with these requirements."""
    uv, venv = venvs / "uv" / "bin" / "uv", venvs / name
    subprocess.run([uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, venv], check=True)
    # Not in the directory of a project, whose pyproject.toml may name an index.
    done = subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", venv, *requirements], cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return venv / "bin" / "python"


def exported(venvs: Path, project: Path, target: Path) -> Path:
    """uv.lock as requirements with hashes: the lock names an index that is not reached from here."""
    command = [venvs / "uv" / "bin" / "uv", "export", "--quiet", "--frozen", "--no-emit-project", "--no-python-downloads"]
    target.write_bytes(subprocess.run([*command, "--python", sys.executable], cwd=project, capture_output=True, check=True).stdout)
    return target


@pytest.fixture(scope="session")
def server() -> Iterator[Path]:
    """The directory of PostgreSQL's socket. It asks for passwords."""
    folder = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True, **USER).stdout.strip())
    folder.chmod(0o755)
    for part in (PROGRAMS, LIBRARIES):
        shutil.copytree(PACKAGES / part, folder / part)
    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)

    def postgres(program: str, *arguments: str) -> None:
        argv = [folder / PROGRAMS / "bin" / program, "-D", folder / "data", *arguments]
        done = subprocess.run(argv, cwd="/", capture_output=True, text=True, check=False, **USER)
        assert done.returncode == 0, done.stdout + done.stderr

    try:
        postgres("initdb", "-U", "postgres", "-A", "scram-sha-256", f"--pwfile={folder / 'password'}")
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        postgres("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
        yield folder
        postgres("pg_ctl", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def database(server: Path, name: str, password: str = PASSWORD) -> None:
    with psycopg.connect(host=str(server), user="postgres", password=PASSWORD, dbname="postgres", autocommit=True) as connection:
        connection.execute(psycopg.sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(psycopg.sql.Identifier(name), password))
        connection.execute(psycopg.sql.SQL("CREATE DATABASE {0} OWNER {0}").format(psycopg.sql.Identifier(name)))


def copied(name: str, tmp_path: Path) -> Path:
    return shutil.copytree(PROJECTS / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))


def environment(**own: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **own}


def deploy_findings(site: Site) -> set[str]:
    """What `check --deploy` says that an operator has to silence."""
    return set(re.findall(r"\((security\.W\d+)\)", site.manage("check", "--deploy")))


def test_guestbook(venvs: Path, server: Path, tmp_path: Path) -> None:
    # What is pinned has no wheel from Python 3.13 on, and the index that is named exists nowhere.
    requirements = re.sub("--index-url.*", "", (PROJECTS / "guestbook" / "requirements.txt").read_text())
    if sys.version_info >= (3, 13):
        requirements = requirements.replace("psycopg2-binary==2.9.5", "psycopg2-binary==2.9.13")
    (tmp_path / "requirements.txt").write_text(requirements)
    database(server, "guestbook", "quill-Inkwell-1998-parchment")
    python = installed(venvs, "guestbook", "--requirement", tmp_path / "requirements.txt")
    site = Site("guestbook", copied("guestbook", tmp_path), python, environment())
    assert "no issues" in site.manage("check")
    site.lay_over(
        tmp_path / "over",
        f"from settings import *\nDATABASES['default']['HOST'] = {str(server)!r}\nSTATIC_ROOT = {str(tmp_path / 'static')!r}\n",
    )
    assert deploy_findings(site) == PLAIN | {"security.W009", "security.W012", "security.W016"}
    site.manage("migrate", "--no-input")
    with site.served("wsgi:application", "guestbook.example.org") as ask:
        assert ask("/").status == 500  # migrate alone makes no table for an app without migrations
        site.manage("migrate", "--no-input", "--run-syncdb")
        site.manage("migrate", "--no-input", "--run-syncdb")
        site.manage("collectstatic", "--no-input")
        assert ask("/entries/", {"name": "Ada", "text": "I was here."}).json == {"id": 1}
        assert ask("/entries/").json == {"entries": [{"id": 1, "name": "Ada", "text": "I was here."}]}
        assert "Guestbook, version 1" in ask("/").text and "I was here." in ask("/").text
        assert ask("/", Host="www.example.org").status == 400
    assert (tmp_path / "static" / "entries" / "guestbook.css").exists() and (tmp_path / "static" / "admin").is_dir()


def test_gallery(venvs: Path, server: Path, tmp_path: Path) -> None:
    notice = """50% off? a=b & "c" 'd' #e $HOME ${PATH} `f` \\n\n second line\t"""
    database(server, "gallery")
    python = installed(venvs, "gallery", "--requirement", PROJECTS / "gallery" / "backend" / "pyproject.toml")
    own = {
        "GALLERY_KEY": SECRET_KEY,
        "GALLERY_HOSTS": "gallery.example.org www.gallery.example.org",
        "GALLERY_DB_URL": f"postgresql://gallery:corr%3Fct%3Dh%25rs%23@{str(server).replace('/', '%2F')}/gallery",
        "GALLERY_NOTICE_SALE": notice,
        "PYTHONPATH": str(tmp_path / "gallery" / "backend"),
    }
    site = Site("gallery", copied("gallery", tmp_path), python, environment(**own), "backend/manage.py")
    assert "no issues" in site.manage("check") and not deploy_findings(site)
    site.lay_over(tmp_path / "over", f"from gallery.settings import *\nORIGINALS_ROOT = {str(tmp_path / 'originals')!r}\n")
    site.manage("migrate", "--no-input")
    site.manage("collectstatic", "--no-input")
    site.manage("remember_notices")
    parts = {"title": ("", b"A dot"), "picture": ("dot.png", b"small"), "original": ("dot.png", b"large")}
    body = b"".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"{file and f"; filename={file}"}\r\n\r\n'.encode() + value + b"\r\n"
        for name, (file, value) in parts.items()
    )
    form = {"Content-Type": "multipart/form-data; boundary=x", "X-Forwarded-Proto": "https"}
    with site.served("gallery.wsgi:application", "gallery.example.org") as ask:
        moved = ask("/health/")
        assert moved.status == 301 and moved.headers["Location"] == "https://gallery.example.org/health/"
        assert ask("/health/", **form).text == "ok\n"
        photo = ask("/api/photos/", body + b"--x--\r\n", **form).json
        assert ask("/api/photos/", **form).json == {"photos": [photo]}
        page = ask("/", **form).text
        assert "Gallery, version 1" in page and photo["picture"] in page and photo["original"] in page
        assert ask("/api/environment/", **form).json == {name: {"GALLERY_NOTICE_SALE": notice} for name in ("web", "command")}
    assert (site.directory / "backend" / photo["picture"].lstrip("/")).read_bytes() == b"small"
    assert (tmp_path / photo["original"].lstrip("/")).read_bytes() == b"large"
    assert (site.directory / "backend" / "collected" / "gallery.css").exists()


def test_press(venvs: Path, server: Path, tmp_path: Path) -> None:
    database(server, "press")
    requirements = exported(venvs, copied("press", tmp_path), tmp_path / "requirements.txt")
    python = installed(venvs, "press", "--require-hashes", "--requirement", requirements)
    own = {
        "SECRET_KEY": SECRET_KEY,
        "ALLOWED_HOSTS": "press.example.org",
        "STATIC_ROOT": str(tmp_path / "static"),
        "PRESS_IMPRINT": "Ink & Sons = 100%",
    }
    site = Site("press", tmp_path / "press", python, environment(**own))
    # None of this needs a database: it may be done while the image is built.
    assert "no issues" in site.manage("check")
    site.manage("collectstatic", "--no-input")
    packed = re.findall(r"Packed into (\S+)\.$", site.manage("pack"), re.MULTILINE)[0]
    site.environment.update(PRESS_DB_HOST=str(server), PRESS_DB_PASSWORD=PASSWORD)
    assert deploy_findings(site) == PLAIN
    site.manage("migrate", "--no-input")
    signed = re.compile(r"Ink & Sons = 100%, version 1, process \d+ of .+")
    with site.served("press.wsgi:application", "press.example.org") as ask:
        page = ask("/").text
        assert (
            "Press, version 1" in page and f'href="/static/{packed}"' in page and re.search(r"/static/jobs/icon\.[0-9a-f]{12}\.svg", page)
        )
        assert (tmp_path / "static" / packed).exists()
        (tmp_path / "static" / "packed.json").rename(tmp_path / "packed.json")
        assert ask("/").status == 500

        for number in range(6):
            assert ask("/jobs/", {"text": f"leaflet {number}", "seconds": 0.1}).status == 201
        printers = [site.start("manage.py", "print_jobs") for _ in range(2)]
        wait_for(lambda: all(job["copies"] for job in ask("/jobs/").json["jobs"]))
        ask("/jobs/", {"text": "poster", "seconds": 2})
        time.sleep(1)
        for printer in printers:
            printer.send_signal(signal.SIGTERM)
        assert [printer.communicate()[0] for printer in printers] == ["Ended, with no job in hand.\n"] * 2
        assert [printer.returncode for printer in printers] == [0, 0]
        jobs = ask("/jobs/").json["jobs"]
        assert len(jobs) == 7 and all(job["copies"] == 1 and signed.fullmatch(job["printed_by"]) for job in jobs), jobs

        site.manage("publish_edition")
        (edition,) = ask("/editions/").json["editions"]
        assert signed.fullmatch(edition["published_by"])


def wait_for(condition: Any, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_brochure(venvs: Path, server: Path, tmp_path: Path) -> None:
    database(server, "brochure")
    python = installed(venvs, "brochure", "--requirement", PROJECTS / "brochure" / "requirements" / "production.txt")
    secrets = {"SECRET_KEY": SECRET_KEY, "DB_PASSWORD": PASSWORD + "\n", "ADMIN_PASSWORD": "open sesame!"}
    for name, value in secrets.items():
        (tmp_path / name.lower()).write_text(value)
    own = {
        "ALLOWED_HOSTS": "brochure.example.org",
        "BROCHURE_DB_HOST": str(server),
        "BROCHURE_DB_NAME": "brochure",
        "BROCHURE_DB_USER": "brochure",
        **{f"BROCHURE_{name}_FILE": str(tmp_path / name.lower()) for name in secrets},
    }
    site = Site("brochure", copied("brochure", tmp_path), python, environment(**own))
    assert "no issues" in site.manage("check") and deploy_findings(site) == PLAIN
    assert "Unknown command" in site.manage("collectstatic", "--no-input", fails=True)
    assert "Created the account admin." in site.manage("migrate", "--no-input")
    assert "Created" not in site.manage("migrate", "--no-input")
    admin = {"Authorization": f"Basic {base64.b64encode(b'admin:open sesame!').decode()}"}
    with site.served("brochure.wsgi:application", "brochure.example.org") as ask:
        page = ask("/").text
        assert "Brochure, version 1" in page
        for path in re.findall(r'(?:href|src)="/([^"]*)"', page):
            assert path.startswith("assets/v1/") and (site.directory / "public" / path).exists()
        assert ask("/enquiries/", {"email": "ada@example.org", "text": "How much?"}).json == {"id": 1}
        assert ask("/enquiries/").status == 401
        assert ask("/enquiries/", **admin).json == {"enquiries": [{"id": 1, "email": "ada@example.org", "text": "How much?"}]}


def test_club(venvs: Path, server: Path, tmp_path: Path) -> None:
    database(server, "club")
    python = installed(venvs, "club", "--requirement", PROJECTS / "club" / "requirements.txt")
    own = {
        "DJANGO_SETTINGS_MODULE": "club.settings.production",
        "CLUB_SECRET": SECRET_KEY,
        "ALLOWED_HOSTS": "club.example.org",
        "STATIC_ROOT": str(tmp_path / "static"),
        "PGHOST": str(server),
        "PGUSER": "club",
        "PGPASSWORD": PASSWORD,
    }
    site = Site("club", copied("club", tmp_path), python, environment(**own))
    assert "no issues" in site.manage("check") and deploy_findings(site) == PLAIN
    site.manage("migrate", "--no-input")
    site.manage("collectstatic", "--no-input")
    assert (tmp_path / "static" / "members" / "club.css").exists()
    with site.served("club.web.wsgi:site", "club.example.org") as ask:
        assert [ask(path).status for path in ("/", "/up", "/up/")] == [404, 204, 404]
        assert ask("/members", {"email": "Ada@Example.org", "full_name": "Ada"}).json == {"id": 1}
        assert ask("/members").json == {"members": [{"id": 1, "full_name": "Ada"}]}
        assert "Club, version 1" in ask("/about").text and "1 members" in ask("/about").text
        assert ask("/office/login/").status == 200
    del site.environment["DJANGO_SETTINGS_MODULE"]
    assert "No module named 'debug_toolbar'" in site.manage("check", fails=True)
