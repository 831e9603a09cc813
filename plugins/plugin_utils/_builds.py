# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""The controller's side of images: what a role declares for a host, which files that means, and the tar that is sent to the builder.

The rules (digest, patterns, command lines) are in ``module_utils/_build.py``, which reads nothing from the disk.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import typing as t
from dataclasses import dataclass
from pathlib import Path

import tomllib
from ansible.plugins.loader import lookup_loader
from ansible_collections.berth.django.plugins.module_utils import _build
from ansible_collections.berth.django.plugins.module_utils._build import Build, Entry
from ansible_collections.berth.django.plugins.plugin_utils import _sources

ROLES = Path(__file__).resolve().parents[2] / "roles"

# Never part of a source, unless its .dockerignore takes it back with "!": it differs from checkout to checkout, or is secret.
# In .berth is the certificate authority of a fleet whose inventory lies in its project.
ALWAYS_IGNORED = "\n".join(
    ("**/.git", "**/.hg", "**/.svn", "**/.berth", "**/.env", "**/.env.*", ".venv", "venv", "**/__pycache__", "**/*.py[cod]", "**/.DS_Store")
)
# Stable times and owners in the tar: the same files are the same layer, whoever checked them out, and when.
TIME = 946684800


@dataclass(frozen=True)
class Image:
    """One image that a role wants for a host: where it is found, and what it is made of."""

    role: str
    reference: str
    base: str
    refresh: str
    build: Build
    entries: tuple[Entry, ...]


def variables_of(role: str, variables: t.Mapping[str, t.Any], loader: t.Any) -> dict[str, t.Any]:
    """What a template of `role` may refer to on a host: the role's own values under the host's variables.

    From disk, since other roles (the image role on the builder, nginx on a host without the application) ask, too.
    """
    files = [file for path in ("image/defaults", f"{role}/defaults", f"{role}/vars") for file in _main(path)]
    merged = {name: value for file in files for name, value in (_load(loader, str(file)) or {}).items()}
    return {**merged, **variables, "role_path": str(ROLES / role)}


def own_variables(role: str, loader: t.Any) -> dict[str, t.Any]:
    """What nobody outside of the role is to set."""
    return {name: value for file in _main(f"{role}/vars") for name, value in (_load(loader, str(file)) or {}).items()}


def _main(path: str) -> list[Path]:
    """One file, or a directory of several."""
    return [file for file in (ROLES / path / "main.yml", *sorted((ROLES / path / "main").glob("*.yml"))) if file.is_file()]


def image_variable(role: str) -> str:
    return "image_registry_image" if role == "image" else f"{role}_image"


def _load(loader: t.Any, path: str) -> dict[str, t.Any]:
    """As the loader keeps it, for reading only: the copies that it would make are a fifth of what drift.yml costs the controller."""
    return loader.load_from_file(path, unsafe=True, trusted_as_template=True)


def image_of(role: str, variables: t.Mapping[str, t.Any], loader: t.Any, templar: t.Any) -> Image:
    """The image that `role` declares for a host with `variables`. ``ValueError`` says what is wrong with the declaration.

    Without a declaration, it is what the Dockerfile in the role's ``files/image`` says by itself.
    """
    known = variables_of(role, variables, loader)
    declaration = f"__{role}_build"
    scope = templar.copy_with_new_env(available_variables=known)
    names = (declaration, "image_registry", "image_base", "image_refresh")
    declared, registry, base, refresh = (scope.template(known.get(name)) for name in names)
    # `<role>_image_base` is for a project that needs another base than the fleet.
    base = scope.template(known.get(f"{role}_image_base")) or base
    build = _build.parse({"name": f"berth-{role}", "context": "files/image", **(declared or {})}, declaration)
    build = _located(role, build, lambda: str(scope.template(known.get("berth_state")) or ""))
    build = _build.with_common_args(build, str(base), str(refresh or ""))
    entries = tuple(find(build))
    # The image of the registry itself cannot come from the registry.
    registry = "" if role == "image" else str(registry or "")
    return Image(role, _build.reference(registry, build.name, tag_of(build)), str(base), str(refresh or ""), build, entries)


