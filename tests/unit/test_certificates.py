# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet's certificate authority: what it issues is trusted, and issued anew when and only when that is needed."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible_collections.berth.django.plugins.action import fleet_certificate
from ansible_collections.berth.django.plugins.plugin_utils import _certificates
from cryptography import x509

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
NAMES = ["10.1.2.3", "registry.example.com"]


@pytest.fixture(scope="module")
def ca() -> _certificates.Pair:
    return _certificates.make_ca("lab", NOW)


def test_what_is_issued(ca: _certificates.Pair) -> None:
    certificate = x509.load_pem_x509_certificate(_certificates.issue(ca, NAMES, NOW).certificate.encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(item.value) for item in names] == NAMES
    assert (certificate.not_valid_after_utc - NOW).days == _certificates.DAYS
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(ca.certificate.encode()))


@pytest.mark.parametrize(
    ("names", "days", "expected"),
    [
        (NAMES, 0, ""),
        (NAMES[::-1], 0, ""),
        (NAMES[:1], 0, "its names differ"),
        (NAMES, 360, ""),
        (NAMES, 370, "it ends on 2027-02-02"),
    ],
)
def test_why_not(ca: _certificates.Pair, names: list[str], days: int, expected: str) -> None:
    pair = _certificates.issue(ca, NAMES, NOW)
    assert _certificates.why_not(ca, pair, names, 30, NOW + datetime.timedelta(days=days)) == expected


def test_another_authority_and_garbage(ca: _certificates.Pair) -> None:
    foreign = _certificates.issue(_certificates.make_ca("other", NOW), NAMES, NOW)
    garbage = _certificates.Pair("x", "y")
    for pair in (foreign, garbage):
        assert _certificates.why_not(ca, pair, NAMES, 30, NOW) == "it is not from the fleet's certificate authority"


def test_a_given_authority_is_checked(ca: _certificates.Pair) -> None:
    _certificates.check_ca(ca)
    other = _certificates.make_ca("other", NOW)
    server = _certificates.issue(ca, NAMES, NOW)
    for pair, message in (
        (_certificates.Pair(ca.certificate, other.key), "do not belong together"),
        (server, "not one of a certificate authority"),
        (_certificates.Pair("x", ca.key), "cannot be read"),
    ):
        with pytest.raises(ValueError, match=message):
            _certificates.check_ca(pair)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The controller's directory; what check mode keeps until the run ends is beside it."""
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path / "run"))
    return tmp_path / "ca"


def take(state: Path, check: bool = False, **options: Any) -> dict[str, Any]:
    task = MagicMock(args={"directory": str(state), "fleet": "lab", **options}, async_val=0, check_mode=check)
    action = fleet_certificate.ActionModule(task, MagicMock(), MagicMock(), MagicMock(), MagicMock(), MagicMock())
    return action.run(task_vars={})


def test_authority_is_made_once_where_it_may(state: Path) -> None:
    made = take(state, make=True)
    assert made["changed"] and made["actions"] == ["made the certificate authority of the fleet lab"]
    assert take(state, make=True, trusting=["web1"]) == dict(ca=made["ca"], changed=False, actions=[])
    issued = take(state, name="registry", names=NAMES)
    assert issued["ca"] == made["ca"] and issued["changed"] and not take(state, name="registry", names=NAMES)["changed"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "registry", "names": NAMES}, r"fleet lab is not here, and only site\.yml makes one"),
        (
            {"make": True, "trusting": ["web1", "web2"]},
            r"fleet lab is not here, and web1, web2 trust it already.* -e replace_registry_ca=true",
        ),
    ],
    ids=["in a deploy", "where hosts trust another"],
)
@pytest.mark.parametrize("check", [False, True])
def test_missing_authority_is_not_made(state: Path, check: bool, options: dict[str, Any], words: str) -> None:
    with pytest.raises(AnsibleActionFail, match=words) as refused:
        take(state, check, **options)
    assert "berth_state" in str(refused.value) and "berth_ca_certificate and berth_ca_key" in str(refused.value)
    assert not list(state.parent.rglob("*.key"))


def test_given_authority_needs_no_other(state: Path, ca: _certificates.Pair) -> None:
    assert take(state, ca_certificate=ca.certificate, ca_key=ca.key, name="registry", names=NAMES)["ca"] == ca.certificate
    assert not (state / "ca.pem").exists()


def test_check_finds_for_the_rest_of_the_run_what_it_would_have_made(state: Path) -> None:
    made = take(state, check=True, make=True)
    assert made["changed"] and not state.exists()
    issued = take(state, check=True, name="registry", names=NAMES)
    assert issued["ca"] == made["ca"] and not state.exists()
