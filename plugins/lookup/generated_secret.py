# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: generated_secret
author: berth.django contributors (@berth)
short_description: A secret that is made when it is first asked for, and kept in a file on the controller
version_added: 0.1.0
description:
  - Returns what the file holds; where there is none, makes letters and digits at random and writes them there, with mode 0600.
  - In check mode nothing is written. A secret that does not exist yet is then another one each time.
  - Meant for labs. The secrets of real hosts belong into a vault.
options:
  _terms:
    description: Paths of files.
    required: true
  length:
    description: How many characters a new secret has.
    type: int
    default: 40
"""

EXAMPLES = r"""
- name: Use a password that is made for this lab
  berth.django.postgres_database:
    password: "{{ lookup('berth.django.generated_secret', inventory_dir ~ '/.berth/secrets/postgres') }}"
"""

RETURN = r"""
_raw:
  description: One secret for each file.
  type: list
  elements: str
"""

from pathlib import Path

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.berth.django.plugins.plugin_utils import _secret_file


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        check_mode = bool((variables or {}).get("ansible_check_mode"))
        try:
            return [_secret_file.kept(Path(path), self.get_option("length"), write=not check_mode) for path in terms]
        except OSError as error:
            raise AnsibleError(f"The secret cannot be kept: {error}") from None
