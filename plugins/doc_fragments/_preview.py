# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  preview:
    description:
      - In check mode, where the image of O(service) is one that the collection builds and is not built yet, ask the new source with the
        requirements of the release that serves, in a throw-away container. Nothing is built, and nothing is kept.
      - What new requirements would change is RV(ignore:unknown) then.
    type: bool
    default: false
    version_added: 0.2.0
  preview_archive:
    description: That source, on the host. Set by the action plugin.
    type: path
    version_added: 0.2.0
"""
