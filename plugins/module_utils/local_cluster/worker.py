# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node beside the control plane: namespaces of its own on the same machine, led to by one device.

Its network is routed like that of a pod: a pair of devices, one end in its namespace, the other one here with a route
to the node's address and one to its pods. What it sends elsewhere goes by the control plane's address.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.local_cluster import (
    cgroups,
    iptables,
    namespaces,
    sysctls,
)
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.files import write_file
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.host import (
    Host,
    delete_device,
    end_processes,
    has_device,
    ip,
    processes,
    remove_if_empty,
    restore_rules,
    saved_rules,
    until,
)
from ansible_collections.mlops.platform.plugins.module_utils.process import run

NOTE = "node.json"  # in its run directory: what it was started as


@dataclass(frozen=True)
class Worker(Host):
    """The marks of such a node.

    `device` is the end of its pair on the machine, `pod_cidr` its part of the pods' network. `inside` are the networks
    where its own address is known; `binds` its own directories by the fixed places where programs look for them,
    `foreign` those of the cluster's other nodes, whose mounts it must not keep.
    """

    control_plane: str
    inside: tuple[str, ...]
    foreign: tuple[Path, ...]
    binds: Mapping[Path, Path]

    def launch(self, command: Sequence[str | Path], environment: Mapping[str, str]) -> None:
        """Start the program that starts all others in new namespaces, which last as long as it or one of those."""
        cgroups.create(self.cgroup, cgroups.hierarchies())
        write_file(self.run_dir / NOTE, self._note())

        def begin() -> None:
            namespaces.isolate(self.foreign, self.binds)
            self._connect()
            run(command, what="Starting supervisord", env=environment)

        namespaces.apart(begin)

    def prepare(self) -> bool:
        """Lead the machine to the node and its pods; return whether anything was missing."""
        ip("address", "replace", self.control_plane, "peer", f"{self.address}/32", "dev", self.device)
        ip("link", "set", self.device, "up")
        ip("route", "replace", self.pod_cidr, "via", self.address, "dev", self.device)
        wanted = iptables.passage(self.network, self.device, self.address, self.inside)
        if payload := iptables.missing(saved_rules("iptables"), wanted):
            restore_rules(self, "iptables", payload, "Letting the node's packets pass")
            return True
        return False

    def sweep(self, seconds: float) -> list[str]:
        """End what still runs of the node and take away what it left on the machine; return what that was.

        Its mounts, devices, routes and rules of its own end with its last process.
        """
        done = [f"processes ({count})"] if (count := end_processes(lambda: processes(self), seconds)) else []
        if delete_device(self.device):
            done.append(f"device {self.device}")
        if payload := iptables.revocation(saved_rules("iptables"), self.network):
            restore_rules(self, "iptables", payload, "Removing the node's iptables rules")
            done.append(f"iptables rules ({payload.count('-D ')})")
        if until(lambda: cgroups.remove(self.cgroup, cgroups.hierarchies())):
            done.append(f"control group {self.cgroup}")
        if self.run_dir.exists():
            shutil.rmtree(self.run_dir)
            remove_if_empty(self.run_dir.parent)
            remove_if_empty(self.run_dir.parent.parent)
            done.append(str(self.run_dir))
        return done

    @property
    def prepared(self) -> bool:
        """Whether the machine was changed for it."""
        return (self.run_dir / NOTE).exists()

    @property
    def outdated(self) -> bool:
        """Whether it was started with other addresses or directories, or nothing leads to it any more."""
        note = self.run_dir / NOTE
        return not note.exists() or note.read_text(encoding="utf-8") != self._note() or not has_device(self.device)

    def _connect(self) -> None:
        """Make the network of the namespace in which this is called, with the other end of its device outside."""
        ip("link", "set", "lo", "up")
        outside = ("peer", "name", self.device, "netns", str(os.getpid()))
        ip("link", "add", "eth0", "type", "veth", *outside)
        ip("address", "add", self.address, "peer", f"{self.control_plane}/32", "dev", "eth0")
        ip("link", "set", "eth0", "up")
        ip("route", "add", "default", "via", self.control_plane)
        ip("route", "add", "unreachable", self.pod_cidr)
        sysctls.write("net.ipv4.ip_forward", "1")
        rules = iptables.addition(saved_rules("iptables"), self.network, self.service_cidr)
        restore_rules(self, "iptables", rules, "Refusing what is sent to Services without pods")

    def _note(self) -> str:
        return json.dumps(asdict(self) | {"binds": _texts(self.binds)}, default=str, indent=1)


def left_over(directory: Path) -> Iterator[Worker]:
    """The nodes that run or were left in the directory of all their run directories, in the order of their names."""
    for note in sorted(directory.glob(f"*/{NOTE}")):
        yield read(json.loads(note.read_text(encoding="utf-8")))


def read(values: Mapping[str, Any]) -> Worker:
    """A worker of its fields as plain texts."""
    found = {field.name: values[field.name] for field in fields(Worker)}
    for name in ("state_dir", "run_dir"):
        found[name] = Path(found[name])
    found["inside"] = tuple(found["inside"])
    found["foreign"] = tuple(map(Path, found["foreign"]))
    found["binds"] = {Path(seen): Path(own) for seen, own in found["binds"].items()}
    return Worker(**found)


def _texts(binds: Mapping[Path, Path]) -> dict[str, str]:
    return {str(seen): str(own) for seen, own in binds.items()}
