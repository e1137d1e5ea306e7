# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control group of a cluster: all its pods are below it, so that nothing else is ever counted or ended."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from ansible_collections.mlops.platform.plugins.module_utils.local_cluster import mounts

UNIFIED = Path("/sys/fs/cgroup")  # where a cgroup v2 machine has its only hierarchy
NEEDED = ("cpu", "cpuset", "memory", "pids", "hugetlb", "io")  # controllers that the kubelet uses where they exist


def hierarchies() -> list[Path]:
    """The mount points of all hierarchies of this machine: one on cgroup v2, one for each controller on v1."""
    table = mounts.parse(mounts.MOUNTINFO.read_text())
    return [Path(mount.point) for mount in table if mount.filesystem in ("cgroup", "cgroup2")]


def create(name: str, tops: Iterable[Path], unified: Path = UNIFIED) -> list[str]:
    """Make the group `name` in every hierarchy, ready for the kubelet.

    Returns the controllers that had to be switched on in the root of cgroup v2, so that they can be switched off.
    """
    enabled: list[str] = []
    for top in tops:
        group = top / name
        if (top / "cgroup.controllers").exists():  # cgroup v2
            if top == unified:
                enabled = _enable(top)
                group.mkdir(exist_ok=True)
                _enable(group)
            continue
        group.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):  # v1: empty in a new group, and then nothing can run in it
            if (group / setting).exists() and not (group / setting).read_text().strip():
                (group / setting).write_text((top / setting).read_text())
    return enabled


def members(name: str, tops: Iterable[Path]) -> set[int]:
    """The processes in the group `name` and below it."""
    return {int(pid) for top in tops for procs in _files(top / name, "cgroup.procs") for pid in _read(procs).split()}


def remove(name: str, tops: Iterable[Path], enabled: Iterable[str] = (), unified: Path = UNIFIED) -> bool:
    """Remove the group `name` with all below it; return whether there was one. It must be empty of processes."""
    found = False
    for top in tops:
        if (top / name).is_dir():
            found = True
            for directory in sorted(_directories(top / name), reverse=True):
                with contextlib.suppress(FileNotFoundError):
                    directory.rmdir()
    for controller in enabled:
        try:
            (unified / "cgroup.subtree_control").write_text(f"-{controller}")
        except OSError:
            continue  # somebody else uses it by now
    return found


def _enable(group: Path) -> list[str]:
    """Give the children of a v2 group the controllers that the kubelet needs; return those that were off."""
    available = (group / "cgroup.controllers").read_text().split()
    active = (group / "cgroup.subtree_control").read_text().split()
    missing = [name for name in NEEDED if name in available and name not in active]
    for name in missing:
        (group / "cgroup.subtree_control").write_text(f"+{name}")
    return missing


def _directories(top: Path) -> Iterator[Path]:
    yield top
    try:
        children = [child for child in top.iterdir() if child.is_dir() and not child.is_symlink()]
    except FileNotFoundError:  # a pod that has just ended: its runtime removes its groups
        return
    for child in children:
        yield from _directories(child)


def _files(top: Path, name: str) -> Iterator[Path]:
    if top.is_dir():
        for directory in _directories(top):
            yield directory / name


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