def wanted(roles: t.Sequence[str], task_vars: dict[str, t.Any], loader: t.Any, templar: t.Any) -> dict[str, Image]:
    """Reference -> image, over the hosts of each role; hosts that were given another image by hand do not count.

    With --limit, those of its hosts alone: what another project's hosts need may not even build. Over all, where it names none of them.
    """
    everybody = [(role, variables) for role in roles for variables in _hosts_of(role, task_vars)]
    limit = _limited(task_vars, loader, templar)
    hosts = [(role, variables) for role, variables in everybody if role != "image" and variables.get("inventory_hostname") in limit]
    own = [(role, variables) for role, variables in everybody if role == "image"]
    images: dict[str, Image] = {}
    for role, variables in own + hosts if hosts else everybody:
        if is_own(role, variables):
            image = image_of(role, variables, loader, templar)
            images[image.reference] = image
    return images


def _limited(task_vars: dict[str, t.Any], loader: t.Any, templar: t.Any) -> set[str]:
    """The hosts that --limit names. None where a file does (``@``), or nothing is said."""
    limit = str(task_vars.get("ansible_limit") or "")
    if not limit or "@" in limit:
        return set()
    lookup = lookup_loader.get("ansible.builtin.inventory_hostnames", loader=loader, templar=templar)
    return set(lookup.run([limit], variables=task_vars))


