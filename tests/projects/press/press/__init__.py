# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import os
import socket

VERSION = "1"


def signature():
    """Which release did something, and where."""
    return f"{os.environ.get('PRESS_IMPRINT', 'press')}, version {VERSION}, process {os.getpid()} of {socket.gethostname()}"
