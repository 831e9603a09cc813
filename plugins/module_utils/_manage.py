# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Runs manage.py in a container for the django_* modules: a container of its own, made from a service, or one that runs already."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import shutil
import tempfile
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.berth.django.plugins.module_utils import (
    _django,
    _django_inside,
    _django_migration_problems,
    _django_migration_safety,
    _django_migration_sql,
    _django_schema,
    _docker_argv,
    _engine,
    _files,
    _observe,
    _release,
    _release_files,
)
from ansible_collections.berth.django.plugins.module_utils._preview import previewed
from ansible_collections.berth.django.plugins.module_utils._python_errors import explain, one_stack
from ansible_collections.berth.django.plugins.module_utils._shell import (
    EngineError,
    Outcome,
    docker_present,
    run,
    service_lock,
    wait_for_engine,
)
from ansible_collections.berth.django.plugins.module_utils._spec import Mount, Service
from ansible_collections.berth.django.plugins.module_utils._spec_parse import parse

# What runs in the container, each after those that it imports; the last one answers.
INSIDE = (_django_migration_problems, _django_migration_sql, _django_migration_safety, _django_schema, _django_inside)
# What the docker command itself answers with when it could not even start the command.
DOCKER_FAILED = 125
DOCKER_REFUSED = ("Error response from daemon", "Error: No such")
NOT_STARTED = (126, 127)
TIMED_OUT = 124
# Seconds for a command inside to end after its time is up, before the client is given up, too.
TO_END = 2 * _docker_argv.KILL_AFTER


class CommandFailed(Exception):
    """A manage.py command failed. The message is for the operator, `result` for the task's result."""

    def __init__(self, message: str, **result: t.Any) -> None:
        super().__init__(message)
        self.result = result


class Unknown(Exception):
    """Check mode cannot know: one sentence says why."""


@dataclasses.dataclass(frozen=True)
class Project:
    """Where and how manage.py is run. Either `service` is there, or `container`, or both: a container that is what the service would be."""

    service: Service | None
    container: str
    entrypoint: tuple[str, ...]
    chdir: str
    working_directory: str
    python: str
    settings: str
    timeout: int | None
    check_mode: bool

    @property
    def serves(self) -> bool:
        """Whether the very same image, settings and secrets already serve: they have passed every check once."""
        return bool(self.service and self.container)

    @property
    def workdir(self) -> str:
        return self.working_directory or self.chdir

    def manage(
        self, command: str, words: t.Iterable[str] = (), stdin: str = "", writable: t.Sequence[str] = (), label: str = ""
    ) -> Outcome:
        """Runs one command. What Django refuses is an answer; what Docker refuses is an error.

        A container that runs already costs a third of a new one. It cannot be used to write where the service only reads.
        """
        argv = _django.manage(command, words, self.python, self.chdir, self.settings)
        label = label or command
        if self.service and (writable or not self.container):
            outcome = self._in_its_own(self.service, argv, stdin, writable, label)
        else:
            outcome = self._in_running([*self.entrypoint, *argv], stdin)
        self._refuse_docker_errors(outcome, label)
        return outcome

    def _in_its_own(self, service: Service, argv: t.Sequence[str], stdin: str, writable: t.Sequence[str], label: str) -> Outcome:
        if not self.check_mode:
            _engine.stage(service)
        name = f"{service.project}-{service.name}-{label}-{os.getpid()}"
        outcome = run(_docker_argv.one_off(service, argv, writable=writable, name=name, workdir=self.workdir), stdin, self.timeout)
        if outcome.rc == TIMED_OUT:
            run(["docker", "rm", "--force", name])
        return outcome

    def _in_running(self, argv: t.Sequence[str], stdin: str) -> Outcome:
        """A command goes on inside when the client that started it ends, so that the limit is put inside, where the image can keep it."""
        plain = _docker_argv.exec_in(self.container, argv, interactive=True, workdir=self.workdir)
        if not self.timeout:
            return run(plain, stdin)
        argv = _docker_argv.limited(argv, self.timeout)
        limited = _docker_argv.exec_in(self.container, argv, interactive=True, workdir=self.workdir)
        outcome = run(limited, stdin, self.timeout + TO_END)
        cannot = outcome.rc in NOT_STARTED and '"timeout"' in outcome.text
        return run(plain, stdin, self.timeout) if cannot else outcome

    def ask(self, request: dict[str, t.Any], label: str) -> dict[str, t.Any]:
        """Runs a program of _django_inside.py, and returns its answer."""
        sources = {module.__name__: source_of(module.__name__) for module in INSIDE}
        outcome = self.manage("shell", _django.shell(sources), stdin=json.dumps(request), label=label)
        answer = _django.read_answer(outcome.out)
        if answer is None:
            raise failed(f"manage.py {label}", outcome)
        return answer

    def _refuse_docker_errors(self, outcome: Outcome, label: str) -> None:
        if (outcome.rc == DOCKER_FAILED and "docker:" in outcome.err) or outcome.err.startswith(DOCKER_REFUSED):
            if self.check_mode:
                raise Unknown(f"no container can be started for it yet: {outcome.text}")
            raise EngineError(f"manage.py {label} was not started: {outcome.text}")
        if outcome.rc in NOT_STARTED and not outcome.out:
            raise EngineError(
                f"manage.py {label} was not started: {explain(outcome.text)}. Is {self.python} in the image, and its entry point?"
            )


