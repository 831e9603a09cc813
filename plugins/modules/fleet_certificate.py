#!/usr/bin/python
# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_certificate
short_description: A server certificate from the fleet's own authority
description:
  - Makes a certificate authority for the fleet once, on the controller, and issues server certificates from it.
  - Where there is none, one is made with O(make) only. Hosts that trust the one that is missing would trust nothing from another one.
  - A certificate is issued anew when it ends soon, when its names change, or when the authority changed.
  - Runs on the controller only, no host is asked.
version_added: 0.1.0
author: berth.django contributors (@berth)
attributes:
  check_mode:
    support: full
    description: >-
      Keeps nothing. Certificates that are not there yet are made for the rest of the run, so that later tasks have a value of the right
      form.
  diff_mode:
    support: full
    description: Names what would be, or was, made.
  idempotent:
    support: full
    description: Returns what is there as long as it is good.
options:
  directory:
    description: Directory on the controller, kept with mode 0700.
    type: path
    required: true
  fleet:
    description: Name of the fleet, for the authority's name.
    type: str
    required: true
  name:
    description: Name of the certificate's files. Without it, only the authority is made or returned.
    type: str
    default: ""
  names:
    description: Host names and addresses that the certificate is valid for.
    type: list
    elements: str
    default: []
  client:
    description: Whether it is good for connections to others, too, and not for those from others alone.
    type: bool
    default: false
    version_added: 0.2.0
  renew_days:
    description: A certificate that ends within this many days is issued anew.
    type: int
    default: 30
  make:
    description: Whether the authority is made where there is none. It is an error otherwise.
    type: bool
    default: false
  trusting:
    description: Hosts that trust an authority of the fleet already. No other one is made as long as there are any.
    type: list
    elements: str
    default: []
  ca_certificate:
    description: Certificate (PEM) of an authority that is used in place of the fleet's own.
    type: str
    default: ""
  ca_key:
    description: Its private key (PEM).
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Take a certificate for the registry
  berth.django.fleet_certificate:
    directory: "{{ berth_state }}/ca"
    fleet: "{{ berth_fleet }}"
    name: registry
    names: ["{{ berth_address }}"]
  no_log: true
  register: __image_certificate
"""

RETURN = r"""
ca:
  description: The authority's certificate (PEM).
  returned: success
  type: str
certificate:
  description: The server certificate (PEM).
  returned: if O(name) was given
  type: str
key:
  description: Its private key (PEM).
  returned: if O(name) was given
  type: str
actions:
  description: What was made, or would be, as sentences.
  returned: success
  type: list
  elements: str
"""

# The action plugin of the same name does the work: this file is its documentation.
