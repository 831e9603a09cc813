# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluate every host's inputs on the controller, and refuse an inventory before anything is touched.

Runs no module and opens no connection. The rules are in module_utils/_inventory.py; here is only where the values come from: the roles'
argument specs say what there is to look at, the inventory and the roles' defaults say what it is.
"""

from __future__ import annotations

import copy
import typing as t
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.action import ActionBase
from ansible_collections.berth.django.plugins.module_utils._inventory import Role, merged, problems

ROLES = Path(__file__).resolve().parents[2] / "roles"
# group -> role whose inputs its hosts give
GROUPS = {
    "builder": "image",
    "etcd": "etcd",
    "pgbackrest": "pgbackrest",
    "postgres": "postgres",
    "pgbouncer": "pgbouncer",
    "django_uwsgi": "django_uwsgi",
    "nginx": "nginx",
    "haproxy": "haproxy",
}
SINGLE = ("image",)  # roles


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _validated, arguments = self.validate_argument_spec({"groups": {"type": "list", "elements": "str", "default": list(GROUPS)}})
        wanted: list[str] = arguments["groups"]
        groups = {name: list(hosts) for name, hosts in task_vars["groups"].items()}
        hosts = list(dict.fromkeys(host for group in wanted for host in groups.get(group, [])))

        roles: list[Role] = []
        misfits: list[tuple[str, str]] = []
        addresses: dict[str, t.Any] = {}
        machines: dict[str, str] = {}
        elsewhere: dict[str, str] = {}
        for host in hosts:
            variables = {**task_vars["hostvars"].raw_get(host), "hostvars": task_vars["hostvars"], "groups": task_vars["groups"]}
            addresses[host] = self._address(variables)
            machines[host] = self._machine(host, variables)
            elsewhere = {**dict.fromkeys(sorted(self._names(variables, "berth_elsewhere")), host), **elsewhere}
            for group in wanted:
                if host in groups.get(group, []) and group in GROUPS:
                    role = self._role(GROUPS[group], host, variables)
                    roles.append(role)
                    misfits += type_problems(role)
        found = problems(groups, wanted, SINGLE, addresses, machines, roles, elsewhere)
        found += merged(misfits)
        result["changed"] = False
        if found:
            count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
            listed = "\n".join(f"- {line}" for line in found)
            result.update(failed=True, msg=f"The inventory has {count}, and nothing was touched:\n{listed}")
        return result

    def _address(self, variables: dict[str, t.Any]) -> t.Any:
        try:
            return self._evaluate(variables, "berth_address")
        except AnsibleError as error:
            return f"(cannot be evaluated: {first_line(error)})"

    def _machine(self, host: str, variables: dict[str, t.Any]) -> str:
        """How the host is reached: the same for two hosts of the inventory that are one machine."""
        try:
            way = [self._evaluate(variables, name) for name in ("ansible_host", "ansible_port")]
        except AnsibleError:
            return host
        return ":".join(map(str, way)) if way[0] else host

    def _role(self, name: str, host: str, variables: dict[str, t.Any]) -> Role:
        """The inputs that the inventory sets, and those defaults that lead to a variable of the inventory."""
        options = load(ROLES / name / "meta" / "argument_specs.yml").get("argument_specs", {}).get("main", {}).get("options", {})
        defaults = load(ROLES / name / "defaults" / "main.yml")
        space = {**defaults, **variables}
        values: dict[str, t.Any] = {}
        failed: dict[str, str] = {}
        for option in options:
            if option in variables or (option in defaults and needed(option, options[option])):
                try:
                    values[option] = self._evaluate(space, option)
                except AnsibleError as error:
                    failed[option] = first_line(error)
        accepted = self._names(variables, "berth_accepted_weak_secrets")
        return Role(host, name, options, values, frozenset(variables), frozenset(defaults), failed, accepted)

    def _names(self, variables: dict[str, t.Any], variable: str) -> frozenset[str]:
        """A list of names that the inventory may set for the whole fleet. It is empty where that cannot be evaluated."""
        try:
            given = self._evaluate(variables, variable) or []
        except AnsibleError:
            given = []
        return frozenset([given] if isinstance(given, str) else map(str, given))

    def _evaluate(self, variables: dict[str, t.Any], name: str) -> t.Any:
        if name not in variables:
            return None
        return self._templar.copy_with_new_env(available_variables=variables).template(variables[name])


def needed(name: str, option: dict[str, t.Any]) -> bool:
    """Whether a rule looks at this input even where the inventory leaves it to the role."""
    looked_at = ("_project", "_registry", "_registry_address", "_source", "_upstream", "_listen", "django_uwsgi_media")
    return bool(option.get("no_log")) or name.endswith(looked_at)


def type_problems(role: Role) -> list[tuple[str, str]]:
    """What the role's own argument validation would say later, when other roles had already changed hosts."""
    spec = {name: {**option, "required": False} for name, option in role.options.items() if name in role.values}
    values = {name: copy.deepcopy(value) for name, value in role.values.items() if name in spec and value is not None}
    messages = ArgumentSpecValidator(spec).validate(values).error_messages
    # Unknown keys are told already, with a guess at what was meant.
    told = [message for message in messages if "Supported parameters include" not in message]
    return [(role.host, f"On host {role.host}, {message.rstrip('.')}.") for message in told]


def load(path: Path) -> dict[str, t.Any]:
    """A YAML file of the collection, its strings trusted as templates; an empty dict where there is none."""
    if not path.is_file():
        return {}
    return DataLoader().load_from_file(str(path), trusted_as_template=True) or {}


def first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") + "."