def _hosts_of(role: str, task_vars: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    """A role without a group of its name is asked for this host."""
    groups = task_vars.get("groups", {})
    if role not in groups and role == "image":
        return [task_vars]
    hostvars = task_vars["hostvars"]
    hosts = [{**hostvars.raw_get(host), "hostvars": hostvars} for host in groups.get(role, [])]
    if role == "haproxy":  # It is the gateway beside a uWSGI that web servers reach from other hosts, too.
        apps = _hosts_of("django_uwsgi", task_vars)
        hosts += [variables for variables in apps if variables.get("django_uwsgi_listen") == "tcp"]
    return hosts


def tag_of(build: Build) -> str:
    return _build.digest({entry.name: _hash(entry) for entry in find(build)}, {"args": build.args})


def is_own(role: str, variables: t.Mapping[str, t.Any]) -> bool:
    """Whether a host uses the image that this collection builds: an image variable that was set to anything else is used as it is."""
    value = variables.get(image_variable(role))
    return value is None or "berth.django.build" in str(value)


def _located(role: str, build: Build, state: t.Callable[[], str]) -> Build:
    """With directories of the controller in the place of what the inventory says; `state` is where sources that are fetched are kept."""
    context = ROLES / role / build.context
    if not (context / "Dockerfile").is_file():
        raise ValueError(f"there is no {context}/Dockerfile.")
    values: dict[str, t.Any] = {**build.__dict__, "context": str(context)}
    variable = build.variables.get("source", "")
    if variable and not build.source:
        raise ValueError(f"{variable} is not set: name the project's directory or git repository, or a ready image in {role}_image.")
    if build.source:
        try:
            source = _sources.find(build.source, state)
        except ValueError as error:
            raise ValueError(f"{variable or 'source'}: {error}") from None
        values.update(source=str(source.path), version=source.version)
    return Build(**values)


def find(build: Build) -> t.Iterator[Entry]:
    """Every file of the context, by name: the Dockerfile and its scripts, then ``requirements/``, then ``source/``."""
    yield from _walk(build.context, "", [])
    if not build.source:
        return
    own = Path(build.source) / ".dockerignore"
    text = own.read_text(encoding="utf-8", errors="replace") if own.is_file() else ""
    source = list(_walk(build.source, "source/", _build.read_dockerignore(f"{ALWAYS_IGNORED}\n{text}")))
    yield from _requirements(build, source)
    yield from source


def _requirements(build: Build, source: t.Sequence[Entry]) -> t.Iterator[Entry]:
    """All that it takes to install the requirements, and nothing else, since whatever changes here has all of them installed anew.

    Their files, those that they include, packages of the source itself that they name by a path, and the Python that is asked for.
    """
    waiting, names, places = [os.path.normpath(name) for name in build.requirements], list[str](), list[str]()
    while waiting:
        name = waiting.pop(0)
        if name in names:
            continue
        names.append(name)
        yield Entry(f"requirements/{name}", f"{build.source}/{name}")
        files, packages = _needed(build, name, named=name in map(os.path.normpath, build.requirements))
        waiting += [os.path.normpath(Path(name).parent / file) for file in files]
        places += [os.path.normpath(package) for package in packages]
    inside = tuple(f"source/{place}" for place in places if place != "." and not place.startswith("..") and place not in names)
    for entry in source:
        if entry.name == "source/.python-version" or entry.name in inside or entry.name.startswith(tuple(f"{place}/" for place in inside)):
            yield Entry("requirements/" + entry.name.removeprefix("source/"), entry.path, entry.executable, entry.link)


def _needed(build: Build, name: str, named: bool) -> tuple[list[str], list[str]]:
    """Which other files `name` needs beside it, and which paths in the source it names. ``ValueError`` says why it is of no use."""
    variable = build.variables.get("pip", "requirements")
    path, kind = Path(build.source) / name, _build.kind_of(name)
    if name.startswith("..") or os.path.isabs(name) or not path.is_file():
        others = sorted(path.name for path in Path(build.source).iterdir() if _build.kind_of(path.name))
        raise ValueError(f"{variable}: there is no file {name} in {build.source}" + (f", but {', '.join(others)}." if others else "."))
    text = path.read_text(encoding="utf-8", errors="replace")
    if kind == "list" or not named:
        return _build.included_requirements(text), _build.local_requirements(text)
    if not kind:
        raise ValueError(f"{variable}: {name} is none of *.txt, *.in, pyproject.toml, uv.lock, poetry.lock and pylock.toml.")
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{variable}: {name} cannot be read: {error}.") from None
    if kind == "project":
        problem = _build.problem_of_project(content)
        if problem:
            raise ValueError(f"{variable}: {name} {problem}.")
        return [], []
    local = [str(Path(name).parent / package) for package in _build.local_packages(kind, content)]
    return ([] if kind == "pylock" else ["pyproject.toml"]), local


def _walk(root: str, prefix: str, patterns: t.Sequence[t.Any]) -> t.Iterator[Entry]:
    look_into_ignored = _build.takes_back(patterns)
    for folder, folders, files in os.walk(root):
        relative = os.path.relpath(folder, root)
        here = "" if relative == "." else f"{relative}/"
        links = [name for name in folders if os.path.islink(f"{folder}/{name}")]
        folders[:] = sorted(
            name for name in folders if name not in links and (look_into_ignored or not _build.is_ignored(here + name, patterns))
        )
        for name in sorted(files + links):
            path = f"{folder}/{name}"
            if _build.is_ignored(here + name, patterns) or not (os.path.islink(path) or os.path.isfile(path)):
                continue
            link = os.readlink(path) if os.path.islink(path) else ""
            yield Entry(prefix + here + name, path, not link and os.access(path, os.X_OK) and bool(os.stat(path).st_mode & 0o100), link)


_hashes: dict[tuple[t.Any, ...], str] = {}


def _hash(entry: Entry) -> str:
    if entry.link:
        return f"link {entry.link}"
    state = os.stat(entry.path)
    key = (entry.path, state.st_mtime_ns, state.st_size, state.st_ino)
    if key not in _hashes:
        _hashes[key] = hashlib.sha256(Path(entry.path).read_bytes()).hexdigest()
    return f"{'program' if entry.executable else 'file'} {_hashes[key]}"


def write_tar(image: Image, path: str) -> None:
    """The context of `image` as a gzipped tar whose metadata never differ. ``source/`` and ``requirements/`` are there even when empty."""
    with Path(path).open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, compresslevel=3, filename="") as packed:
        tar = tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 (closed below, before what it writes to)
        for folder in ("requirements", "source") if image.build.source else ():
            tar.addfile(_member(folder, tarfile.DIRTYPE, 0o755))
        for entry in image.entries:
            _add(tar, entry)
        tar.close()


def _add(tar: tarfile.TarFile, entry: Entry) -> None:
    if entry.link:
        member = _member(entry.name, tarfile.SYMTYPE, 0o777)
        member.linkname = entry.link
        tar.addfile(member)
        return
    data = Path(entry.path).read_bytes()
    member = _member(entry.name, tarfile.REGTYPE, 0o755 if entry.executable else 0o644)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _member(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.mtime = kind, mode, TIME
    return member
