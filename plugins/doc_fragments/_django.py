# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not use it from elsewhere.

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  service:
    description:
      - The service that the project runs as, the very dict that M(berth.django.container_service) takes.
      - The command runs in a container of its own that is made from it, with the same image, entry point, environment, secrets, mounts,
        networks and limits, and is removed afterwards. What it needs on the host (image, directories, secrets) is put there first.
        Where the service's container already is exactly that, and healthy, the command runs in it, which is faster.
      - Either this or O(container) is needed.
    type: dict
  container:
    description: Name of a running container to run the command in.
    type: str
  entrypoint:
    description: >-
      In a running container, the program that starts the command. By default the container's own entry point, which in containers of
      this collection exports secrets that a bare C(docker exec) does not have. An empty list for none.
    type: list
    elements: str
  chdir:
    description: Directory of manage.py in the container. The image's working directory when not given.
    type: str
  working_directory:
    description: Directory that the command runs in, for projects that look for files from there. O(chdir) when not given.
    type: str
    version_added: 0.2.0
  python:
    description: The Python that has the project's requirements.
    type: str
    default: python3
  settings:
    description: >-
      Settings module, also for a manage.py that insists on another. By default the project's own choice, or what
      E(DJANGO_SETTINGS_MODULE) says in the service's environment.
    type: str
  timeout:
    description:
      - Seconds after which the command is ended, and the task fails. Without it the command may take as long as it needs.
      - A container of its own is removed then. In a running container the program C(timeout) of the image ends the command, which Debian's
        and BusyBox's images have; in an image without it, the task fails all the same, and the command goes on inside.
    type: int
  holder:
    description: Who runs this, for messages to those who wait. Set by the action plugin.
    type: str
    default: unknown
requirements:
  - Docker Engine 20.10 or later with its command line on the host.
  - Django 4.2 or later in the image.
notes:
  - Commands run with C(--no-color), and without asking questions.
  - When a command fails, the message holds the lines of its output that matter; all of it is in RV(ignore:stdout) and RV(ignore:stderr)
    (of several stacks, the last), and the exit code in RV(ignore:exit_code).
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
"""