def source_of(name: str) -> str:
    """The text of one of our own modules, also when Ansible shipped it inside a zip."""
    spec = importlib.util.find_spec(name)
    source = spec.loader.get_source(name) if spec and spec.loader and hasattr(spec.loader, "get_source") else None
    if not source:
        raise EngineError(f"the source of {name} is not there")
    return source


def failed(what: str, outcome: Outcome, hint: str = "") -> CommandFailed:
    reason = f"no answer within its timeout\n{explain(outcome.out)}" if outcome.rc == TIMED_OUT else explain(outcome.text)
    return CommandFailed(
        f"{what} failed: {reason or f'it ended with {outcome.rc} and wrote nothing'}{hint}",
        exit_code=outcome.rc,
        stdout=outcome.out,
        stderr=one_stack(outcome.err),
    )


def project_of(values: t.Mapping[str, t.Any], check_mode: bool) -> Project:
    """`values` are the parameters of a module with ``_django.ARGUMENT_SPEC``."""
    return Project(
        service=parse(values["service"]) if values["service"] else None,
        container=values["container"] or "",
        entrypoint=tuple(values["entrypoint"] or ()),
        chdir=values["chdir"] or "",
        working_directory=values["working_directory"] or "",
        python=values["python"],
        settings=values["settings"] or "",
        timeout=values["timeout"],
        check_mode=check_mode,
    )


def with_container(project: Project, entrypoint_given: bool) -> Project:
    """With the container to use, and its entry point; without a container where the service's own does not serve as it is described."""
    name = project.service.container if project.service else project.container
    found = _observe.inspect_one(name)
    if project.service and not (found and _is_what_it_would_be(found, project.service)):
        return project
    return in_container(project, name, found, entrypoint_given)


def in_container(project: Project, name: str, found: dict[str, t.Any] | None, entrypoint_given: bool) -> Project:
    """`found` is what the engine knows of the container."""
    if found is None:
        raise EngineError(f"there is no container {name} on this host.")
    if not found["State"].get("Running"):
        raise EngineError(f"the container {name} does not run.")
    entrypoint = project.entrypoint if entrypoint_given else entrypoint_of(found)
    return dataclasses.replace(project, container=name, entrypoint=entrypoint)


def entrypoint_of(found: dict[str, t.Any]) -> tuple[str, ...]:
    """As its spec says, where that has one: the engine knows only the first word of it as such, the rest as the command's."""
    spec = json.loads((found["Config"].get("Labels") or {}).get(_docker_argv.LABEL_SPEC, "{}"))
    return tuple(spec.get("entrypoint") or found["Config"].get("Entrypoint") or ())


def another(project: Project, name: str, entrypoint_given: bool) -> Project:
    """The same project in another container that runs."""
    return in_container(dataclasses.replace(project, service=None), name, _observe.inspect_one(name), entrypoint_given)


def serving(project: Project, entrypoint_given: bool) -> Project | None:
    """The project in the container of the release that serves on this host, where that is another release, and runs."""
    service = project.service
    if not (service and service.release):
        return None
    records, under_way = _release_files.records(service.directory), _release_files.under_way(service.directory)
    last = _release.now(records, under_way)
    if last is None or last.instance == service.instance:
        return None
    try:
        return another(project, dataclasses.replace(service, instance=last.instance).container, entrypoint_given)
    except EngineError:
        return None


