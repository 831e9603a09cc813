# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet's certificate authority: what it issues is trusted, and issued anew when and only when that is needed."""

from __future__ import annotations

import datetime

import pytest
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
