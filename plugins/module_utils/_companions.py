# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Services that are released together with another one: workers beside the web server's uWSGI, from the same image.

Each stage is taken for all of them, the companions first, so that a worker that cannot run stops a release before visitors see any of it.
The way back begins with the service that visitors wait for. A companion that is not wanted any more goes when the release has retired
the one before.
"""

from __future__ import annotations

import dataclasses
import shutil
import typing as t

from ansible_collections.berth.django.plugins.module_utils import _docker_argv as argv_of
from ansible_collections.berth.django.plugins.module_utils import _release, _release_files
from ansible_collections.berth.django.plugins.module_utils._plan import Companion
from ansible_collections.berth.django.plugins.module_utils._spec import BeforeStop, Service
from ansible_collections.berth.django.plugins.module_utils._spec_parse import parse


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
    return {argv_of.LABEL_COMPANION_OF: service.name, argv_of.LABEL_DIRECTORY: companion["directory"].rstrip("/")}


def came_later(service: Service, companion: Service) -> bool:
    """A worker that came with a later release is no part of the one that is gone back to, whose image may know nothing of it.

    A host that joined after that release knows nothing of either, and gets both.
    """
    return served(service) and not served(companion)


def served(service: Service) -> bool:
    """Whether it is on record that its release served here."""
    records = _release_files.records(service.directory)
    return any((item.release, item.outcome) == (service.release and service.release.id, _release.SERVES) for item in records)


def left_over(service: Service, wanted: t.Iterable[Service], there: t.Iterable[Companion]) -> list[Service]:
    """Companions that have a container here and are not wanted any more, as far as they have to be known to be removed."""
    names = {each.name for each in wanted}
    return [_bare(service, each) for each in sorted(set(there), key=lambda each: each.name) if each.name not in names]


def _bare(service: Service, companion: Companion) -> Service:
    return dataclasses.replace(
        service,
        **dataclasses.asdict(companion),
        config=None,
        secrets={},
        directories=(),
        switch=(),
        release=None,
        before_stop=BeforeStop(),
    )


def erase(companion: Service) -> None:
    """What it has on record, too: should it come back, it begins anew."""
    shutil.rmtree(companion.directory, ignore_errors=True)
