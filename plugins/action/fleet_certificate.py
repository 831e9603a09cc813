# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fleet's certificate authority on the controller. No host is asked: this action has no module execution."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import typing as t
from pathlib import Path

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.berth.django.plugins.plugin_utils import _certificates
from ansible_collections.berth.django.plugins.plugin_utils._certificates import Pair

ARGUMENTS: dict[str, t.Any] = dict(
    directory=dict(type="path", required=True),
    fleet=dict(type="str", required=True),
    name=dict(type="str", default=""),
    names=dict(type="list", elements="str", default=[]),
    client=dict(type="bool", default=False),
    renew_days=dict(type="int", default=30),
    make=dict(type="bool", default=False),
    trusting=dict(type="list", elements="str", default=[]),
    ca_certificate=dict(type="str", default=""),
    ca_key=dict(type="str", default="", no_log=True),
)


class ActionModule(ActionBase):
    """Makes the authority once, where it may, and a server certificate when there is none, or when it ends soon, or has other names."""

    _requires_connection = False

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        _result, options = self.validate_argument_spec(argument_spec=ARGUMENTS, required_by={"ca_key": ["ca_certificate"]})
        name, names = options["name"], list(dict.fromkeys(options["names"]))
        if name and not (re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name) and names):
            raise AnsibleActionFail(f"fleet_certificate: the certificate {name!r} needs a plain name, and names to be valid for.")
        directory = Path(options["directory"])
        with self._alone(directory):
            try:
                return self._converge(directory, options, name, names)
            except OSError as error:
                raise AnsibleActionFail(f"the fleet's certificates in {directory} cannot be kept: {error}") from None

    @contextlib.contextmanager
    def _alone(self, directory: Path) -> t.Iterator[None]:
        """Every host of a play asks at the same time, and there is to be one authority."""
        place = self._written_to(directory)
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(place / ".lock", os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _written_to(self, directory: Path) -> Path:
        """What check mode makes is there until the run ends: the roles that follow are to find what they would find."""
        return Path(constants.DEFAULT_LOCAL_TMP, "berth-check", *directory.parts[1:]) if self._task.check_mode else directory

    def _converge(self, directory: Path, options: dict[str, t.Any], name: str, names: list[str]) -> dict[str, t.Any]:
        actions: list[str] = []
        ca = self._authority(directory, options, actions, needs_key=bool(name))
        result: dict[str, t.Any] = dict(ca=ca.certificate)
        if name:
            pair = self._read(directory, f"issued/{name}")
            why = _certificates.why_not(ca, pair, names, options["renew_days"], client=options["client"]) if pair else "there is none"
            if pair is None or why:
                pair = _certificates.issue(ca, names, client=options["client"])
                actions.append(f"issued the certificate {name} for {', '.join(names)}, since {why}")
                self._write(directory, f"issued/{name}", pair)
            result.update(certificate=pair.certificate, key=pair.key)
        diff = dict(before="", after="".join(f"{action}\n" for action in actions))
        return {**result, "changed": bool(actions), "actions": actions, **({"diff": diff} if actions else {})}

    def _authority(self, directory: Path, options: dict[str, t.Any], actions: list[str], needs_key: bool) -> Pair:
        given = Pair(options["ca_certificate"], options["ca_key"])
        if given.certificate and not given.key and not needs_key:
            return given
        ca = given if given.certificate else self._read(directory, "ca")
        if ca is None:
            self._refuse_another(directory, options)
            ca = _certificates.make_ca(options["fleet"])
            actions.append(f"made the certificate authority of the fleet {options['fleet']}")
            self._write(directory, "ca", ca)
        try:
            _certificates.check_ca(ca)
        except ValueError as error:
            where = "in berth_ca_certificate and berth_ca_key" if given.certificate else f"in {directory}"
            raise AnsibleActionFail(f"the fleet's certificate authority {where} is of no use: {error}.") from None
        return ca

    @staticmethod
    def _refuse_another(directory: Path, options: dict[str, t.Any]) -> None:
        """Made where it is only missing, an authority would give the registry a certificate that no host trusts."""
        fleet, hosts = options["fleet"], ", ".join(options["trusting"])
        way_out = f"bring its ca.pem and ca.key to {directory} (in berth_state), or set berth_ca_certificate and berth_ca_key"
        if not options["make"]:
            raise AnsibleActionFail(f"the certificate authority of the fleet {fleet} is not here, and only site.yml makes one: {way_out}.")
        if hosts:
            raise AnsibleActionFail(
                f"the certificate authority of the fleet {fleet} is not here, and {hosts} trust it already: {way_out}, "
                "or have another one made that every host trusts from then on, with -e replace_registry_ca=true."
            )

    def _read(self, directory: Path, name: str) -> Pair | None:
        for place in (directory, self._written_to(directory)):
            certificate, key = place / f"{name}.pem", place / f"{name}.key"
            if certificate.is_file() and key.is_file():
                return Pair(certificate.read_text(encoding="utf-8"), key.read_text(encoding="utf-8"))
        return None

    def _write(self, directory: Path, name: str, pair: Pair) -> None:
        path = self._written_to(directory) / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # The key first: a certificate without its key would be taken for none, and so would a key alone.
        for suffix, text, mode in ((".key", pair.key, 0o600), (".pem", pair.certificate, 0o644)):
            staging = path.with_name(f".{path.name}{suffix}")
            with open(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
                file.write(text)
            staging.replace(path.with_name(f"{path.name}{suffix}"))
