#!/usr/bin/python
# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_drift
short_description: Ask a host whether anything on it differs from the inventory
description:
  - Asks one host about everything that the roles of this collection keep there, in one module execution, and changes nothing.
    Where no host of a fleet differs, a playbook has nothing left to do, and need not ask role by role.
  - What is asked comes from the variable C(__<role>_drift) of each role whose inventory group the host is in.
  - Never fails for what it finds, or for what it cannot ask. Both are a difference, and the role that is run then says what is the matter.
version_added: 0.2.0
author: berth.django contributors (@berth)
attributes:
  check_mode:
    support: full
    details: Does the same.
  diff_mode:
    support: none
    details: It changes nothing, so there is nothing to show.
notes:
  - The authority that hosts trust, and the certificate of the registry, have to be taken before, on the controller. C(berth.django.drift)
    does, and C(berth.django.site) with it.
options:
  host:
    description: Filled in by the action plugin. What M(berth.django.host) takes.
    type: dict
  services:
    description: Filled in by the action plugin. Services as M(berth.django.container_service) takes them.
    type: list
    elements: dict
    default: []
  project:
    description: Filled in by the action plugin. What M(berth.django.django_drift) takes.
    type: dict
  database:
    description: Filled in by the action plugin. What M(berth.django.postgres_database) takes.
    type: dict
  cluster:
    description: Filled in by the action plugin. What M(berth.django.postgres_cluster) takes.
    type: dict
  archive:
    description: Filled in by the action plugin. The C(container) of a server whose log is archived. Where it is not, there is a warning.
    type: dict
  haproxy:
    description: Filled in by the action plugin. What M(berth.django.haproxy_drain) takes.
    type: dict
  images:
    description: Filled in by the action plugin. The images that are to be on this host (C(here)) and in the registry (C(pushed)).
    type: dict
  holder:
    description: Filled in by the action plugin. Who runs this.
    type: str
    default: unknown
"""

EXAMPLES = r"""
- name: Ask every host whether anything on it differs
  ansible.builtin.import_playbook: berth.django.drift
"""

RETURN = r"""
drifted:
  description: Whether anything differs, or could not be asked.
  type: bool
  returned: success
reasons:
  description: What differs, one phrase each.
  type: list
  elements: str
  returned: success
  sample: ["nginx: reload music-nginx to config 5b1d0c2f7a90"]
