# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""A plan that is being carried out: what its steps share."""

from __future__ import annotations

import shutil
import typing as t
from dataclasses import dataclass, field

from ansible_collections.berth.django.plugins.module_utils import _docker_argv as argv_of
from ansible_collections.berth.django.plugins.module_utils._plan import Actual, aside_name
from ansible_collections.berth.django.plugins.module_utils._python_errors import condensed
from ansible_collections.berth.django.plugins.module_utils._shell import run
from ansible_collections.berth.django.plugins.module_utils._spec import Service

# Of a log: what is read, and what is shown of it when its stacks are condensed.
LOG_LINES = 200
SHOWN_LINES = 30


@dataclass
class Execution:
    """One plan being carried out: what was observed, how to undo what was done so far, what to tell."""

    service: Service
    actual: Actual
    by: str = ""
    run: str = ""
    undo: list[t.Callable[[], None]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    committed: bool = False


# What takes one step, given what it acts on.
Step = t.Callable[[Execution, str], None]


def end_of_log(container: str, explained: str = "") -> str:
    """With its heading, and what a question about the failure brought to light above it."""
    told: set[str] = set()
    above = condensed(explained.splitlines(), told)
    log = condensed((run(argv_of.logs(container, LOG_LINES)).text or "(it wrote nothing)").splitlines(), told)
    return "\n".join([*above, "The end of its own log:", *log[-SHOWN_LINES:]])


def instance_of(execution: Execution, name: str) -> str:
    return next((item.instance for item in execution.actual.containers if name in (item.name, aside_name(item.name))), "")


def remove_directories(service: Service, instance: str) -> None:
    for item in service.directories:  # directories of one instance go with it
        if instance and service.instance in item.path:
            shutil.rmtree(item.path.replace(service.instance, instance), ignore_errors=True)
