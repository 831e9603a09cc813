# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of an action plugin: what it says is done by plugins/action/lab.py, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lab
short_description: Make machines to play on, each a container with its own Docker Engine
version_added: 0.1.0
author: berth.django contributors
description:
  - Makes lab machines through the Docker Engine that answers on the controller. Each is a container with sshd, Python and a Docker Engine
    of its own, reached over SSH on a port of 127.0.0.1, with a fixed address on the lab's own network.
  - A machine that was stopped, paused, cut off or removed is mended or made again. A machine whose description changed is made again,
    with an empty disk. A machine that is not listed any more is removed, unless O(prune) is false.
  - The base image is pulled, or where no registry gives it, made of Debian packages by debootstrap under the same name.
  - Runs on the controller only and needs the Docker command line there, and C(ssh-keygen).
options:
  name:
    description: Name of the lab, of its network, and in front of the name of each container and volume.
    type: str
    required: true
  state:
    description:
      - V(absent) removes containers, volumes, the network, and the images when no other lab is there.
    type: str
    choices: [present, absent]
    default: present
  machines:
    description: The machines that there are to be.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the host.
        type: str
        required: true
      address:
        description: Its address in O(network); see P(berth.django.lab_address#filter).
        type: str
        required: true
      port:
        description: The port of 127.0.0.1 that leads to its sshd; see P(berth.django.lab_port#filter).
        type: int
        required: true
      publish:
        description: More ports of 127.0.0.1, as V(outer:inner).
        type: list
        elements: str
      volumes:
        description: Volumes of the lab that machines share, as V(name:/path).
        type: list
        elements: str
      memory:
        description: Limit of the machine with everything in it.
        type: str
      cpus:
        description: Limit of processors.
        type: str
      engine:
        description: Whether it comes with Debian's Docker Engine.
        type: bool
        default: true
      images:
        description: Images of the outer engine that a new machine is given.
        type: list
        elements: str
      cache:
        description: Name of a disk for C(/var/lib/docker) and C(/srv/berth) that stays when the lab goes.
        type: str
  network:
    description: The lab's network; derived from O(name) by default.
    type: str
  base:
    description: The image that machines are made from.
    type: str
    default: debian:trixie-slim
  nameservers:
    description: Name servers of the machines; those of the controller by default.
    type: list
    elements: str
    default: []
  directory:
    description: Where the lab's SSH keys and its known hosts are made, in C(ssh) below it.
    type: path
    required: true
  keep_images:
    description: Whether V(absent) keeps the images.
    type: bool
    default: false
  prune:
    description:
      - Whether a machine that is not listed any more is removed. It is removed in any case where a listed one needs its address, a port
        of it or its disk.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    description: Predicts what would be made, mended or removed, also where no engine answers.
  diff_mode:
    support: full
    description: Shows the machines and their states before and after.
"""

EXAMPLES = r"""
- name: Make two machines
  berth.django.lab:
    name: play
    directory: "{{ playbook_dir }}/.lab"
    machines:
      - name: web1
        address: "{{ 'web1' | berth.django.lab_address('play') }}"
        port: "{{ 'web1' | berth.django.lab_port('play') }}"
        publish: ['8080:80']
      - name: db1
        address: "{{ 'db1' | berth.django.lab_address('play') }}"
        port: "{{ 'db1' | berth.django.lab_port('play') }}"
  delegate_to: localhost

- name: Remove them
  berth.django.lab:
    name: play
    state: absent
    directory: "{{ playbook_dir }}/.lab"
  delegate_to: localhost
"""

RETURN = r"""
actions:
  description: What was done, or would be, as sentences.
  returned: always
  type: list
  elements: str
  sample: ["Make web1 at 10.77.3.4"]
machines:
  description: Container, address and SSH port of each machine by its name.
  returned: always
  type: dict
  sample: {"web1": {"container": "play-web1", "address": "10.77.3.4", "port": 23456}}
stale:
  description: Machines that are not listed any more and were left running, since O(prune) is false.
  returned: when O(state=present)
  type: list
  elements: str
  sample: ["web3"]
"""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    AnsibleModule(argument_spec={}, supports_check_mode=True, bypass_checks=True).fail_json(
        msg="berth.django.lab runs on the controller, through its action plugin of the same name."
    )


if __name__ == "__main__":
    main()
