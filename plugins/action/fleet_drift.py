# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller's side of fleet_drift: what every role of a host would ask there, put into one question."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.berth.django.plugins.plugin_utils import _builds
from ansible_collections.berth.django.plugins.plugin_utils._on_host import run_module

MODULE = "berth.django.fleet_drift"
# group -> role, on top of `host` on all of them
ROLES = {"builder": "image", "postgres": "postgres", "django_uwsgi": "django_uwsgi", "nginx": "nginx", "haproxy": "haproxy"}


class ActionModule(ActionBase):
    """One module execution on a host, or none where it shows already that something differs."""

    _requires_connection = True

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        roles = ["host", *(role for group, role in ROLES.items() if group in task_vars["group_names"])]
        declared = [self._declared(role, task_vars) for role in roles]
        known = [reason for each in declared if (reason := each.pop("differs", ""))]
        host = task_vars["inventory_hostname"]
        if known:
            return told(host, dict(changed=False, drifted=True, reasons=known))
        question: dict[str, t.Any] = {"services": [service for each in declared for service in each.pop("services", [])]}
        for each in declared:
            question.update({key: value for key, value in each.items() if value})
        for where, roles in question.get("images", {}).items():
            question["images"][where] = sorted(_builds.wanted(roles, task_vars, self._loader, self._templar))
        return told(host, run_module(self, task_vars, MODULE, question))

    def _declared(self, role: str, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """What the role declares as `__<role>_drift`, evaluated as the role would on this host."""
        known = _builds.variables_of(role, task_vars, self._loader)
        known["ansible_search_path"] = [known["role_path"], *task_vars.get("ansible_search_path", [])]
        scope = self._templar.copy_with_new_env(available_variables=known)
        # Looked up once, and not again wherever its name is used.
        known.update({name: scope.template(known[name]) for name in (f"{role}_image",) if name in known})
        return dict(scope.template(known[f"__{role}_drift"]))


def told(host: str, result: dict[str, t.Any]) -> dict[str, t.Any]:
    """Without -v nobody sees what a result holds."""
    for reason in result.get("reasons", []):
        Display().display(f"{host} differs: {reason}")
    return result
