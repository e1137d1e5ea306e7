# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node wants of its machine, and everything for which the machine cannot give it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.mlops.platform.plugins.module_utils.local_cluster import host as marks
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster import preflight
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.host import Host
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.worker import Worker

MADE_WITH = "cluster.json"  # the settings that are in the cluster's data and cannot change any more
RESOLVERS = ("/run/systemd/resolve/resolv.conf", "/etc/resolv.conf")


@dataclass(frozen=True)
class Machine:
    """What a cluster wants of its machine.

    `packages` are Debian's, each with its program; `ports`, `networks` and `unchangeable` are by the names of their
    variables; `pods` is the network of the addresses that the node's own pods get.
    """

    host: Host
    packages: Mapping[str, str]
    ports: Mapping[str, int]
    networks: Mapping[str, str]
    unchangeable: Mapping[str, str]
    memory_mib: int
    disks: Sequence[preflight.Disk]
    pods: str


def problems(machine: Machine) -> list[str]:
    """Everything for which this machine cannot run the node, a sentence each. Changes nothing."""
    found = preflight.platform_problems()
    if found:
        return found
    host = machine.host
    memory = preflight.memory_problem(Path("/proc/meminfo").read_text(), machine.memory_mib)
    found = [problem for problem in (memory, *map(preflight.disk_problem, machine.disks)) if problem]
    if (host.state_dir / "etcd").exists():
        found += preflight.kept_problems(json.loads((host.state_dir / MADE_WITH).read_text()), machine.unchangeable)

    listening = preflight.listeners([Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6")])
    used = [listening[port] for port in machine.ports.values() if port in listening]
    owners, ours = preflight.socket_owners(used), marks.processes(host) if used else set()
    found += preflight.port_problems(machine.ports, listening, owners, ours)

    here = preflight.routes(Path("/proc/net/route").read_text())
    found += preflight.overlap_problems(machine.networks, [] if host.prepared else here)
    if machine.networks:  # those of the control plane, from whose namespace this looks
        found += preflight.stray_problems(here, host.pod_cidr, machine.pods)
    if not host.prepared and not isinstance(host, Worker):  # else the routes and rules are the cluster's own
        if marks.has_device(host.device):
            found.append(f"the machine already has a network device {host.device}: set local_cluster_device")
        if "iptables" not in preflight.missing_packages(machine.packages):
            neighbour = preflight.neighbour_problem(marks.saved_rules("iptables"))
            found += [neighbour] if neighbour else []
    return found


def machine_nameservers() -> list[str]:
    """The name servers of this machine that a pod can reach too."""
    texts = (path.read_text() for path in map(Path, RESOLVERS) if path.exists())
    return next((servers for servers in map(preflight.nameservers, texts) if servers), [])
