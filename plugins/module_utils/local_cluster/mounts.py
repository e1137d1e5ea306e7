# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mount table."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MOUNTINFO = Path("/proc/self/mountinfo")
MNT_DETACH = 2  # umount(2): take it away now, finish when nobody uses it
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Mount:
    """One line of mountinfo."""

    point: str
    filesystem: str


def parse(mountinfo: str) -> list[Mount]:
    """The mounts of a mountinfo file (proc(5)), in the order in which they were made."""
    mounts = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        mounts.append(Mount(_unescaped(before.split(" ")[4]), after.split(" ")[0]))
    return mounts


def under(mounts: Sequence[Mount], directories: Sequence[Path]) -> list[str]:
    """The mount points in `directories`, in the order in which they can be unmounted: deepest and latest first."""
    points = [
        (mount.point.count("/"), number, mount.point)
        for number, mount in enumerate(mounts)
        if any(mount.point == str(top) or mount.point.startswith(f"{top}/") for top in directories)
    ]
    return [point for _, _, point in sorted(points, reverse=True)]


def unmount(point: str) -> None:
    """Take one mount away, even when something still holds it open."""
    path = os.fsencode(point)
    if _libc.umount2(path, 0) and _libc.umount2(path, MNT_DETACH):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), point)


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), text)
