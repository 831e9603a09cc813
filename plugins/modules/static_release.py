#!/usr/bin/python
# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: static_release
short_description: Bring a release's static files to web servers on other hosts
description:
  - A web server that does not share a host with the project gets the static files of each release, and finds those of earlier ones
    for as long as they are kept.
  - The files travel through the controller, packed once, and only to hosts that lack them.
version_added: 0.2.0
author: berth.django contributors
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: Static files are many and large.
options:
  directory:
    description: Directory of all releases' static files on the host, with one directory in it for each.
    type: path
    required: true
  release:
    description: Name of the release.
    type: str
    required: true
  state:
    description:
      - V(packed), on a host of the project, fetches the files to the controller, as RV(archive).
      - V(present) makes sure that the files are there, from O(archive), and that the web server finds them after those that serve.
        Without O(archive) it only tells whether they are RV(lacking).
      - V(serving) has the web server look into this release first, and prunes what is no longer kept.
    type: str
    choices: [packed, present, serving]
    default: present
  archive:
    description: The packed files, on the controller.
    type: path
  contents:
    description: What M(berth.django.django_collectstatic) returned under that name. The files are lacking when they are others.
    type: str
    default: ""
  keep:
    description: Releases that are kept, the one that serves included.
    type: int
    default: 5
  kept:
    description: Names of the releases that are kept, the newest first. What was brought and never served goes before them.
    type: list
    elements: str
    default: []
    version_added: 0.2.0
  holder:
    description: Who runs this. Set by the action plugin.
    type: str
    default: unknown
seealso:
  - module: berth.django.django_collectstatic
"""

EXAMPLES = r"""
- name: Fetch the static files of a release
  berth.django.static_release:
    directory: /srv/berth/music/static
    release: 1f0c9a7be2d4560a
    state: packed
  register: packed

- name: Bring them to the web server
  berth.django.static_release:
    directory: /srv/berth/music/static
    release: 1f0c9a7be2d4560a
    archive: "{{ packed.archive }}"
  delegate_to: front1
"""

RETURN = r"""
lacking:
  description: Whether the files were not there.
  type: bool
  returned: with O(state=present) or O(state=serving)
serving:
  description: The release that the web server looked into first.
  type: str
  returned: with O(state=present) or O(state=serving)
archive:
  description: Where the packed files are on the controller, until the run ends.
  type: str
  returned: with O(state=packed)
"""

import os
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.berth.django.plugins.module_utils import _files, _static_record, _static_release


def converge(module: AnsibleModule) -> dict[str, object]:
    values = module.params
    directory, release, archive = values["directory"], values["release"], values["archive"]
    folder, current = f"{directory}/{release}", f"{directory}/current"
    serving = _files.link_target(current)
    same = os.path.isdir(folder) and values["contents"] in ("", _static_record.contents(folder))
    result: dict[str, object] = dict(changed=False, lacking=not same, serving=serving)
    if values["state"] == "packed":
        with tempfile.NamedTemporaryFile(dir="/var/tmp", prefix="static-", suffix=".tar.gz", delete=False) as file:
            os.fchmod(file.fileno(), 0o644)  # the login user fetches it, and everybody may see static files
            _static_release.pack(folder, file)
        return dict(changed=False, packed=file.name)
    if values["state"] == "present" and archive and result["lacking"]:
        if not module.check_mode:
            _static_release.unpack(archive, folder)
            _static_release.arrange(directory, release, serving, values["keep"], values["kept"])
        return {**result, "changed": True}
    if values["state"] == "serving" and serving != release and os.path.isdir(folder):
        if not module.check_mode:
            _files.point(current, release)
            _static_release.arrange(directory, release, serving, values["keep"], values["kept"])
        return {**result, "changed": True}
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            directory=dict(type="path", required=True),
            release=dict(type="str", required=True),
            state=dict(type="str", choices=["packed", "present", "serving"], default="present"),
            archive=dict(type="path"),
            contents=dict(type="str", default=""),
            keep=dict(type="int", default=5),
            kept=dict(type="list", elements="str", default=[]),
            holder=dict(type="str", default="unknown"),
        ),
        supports_check_mode=True,
    )
    try:
        module.exit_json(**converge(module))
    except OSError as error:
        module.fail_json(msg=f"the static files of {module.params['release']} in {module.params['directory']}: {error}")


if __name__ == "__main__":
    main()
