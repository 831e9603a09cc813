# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""The fleet's own certificate authority, and server certificates from it, as PEM texts. Reads and writes no file.

Uses `cryptography`, which every controller has: ansible-core depends on it.
"""

from __future__ import annotations

import datetime
import ipaddress
import typing as t
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS = 3650
# Browsers and operating systems refuse server certificates that are valid for longer than 398 days.
DAYS = 397
CLOCK_SKEW = datetime.timedelta(hours=1)


@dataclass(frozen=True)
class Pair:
    certificate: str
    key: str


def make_ca(fleet: str, now: datetime.datetime | None = None) -> Pair:
    now = now or _now()
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"{fleet} fleet CA")
    certificate = (
        _builder(name, name, key.public_key(), now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _as_pair(certificate, key)


def issue(ca: Pair, names: t.Sequence[str], now: datetime.datetime | None = None, client: bool = False) -> Pair:
    """A server certificate for host names and addresses; the first one is the common name. With `client`, it also opens connections."""
    now = now or _now()
    ca_certificate, ca_key = _load(ca)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_name(names[0]), ca_certificate.subject, key.public_key(), now, DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True, key_encipherment=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_purposes(client)), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_certificate.public_key()), critical=False)  # type: ignore[arg-type]
        .sign(ca_key, hashes.SHA256())
    )
    return _as_pair(certificate, key)


def why_not(
    ca: Pair, pair: Pair, names: t.Sequence[str], renew_days: int, now: datetime.datetime | None = None, client: bool = False
) -> str:
    """Why a certificate has to be issued anew; empty when it is fine."""
    now = now or _now()
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
        ca_certificate = x509.load_pem_x509_certificate(ca.certificate.encode())
        certificate.verify_directly_issued_by(ca_certificate)
    except Exception:  # unreadable, or another issuer: either way, only a new one helps
        return "it is not from the fleet's certificate authority"
    if certificate.not_valid_after_utc - now < datetime.timedelta(days=renew_days):
        return f"it ends on {certificate.not_valid_after_utc:%Y-%m-%d}"
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if set(found) != {_general_name(name) for name in names}:
        return "its names differ"
    if set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) != set(_purposes(client)):
        return "it is for another purpose"
    return ""


def check_ca(ca: Pair) -> None:
    """``ValueError`` unless the two belong together and may sign."""
    try:
        certificate, key = _load(ca)
    except Exception as error:
        raise ValueError(f"it cannot be read: {error}") from None
    if certificate.public_key() != key.public_key():
        raise ValueError("certificate and key do not belong together")
    if not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
        raise ValueError("the certificate is not one of a certificate authority")


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(subject: x509.Name, issuer: x509.Name, key: t.Any, now: datetime.datetime, days: int) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _purposes(client: bool) -> list[x509.ObjectIdentifier]:
    return [ExtendedKeyUsageOID.SERVER_AUTH, *([ExtendedKeyUsageOID.CLIENT_AUTH] if client else [])]


def _usage(**allowed: bool) -> x509.KeyUsage:
    every = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in every})


def _load(pair: Pair) -> tuple[x509.Certificate, t.Any]:
    return x509.load_pem_x509_certificate(pair.certificate.encode()), serialization.load_pem_private_key(pair.key.encode(), None)


def _as_pair(certificate: x509.Certificate, key: t.Any) -> Pair:
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode(),
    )
