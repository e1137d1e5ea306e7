# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What callbacks share that print for people."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping

from ansible.utils.color import stringc
from ansible_collections.mlops.platform.plugins.module_utils.closing import Look, Style
from ansible_collections.mlops.platform.plugins.module_utils.progress import interactive

COLOURS: Mapping[Style, str] = {
    "good": "bright green",
    "bad": "bright red",
    "strong": "bright blue",
    "quiet": "gray12",
}


def in_terminal() -> bool:
    """Whether people look at the output in a terminal and did not ask for plain text."""
    return interactive(os.environ, sys.stdout.isatty())


def look() -> Look:
    """Colours as Ansible has them and lines that fit, in a terminal; plain whole lines elsewhere."""
    if not in_terminal():
        return Look()
    return Look(lambda text, style: str(stringc(text, COLOURS[style])) if style in COLOURS else text,
                shutil.get_terminal_size().columns)  # fmt: skip