"""

import functools
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.berth.django.plugins.module_utils import (
    _companions,
    _django,
    _django_drift,
    _docker_argv,
    _drill,
    _haproxy_drain,
    _host_converge,
    _image_builder,
    _manage,
    _observe,
    _patroni,
    _patroni_converge,
    _plan,
    _postgres_converge,
)
from ansible_collections.berth.django.plugins.module_utils._postgres_psql import psql
from ansible_collections.berth.django.plugins.module_utils._registry import RegistryError
from ansible_collections.berth.django.plugins.module_utils._service_options import SERVICE_ARGUMENT_SPEC
from ansible_collections.berth.django.plugins.module_utils._shell import EngineError, docker_present, run
from ansible_collections.berth.django.plugins.module_utils._spec import Service
from ansible_collections.berth.django.plugins.module_utils._spec_parse import parse

# A file that goes while it is read is another run at work, which the roles wait for.
UNANSWERED = (ValueError, OSError, EngineError, RegistryError, _manage.CommandFailed, _manage.Unknown)
COMPANIONS = dict(type="list", elements="dict", options=SERVICE_ARGUMENT_SPEC, default=[])
GATEWAY = "uwsgi_gateway"
Told = tuple[list[str], list[str]]


def host(wanted: dict[str, t.Any]) -> Told:
    work = _host_converge.converge({**wanted, "defer_disruption": False}, check=True)
    found = [*work.actions, *work.unknown]
    return [f"host: {', '.join(found)}"] if found else [], work.warnings


@functools.cache
def engine() -> _observe.Engine | None:
    """Once for all services: nothing is changed between the questions."""
    return _observe.ask_engine(check_mode=True)


def services(wanted: t.Sequence[dict[str, t.Any]]) -> Told:
    return [reason for each in map(parse, wanted) for reason in service(each, _observe.observe_on(engine(), each))], []


def service(wanted: Service, actual: _plan.Actual) -> list[str]:
    plan = _plan.plan(wanted, actual)
    if all(step.do == "wait_healthy" for step in plan.steps) and (not plan.steps or is_healthy(wanted)):
        return []
    return [f"{wanted.name}: {', '.join(plan.actions) or 'it is not healthy, or not finished'}"]


def is_healthy(wanted: Service) -> bool:
    """Asked by ourselves: to the engine, a container that was just started is not healthy before its first interval is over."""
    return run(_docker_argv.exec_in(wanted.container, wanted.health.command), timeout=wanted.health.timeout + 1).rc == 0


def images(wanted: dict[str, t.Any]) -> Told:
    here, _unknown = _image_builder.missing(wanted["here"], push=False, tolerant=True)
    pushed, _unknown = _image_builder.missing(wanted["pushed"], push=True, tolerant=True)
    return [f"images: {', '.join([*here, *pushed])}"] if here or pushed else [], []


def database(wanted: dict[str, t.Any]) -> Told:
    result = _postgres_converge.converge(wanted, check_mode=True)
    found = [*result["actions"], *result["unknown"]]
    return [f"database: {', '.join(found)}"] if found else [], []


def cluster(wanted: dict[str, t.Any]) -> Told:
    result = _patroni_converge.converge(wanted, check_mode=True)
    found = [*result["actions"], *result["unknown"]]
    # No run mends a member that does not follow, so it is no difference.
    left = _patroni.missing(result["members"], wanted["members"]) if result["members"] else []
    warning = f"the cluster of {wanted['project']} is not whole: {'; '.join(left)}; docs/howto/run-a-database-cluster.md says what to do"
    return [f"cluster: {', '.join(found)}"] if found else [], [warning] if left else []


def archive(wanted: dict[str, t.Any]) -> Told:
    """No run can mend it, so it is no difference."""
    failed = psql(wanted["container"], "postgres", _drill.NOT_ARCHIVED).strip()
    return [], [f"backups: the archive does not take the log of {wanted['container']} {failed}; its log says why"] if failed else []


def haproxy(wanted: dict[str, t.Any]) -> Told:
    return [f"haproxy: {change.sentence}" for change in _haproxy_drain.wanted_changes(wanted["socket"], wanted["config"])], []


def project(wanted: dict[str, t.Any]) -> Told:
    """Its services, too, and what the inventory has closed or taken out."""
    own = parse(wanted["service"])
    companions = _companions.companions(own, wanted["companions"])
    actual = _observe.observe_on(engine(), own)
    differs = [reason for each in companions for reason in service(each, _observe.observe_on(engine(), each))]
    differs += service(own, actual)
    differs += [f"{each.name}: it is to be removed" for each in _companions.left_over(own, companions, actual.companions)]
    differs += [f"{GATEWAY}: it is to be removed"] if GATEWAY in actual.neighbours else []
    if differs:
        return differs, []
    serving = _manage.in_container(
        _manage.project_of(wanted, check_mode=True), own.container, _observe.inspect_one(own.container), entrypoint_given=False
    )
    found, warnings = _django_drift.reasons(serving, wanted)
    return [f"django_uwsgi: {reason}" for reason in found], warnings


QUESTIONS: dict[str, t.Callable[[t.Any], Told]] = {
    "host": host,
    "services": services,
    "images": images,
    "haproxy": haproxy,
    "database": database,
    "cluster": cluster,
    "archive": archive,
    "project": project,
}


def differences(parameters: t.Mapping[str, t.Any]) -> Told:
    """Without an engine, nothing else is asked."""
    reasons: list[str] = []
    warnings: list[str] = []
    for name, ask in QUESTIONS.items():
        try:
            found, warned = ask(parameters[name]) if parameters[name] else ([], [])
        except UNANSWERED as error:
            found, warned = [f"{name}: {error}"], []
        reasons, warnings = [*reasons, *found], [*warnings, *warned]
        if not docker_present():
            break
    return reasons, warnings


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            host=dict(type="dict", options=_host_converge.ARGUMENT_SPEC),
            services=dict(type="list", elements="dict", options=SERVICE_ARGUMENT_SPEC, default=[]),
            project=dict(type="dict", options=dict(**_django.ARGUMENT_SPEC, **_django_drift.ARGUMENT_SPEC, companions=COMPANIONS)),
            database=dict(type="dict", options=_postgres_converge.ARGUMENT_SPEC),
            cluster=dict(type="dict", options=_patroni_converge.ARGUMENT_SPEC),
            archive=dict(type="dict", options=dict(container=dict(type="str", required=True))),
            haproxy=dict(type="dict", options=dict(socket=dict(type="path", required=True), config=dict(type="str", required=True))),
            images=dict(
                type="dict",
                options=dict(here=dict(type="list", elements="str", default=[]), pushed=dict(type="list", elements="str", default=[])),
            ),
            holder=dict(type="str", default="unknown"),
        ),
        supports_check_mode=True,
    )
    reasons, warnings = differences(module.params)
    for warning in warnings:
        module.warn(warning)
    module.exit_json(changed=False, drifted=bool(reasons), reasons=reasons)


if __name__ == "__main__":
    main()
