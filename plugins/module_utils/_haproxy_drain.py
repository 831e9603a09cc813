# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Asks a running HAProxy which of its servers are to be drained, or taken back. The rules are in ``_haproxy.py``."""

from __future__ import annotations

import os

from ansible_collections.berth.django.plugins.module_utils import _haproxy, _observe, _shell
from ansible_collections.berth.django.plugins.module_utils._spec import Probe


def ask(path: str, question: str) -> str:
    outcome = _observe.ask(Probe(socket=path, send=question), "")
    if outcome.rc != 0:
        raise _shell.EngineError(f"HAProxy does not answer: {outcome.text}")
    return outcome.out


def servers(path: str) -> list[_haproxy.Server]:
    return _haproxy.servers(ask(path, "show stat\n"))


def wanted_changes(path: str, config: str) -> list[_haproxy.Change]:
    # What a container that is gone left behind is a socket that nobody answers on.
    if not os.path.exists(path) or _observe.ask(Probe(socket=path, send="show info\n"), "").rc != 0:
        return []
    return _haproxy.changes(config, servers(path))
