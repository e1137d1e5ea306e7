# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action `local_cluster_preflight`: see plugins/modules/local_cluster_preflight.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster import host as machine
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster import preflight
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.files import write_file
from ansible_collections.mlops.platform.plugins.plugin_utils.action import PlatformAction
from ansible_collections.mlops.platform.plugins.plugin_utils.local_cluster import HOST_ARGUMENT, host_of

MADE_WITH = "cluster.json"  # the settings that are in the cluster's data and cannot change any more
RESOLVERS = ("/run/systemd/resolve/resolv.conf", "/etc/resolv.conf")


class ActionModule(PlatformAction):
    """Refuses a machine on which the cluster could not work."""

    PHASE = "cluster"
    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        "host": HOST_ARGUMENT,
        "packages": {"type": "dict", "required": True},
        "ports": {"type": "dict", "required": True},
        "networks": {"type": "dict", "required": True},
        "unchangeable": {"type": "dict", "required": True},
        "memory_mib": {"type": "int", "required": True},
        "disk_mib": {"type": "int", "required": True},
    }

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        host = host_of(arguments["host"])
        problems = preflight.platform_problems()
        if not problems:
            problems = self._problems(arguments, host)
        if problems:
            raise PlatformError("This machine cannot run the cluster:\n" + "\n".join(f"- {item}" for item in problems))
        note = json.dumps(arguments["unchangeable"], indent=1)
        return {
            "changed": write_file(host.state_dir / MADE_WITH, note, dry_run=self.check_mode),
            "missing_packages": preflight.missing_packages(arguments["packages"]),
            "nameservers": _nameservers(),
        }

    def _problems(self, arguments: dict[str, Any], host: machine.Host) -> list[str]:
        memory = preflight.memory_problem(Path("/proc/meminfo").read_text(), arguments["memory_mib"])
        disk = preflight.disk_problem(host.state_dir, arguments["disk_mib"])
        problems = [problem for problem in (memory, disk) if problem]

        if (host.state_dir / "etcd").exists():
            made_with = json.loads((host.state_dir / MADE_WITH).read_text())
            problems += preflight.kept_problems(made_with, arguments["unchangeable"])

        ports = {name: int(port) for name, port in arguments["ports"].items()}
        listening = preflight.listeners([Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6")])
        used = [listening[port] for port in ports.values() if port in listening]
        owners = preflight.socket_owners(used)
        problems += preflight.port_problems(ports, listening, owners, machine.processes(host) if used else set())

        if machine.remembered(host) is None:  # else the routes and rules are the cluster's own
            if machine.has_device(host.device):
                problems.append(f"the machine already has a network device {host.device}: set local_cluster_device")
            existing = preflight.routes(Path("/proc/net/route").read_text())
            problems += preflight.overlap_problems(arguments["networks"], existing)
            if "iptables" not in preflight.missing_packages(arguments["packages"]):
                neighbour = preflight.neighbour_problem(machine.saved_rules("iptables"))
                problems += [neighbour] if neighbour else []
        return problems


def _nameservers() -> list[str]:
    for path in map(Path, RESOLVERS):
        if path.exists() and (servers := preflight.nameservers(path.read_text())):
            return servers
    return []
