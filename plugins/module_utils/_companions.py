# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Services that are released together with another one: workers beside the web server's uWSGI, from the same image.

Each stage is taken for all of them before the next begins, the companions first, so that a worker that cannot run stops a release before
visitors see any of it. A companion that the inventory has no more is removed when the release has retired the one before.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.berth.django.plugins.module_utils import _docker_argv as argv_of
from ansible_collections.berth.django.plugins.module_utils import _observe
from ansible_collections.berth.django.plugins.module_utils._shell import docker_present
from ansible_collections.berth.django.plugins.module_utils._spec import BeforeStop, Service
from ansible_collections.berth.django.plugins.module_utils._spec_parse import parse

# On a companion's container: whose it is, and where its files are, for when nothing else says it any more.
LABEL_OF = "berth.companion-of"
LABEL_DIRECTORY = "berth.directory"


def companions(service: Service, wanted: t.Iterable[dict[str, t.Any]]) -> list[Service]:
    """`wanted` as in the ``companions`` option."""
    found = [parse({**each, "labels": {**(each.get("labels") or {}), **_labels(service, each)}}) for each in wanted]
    for each in found:
        if (each.project, each.fleet) != (service.project, service.fleet):
            raise ValueError(f"the companion {each.name} is of {each.project} in {each.fleet}, and {service.name} is not.")
    names = [service.name, *(each.name for each in found)]
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice:
        raise ValueError(f"two services that are released together are named {twice}.")
    return found


def _labels(service: Service, companion: dict[str, t.Any]) -> dict[str, str]:
    return {LABEL_OF: service.name, LABEL_DIRECTORY: companion["directory"].rstrip("/")}


def left_over(service: Service, wanted: t.Iterable[Service]) -> list[Service]:
    """Companions that have a container here and are not wanted any more, as far as they have to be known to be removed."""
    names = {each.name for each in wanted}
    there = map(_observe.labels_of, _observe.inspect_all() if docker_present() else ())
    found = {
        labels[argv_of.LABEL_SERVICE]: labels[LABEL_DIRECTORY]
        for labels in there
        if (labels.get(argv_of.LABEL_PROJECT), labels.get(LABEL_OF)) == (service.project, service.name)
    }
    return [_bare(service, name, directory) for name, directory in sorted(found.items()) if name not in names]


def _bare(service: Service, name: str, directory: str) -> Service:
    return dataclasses.replace(
        service,
        name=name,
        directory=directory,
        config=None,
        secrets={},
        directories=(),
        switch=(),
        release=None,
        before_stop=BeforeStop(),
    )
