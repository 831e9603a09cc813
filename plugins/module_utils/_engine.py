# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Takes the steps of a plan. With them (`_steps_*`), `_observe`, `_shell` and `_files`, the only code that touches the host.

Every step that can hurt leaves behind how to undo it; when a later one fails, they are undone in reverse, and the error says both
what failed and what runs now.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from ansible_collections.berth.django.plugins.module_utils import _files, _steps_container, _steps_prepare, _steps_release
from ansible_collections.berth.django.plugins.module_utils._execution import Execution
from ansible_collections.berth.django.plugins.module_utils._observe import inspect_all, is_ours, observe
from ansible_collections.berth.django.plugins.module_utils._plan import Actual, Plan
from ansible_collections.berth.django.plugins.module_utils._plan import plan as make_plan
from ansible_collections.berth.django.plugins.module_utils._shell import EngineError, wait_for_engine
from ansible_collections.berth.django.plugins.module_utils._spec import Service

STEPS = {**_steps_prepare.STEPS, **_steps_container.STEPS, **_steps_release.STEPS}


def stage(service: Service) -> None:
    """Brings image, networks, directories, config and secrets of `service` to the host, and touches nothing that runs.

    For one-off containers (the django_* modules), which may come before the service itself.
    """
    actual = observe(service)
    quiet = ("pull", "network", "directory", "secrets", "config")
    execute(service, actual, Plan(steps=tuple(step for step in make_plan(service, actual, "ship").steps if step.do in quiet)))


def execute(service: Service, actual: Actual, plan: Plan, by: str = "", run: str = "") -> list[str]:
    """Takes the steps of `plan` in order, on behalf of `by` (words for people) and `run` (its identity), and returns notes.

    Raises :class:`EngineError` after undoing what had been done.
    """
    execution = Execution(service, actual, by, run)
    try:
        for step in plan.steps:
            STEPS[step.do](execution, step.target)
    except Exception as error:  # whatever it is, what was begun is taken back
        raise EngineError("\n".join([str(error) + service.hint(str(error)), *_undo(execution)])) from error
    if plan.steps:
        _prune(service)
    return execution.notes


def _undo(execution: Execution) -> list[str]:
    """Takes everything back, the last first; one failure does not keep the rest from being undone."""
    if execution.committed:
        return ["The new container serves; the next run removes what is left of the old one."]
    told = []
    if execution.undo:
        with contextlib.suppress(EngineError):  # what cannot be undone says so below
            wait_for_engine()
    for action in reversed(execution.undo):
        try:
            action()
        except (EngineError, OSError) as error:
            told.append(f"Undoing it failed too: {error}")
    if told:
        return [*told, "Look at the host, and run this again: it continues from what it finds."]
    running = [item.name for item in execution.actual.containers if item.running]
    told.append(f"What ran before runs on: {', '.join(running)}." if running else "Nothing of this service ran before.")
    return told


def _prune(service: Service) -> None:
    in_use = {service.generation, service.secrets_version, _files.link_target(f"{service.config_root}/current")}
    for found in inspect_all():
        if is_ours(found, service):
            in_use |= {Path(item["Source"]).name for item in found.get("Mounts") or ()}
    _files.prune_versions(service.config_root, in_use)
    _files.prune_versions(f"{service.directory}/secrets", in_use)