def _is_what_it_would_be(found: dict[str, t.Any], service: Service) -> bool:
    """Its engine calls a container healthy half a minute after its start, at the earliest: until then it is asked here."""
    labels = found["Config"].get("Labels") or {}
    if labels.get(_docker_argv.LABEL_INSTANCE) != service.instance:
        return False
    status = (found["State"].get("Health") or {}).get("Status")
    probe = _docker_argv.exec_in(service.container, service.health.command)
    return status == "healthy" or (status == "starting" and run(probe, timeout=service.health.timeout + 1).rc == 0)


def why_unknown(service: Service) -> str:
    """Why nothing can be asked in a container of its own yet; an empty string when it can."""
    if not _observe.image_present(service.image):
        return f"the image {service.image} is not on this host yet"
    sources = [item.source for item in service.mounts] + ([service.secrets_directory] if service.secrets else [])
    missing = [path for path in sources if not os.path.isdir(path)]
    return f"{missing[0]} is not on this host yet" if missing else ""


@contextlib.contextmanager
def as_far_as_there(service: Service) -> t.Iterator[Service]:
    """Without the empty directories that a run would make first, and with its config files, which lie elsewhere for as long as it takes."""
    made = {item.path for item in service.directories}
    mounts = tuple(item for item in service.mounts if item.source not in made or os.path.isdir(item.source))
    if not service.config or _files.version_matches(service.config_directory, service.config_texts, service):
        yield dataclasses.replace(service, mounts=mounts)
        return
    folder = tempfile.mkdtemp(prefix="berth-config-", dir="/var/tmp")
    try:
        version = os.path.join(folder, service.generation)
        _files.write_version(version, service.config_texts, service)
        yield dataclasses.replace(service, config=None, mounts=(*mounts, Mount(version, f"{service.config.path}/current")))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def execute(module: AnsibleModule, work: t.Callable[[Project], dict[str, t.Any]]) -> None:
    """The frame of every django_* module: lock, container, and one clear error. `work` returns the result of the task.

    Uses of `module`: its parameters, check_mode, warn(), exit_json() and fail_json().
    """
    try:
        project = project_of(module.params, module.check_mode)
        with_given = module.params["entrypoint"] is not None
        if module.check_mode:
            module.exit_json(**_predict(project, with_given, work, module.params.get("preview_archive") or ""))
        service = project.service
        with service_lock(service.project, service.name, module.params["holder"]) if service else contextlib.nullcontext("") as waited:
            if waited:
                module.warn(waited)
            module.exit_json(**work(with_container(project, with_given)))
    except CommandFailed as error:
        hint = project.service.hint(str(error)) if project.service else ""
        module.fail_json(msg=str(error) + hint, **error.result)
    except (ValueError, EngineError) as error:
        module.fail_json(msg=str(error))


def _predict(project: Project, with_given: bool, work: t.Callable[[Project], dict[str, t.Any]], archive: str) -> dict[str, t.Any]:
    """Never fails for what is not there yet."""
    image_missing = False
    try:
        if not docker_present():
            raise Unknown("there is no Docker Engine on this host yet")
        try:
            wait_for_engine(0)
            project = with_container(project, with_given)
        except EngineError as error:
            raise Unknown(str(error)) from None
        if not project.service or project.container:
            return work(project)
        with as_far_as_there(project.service) as service:
            project = dataclasses.replace(project, service=service)
            image_missing = not _observe.image_present(service.image)
            if image_missing and archive:
                return _ask_source(project, service, archive, work)
            if reason := why_unknown(service):
                raise Unknown(reason)
            return work(project)
    except Unknown as error:
        told = f"Check mode cannot know: {str(error).rstrip('.')}."
        return dict(changed=False, unknown=[str(error)], msg=told, image_missing=image_missing)


def _ask_source(project: Project, service: Service, archive: str, work: t.Callable[[Project], dict[str, t.Any]]) -> dict[str, t.Any]:
    """The answer holds where the requirements have not changed; where that shows, it is no answer."""
    with previewed(service, archive) as preview:
        reason = why_unknown(preview) if preview else f"the image {service.image} is not built yet, and none serves that could be asked"
        if reason or not preview:
            raise Unknown(reason)
        try:
            result = work(dataclasses.replace(project, service=preview))
        except CommandFailed as error:
            raise Unknown(f"the new source, with the requirements of the release that serves, says: {error}") from None
    caveat = "what new requirements bring: the new source was asked with those of the release that serves"
    return {**result, "unknown": [*result.get("unknown", []), caveat]}
