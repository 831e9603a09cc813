# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: build
author: berth.django contributors (@berth)
short_description: The image that a role of this collection builds, with its reference
version_added: 0.1.0
description:
  - Computes the reference of the image that a role declares in C(__<role>_build), from everything that goes into it - the Dockerfile and
    its scripts, the project's source without what its C(.dockerignore) names, the arguments, the base and C(image_refresh).
  - The same input has the same tag on every host and on every run, so that nothing has to be remembered to know what is up to date.
  - Works for a role that is not running, since its defaults are read from disk under the variables of the host.
  - A source that is a git repository is fetched when its commit is not there yet. Its branch or tag is looked up once in a run, so that all
    hosts and tasks mean the same commit.
options:
  _terms:
    description: Names of roles of this collection.
    required: true
"""

EXAMPLES = r"""
- name: Show the image of the application
  ansible.builtin.debug:
    msg: "{{ lookup('berth.django.build', 'django_uwsgi').reference }}"
"""

RETURN = r"""
_raw:
  description: One dict for each role.
  type: list
  elements: dict
  contains:
    name:
      description: Name of the image without registry and tag.
      type: str
    reference:
      description: What C(docker pull) takes.
      type: str
    context:
      description: The directory with the Dockerfile.
      type: str
    source:
      description: The directory on the controller that the project was found in, empty for an image without one.
      type: str
    version:
      description: The commit that a source from a git repository was checked out from, and otherwise empty.
      type: str
    args:
      description: The build arguments.
      type: dict
"""

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.berth.django.plugins.plugin_utils import _builds


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        return [self._describe(role, variables or {}) for role in terms]

    def _describe(self, role, variables):
        try:
            image = _builds.image_of(role, variables, self._loader, self._templar)
        except ValueError as error:
            raise AnsibleError(str(error)) from None
        return {
            "name": image.build.name,
            "reference": image.reference,
            "context": image.build.context,
            "source": image.build.source,
            "version": image.build.version,
            "args": image.build.args,
        }
