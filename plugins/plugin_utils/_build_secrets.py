# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""The certificates and the package index that builds need, found where the controller's own pip finds them.

In a network that re-signs TLS, or that has a package index of its own, the controller could not have installed Ansible without them.
Addresses of the controller's own disk (``file:``) mean nothing on the builder and are left out.
"""

from __future__ import annotations

import configparser
import sys
import typing as t
from pathlib import Path

# Where an operator adds certificates to the system's bundle. Empty, the bundle of the image is as good as ours.
LOCAL_CERTIFICATES = "/usr/local/share/ca-certificates"
SYSTEM_PIP = "/etc/pip.conf"
SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def pip_settings(environment: t.Mapping[str, str]) -> dict[str, str]:
    """The ``[global]`` section of pip's configuration files, later ones over earlier ones, under pip's environment variables."""
    home = Path(environment.get("HOME", "/root"))
    own = environment.get("PIP_CONFIG_FILE")
    files = [Path(SYSTEM_PIP), home / ".pip/pip.conf", home / ".config/pip/pip.conf", Path(sys.prefix) / "pip.conf"]
    files += [Path(own)] if own else []
    settings: dict[str, str] = {}
    for file in files:
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError):
            continue
        if parser.has_section("global"):
            settings.update(parser["global"])
    for name in ("cert", "index-url", "extra-index-url", "trusted-host"):
        value = environment.get("PIP_" + name.upper().replace("-", "_"))
        if value:
            settings[name] = value
    return settings


def ca_bundle(chosen: str | None, environment: t.Mapping[str, str]) -> str:
    """Path of the bundle on the controller, or nothing. A file that was named explicitly has to be there."""
    if chosen:
        path = Path(chosen).expanduser()
        if not path.is_file():
            raise ValueError(f"image_ca_bundle: there is no file {path} on the controller.")
        return str(path)
    named = [pip_settings(environment).get("cert"), environment.get("REQUESTS_CA_BUNDLE"), environment.get("SSL_CERT_FILE")]
    if Path(LOCAL_CERTIFICATES).is_dir() and any(Path(LOCAL_CERTIFICATES).rglob("*.crt")):
        named.append(SYSTEM_BUNDLE)
    return next((path for path in named if path and Path(path).is_file()), "")


def pip_conf(index: str | None, extra: t.Sequence[str] | None, environment: t.Mapping[str, str]) -> str:
    """The text of the pip.conf that builds use, empty where the public index is meant."""
    settings = pip_settings(environment)
    index = index or _addresses(settings.get("index-url", ""))
    extras = " ".join(extra) if extra is not None else _addresses(settings.get("extra-index-url", ""))
    values = {"index-url": index, "extra-index-url": extras}
    if not any(values.values()):
        return ""
    values["trusted-host"] = " ".join(settings.get("trusted-host", "").split())
    return "[global]\n" + "".join(f"{key} = {value}\n" for key, value in values.items() if value)


def _addresses(text: str) -> str:
    return " ".join(word for word in text.split() if word.startswith(("http://", "https://")))
