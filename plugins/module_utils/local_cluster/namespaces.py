# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Namespaces of a node beside the first one: what is started in them sees its own network and its own mounts.

Nothing keeps them but the processes in them: when the last of those ends, however it ends, the kernel takes away the
namespaces with all their devices, routes, rules and mounts.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from ansible_collections.mlops.platform.plugins.module_utils.local_cluster import mounts

# unshare(2) and mount(2)
CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_BIND = 1 << 12
MS_REC = 1 << 14
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
# proc(5): the table of this thread, where /proc/self has that of the process.
OWN_MOUNTS = Path("/proc/thread-self/mountinfo")
T = TypeVar("T")
_libc = ctypes.CDLL(None, use_errno=True)


def apart(work: Callable[[], T]) -> T:
    """Do `work` in a thread with a new network namespace and a new mount namespace, in which its children stay."""

    def unshared() -> T:
        _checked(_libc.unshare(CLONE_NEWNET | CLONE_NEWNS), "unshare")
        return work()

    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(unshared).result()


def isolate(foreign: Sequence[Path], binds: Mapping[Path, Path]) -> None:
    """Make the mounts of this new namespace those of a node: `binds` are its own directories, by where they are seen.

    What is mounted below the `foreign` directories, and every namespace that is kept by a mount, belongs to others:
    a copy of it here would keep it from going away there.
    """
    _mount(None, Path("/"), MS_REC | MS_SLAVE)  # the machine does not see what is mounted here
    _mount(None, Path("/"), MS_REC | MS_SHARED)  # pods see it if they ask for that
    table = mounts.parse(OWN_MOUNTS.read_text(encoding="utf-8"))
    kept = {mount.point for mount in table if mount.filesystem == "nsfs"}
    for point in mounts.under(table, [*foreign, *map(Path, kept)]):
        mounts.unmount(point)
    for seen, own in binds.items():
        for directory in (seen, own):
            directory.mkdir(parents=True, exist_ok=True)
        _mount(own, seen, MS_BIND)


def _mount(source: Path | None, target: Path, flags: int) -> None:
    origin = os.fsencode(source) if source else b"none"
    _checked(_libc.mount(origin, os.fsencode(target), None, flags, None), str(target))


def _checked(status: int, what: str) -> None:
    if status:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
