# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What whoever runs the site wrote for its visitors. Nothing else of the environment is anybody's business."""

import os

PREFIX = "GALLERY_NOTICE_"


def notices():
    return {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
