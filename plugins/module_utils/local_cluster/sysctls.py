# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel settings that a cluster changes: remembered before, put back after."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

ROOT = Path("/proc/sys")
# Written by the kubelet (container manager), by kube-proxy and by the CNI plugins. The order matters: a change of
# ip_forward resets the settings after it.
CHANGED = (
    "vm.overcommit_memory",
    "vm.panic_on_oom",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.keys.root_maxkeys",
    "kernel.keys.root_maxbytes",
    "net.ipv4.ip_forward",
    "net.ipv4.conf.all.accept_redirects",
    "net.ipv4.conf.all.route_localnet",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_tcp_be_liberal",
    "net.netfilter.nf_conntrack_tcp_timeout_established",
    "net.netfilter.nf_conntrack_tcp_timeout_close_wait",
)


def current(root: Path = ROOT) -> dict[str, str]:
    """The settings a cluster may change, as they are now."""
    return {name: _path(root, name).read_text().strip() for name in CHANGED if _path(root, name).exists()}


def restore(remembered: Mapping[str, str], root: Path = ROOT) -> list[str]:
    """Put settings back; return the names of those that were different."""
    changed = []
    for name in CHANGED:
        path = _path(root, name)
        if name in remembered and path.exists() and path.read_text().strip() != remembered[name]:
            path.write_text(remembered[name])
            changed.append(name)
    return changed


def write(name: str, value: str, root: Path = ROOT) -> None:
    """Set one kernel setting."""
    _path(root, name).write_text(value)


def _path(root: Path, name: str) -> Path:
    return root / name.replace(".", "/")
