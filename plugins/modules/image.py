#!/usr/bin/python
# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image
short_description: Build the images that the fleet lacks, and push them
description:
  - Computes on the controller which images the roles want on their hosts, and asks the registry which of them it lacks. That is one module
    execution, and the last one when nothing is missing.
  - What is missing is sent to the builder as a tar (of the project without what its C(.dockerignore) names), built there with BuildKit and
    pushed.
  - A role whose image variable was set to something else is left alone.
  - Certificates and package index are handed to the build as build secrets. They are in no layer, no log and no command line.
version_added: 0.1.0
author: berth.django contributors (@berth)
attributes:
  check_mode:
    support: full
    description: Tells which images would be built and pushed, also on a builder without an engine and before the registry exists.
  diff_mode:
    support: full
    description: The references that would be, or were, built and pushed.
  idempotent:
    support: full
    description: The tag is a digest of everything that goes in. The same input is never built twice.
options:
  roles:
    description:
      - Roles of this collection whose images are wanted.
      - A role with an inventory group of its name is asked for every host of that group, another one for this host.
    type: list
    elements: str
    required: true
  push:
    description: Push to the registry of the reference. Otherwise the images are for the builder itself.
    type: bool
    default: true
  ca_bundle:
    description:
      - File on the controller with the certificates that builds trust.
      - By default what the controller's environment names (E(PIP_CERT), C(cert) of pip's configuration, E(REQUESTS_CA_BUNDLE),
        E(SSL_CERT_FILE)).
    type: path
  pip_index_url:
    description: Package index for builds. By default that of the controller's pip, when it is an http(s) address.
    type: str
  pip_extra_index_urls:
    description: More package indexes for builds. By default those of the controller's pip that are http(s) addresses.
    type: list
    elements: str
  debian_mirror:
    description: Mirror for a base that has to be made by debootstrap.
    type: str
    default: ""
  request:
    description: Filled in by the action plugin.
    type: dict
    default: {}
  holder:
    description: Filled in by the action plugin. Who runs this, for whoever waits for it.
    type: str
    default: unknown
"""

EXAMPLES = r"""
- name: Build what the registry lacks
  berth.django.image:
    roles: [postgres, django_uwsgi, nginx, haproxy]
"""

RETURN = r"""
missing:
  description: References that the registry (or, without push, the builder) lacked.
  returned: success
  type: list
  elements: str
actions:
  description: What was done, or would be, as sentences.
  returned: success
  type: list
  elements: str
unknown:
  description: What check mode could not find out.
  returned: success
  type: list
  elements: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.berth.django.plugins.module_utils import _image_builder, _shell
from ansible_collections.berth.django.plugins.module_utils._registry import RegistryError


def ask(module: AnsibleModule, request: dict[str, t.Any]) -> dict[str, t.Any]:
    missing, unknown = _image_builder.missing(request["ask"], request["push"], tolerant=module.check_mode)
    return dict(changed=False, missing=missing, unknown=unknown)


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            roles=dict(type="list", elements="str", required=True),
            push=dict(type="bool", default=True),
            ca_bundle=dict(type="path"),
            pip_index_url=dict(type="str"),
            pip_extra_index_urls=dict(type="list", elements="str"),
            debian_mirror=dict(type="str", default=""),
            request=dict(type="dict", default={}),
            holder=dict(type="str", default="unknown"),
        ),
        supports_check_mode=True,
    )
    request = module.params["request"]
    try:
        if "ask" in request:
            module.exit_json(**ask(module, request))
        with _shell.service_lock("berth", "images", module.params["holder"], timeout=1800) as waited:
            if waited:
                module.warn(waited)
            try:
                actions = _image_builder.make(request["make"])
            finally:
                _image_builder.forget(request["make"]["folder"])
            module.exit_json(changed=True, actions=actions)
    except (ValueError, RegistryError, _shell.EngineError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
