# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arguments that the actions of the role `local_cluster` share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.host import Host
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.machine import Machine
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.preflight import Disk

HOST_ARGUMENT: dict[str, Any] = {
    "type": "dict",
    "required": True,
    "options": {
        "state_dir": {"type": "path", "required": True},
        "run_dir": {"type": "path", "required": True},
        "cgroup": {"type": "str", "required": True},
        "device": {"type": "str", "required": True},
        "address": {"type": "str", "required": True},
        "network": {"type": "str", "required": True},
        "pod_cidr": {"type": "str", "required": True},
        "service_cidr": {"type": "str", "required": True},
    },
}

MACHINE_ARGUMENTS: dict[str, dict[str, Any]] = {
    "host": HOST_ARGUMENT,
    "packages": {"type": "dict", "required": True},
    "ports": {"type": "dict", "required": True},
    "networks": {"type": "dict", "required": True},
    "unchangeable": {"type": "dict", "required": True},
    "memory_mib": {"type": "int", "required": True},
    "disks": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "path": {"type": "path", "required": True},
            "mib": {"type": "int", "required": True},
            "variable": {"type": "str", "required": True},
        },
    },
}


def host_of(argument: dict[str, Any]) -> Host:
    """The host that the argument `host` describes."""
    return Host(
        state_dir=Path(argument["state_dir"]),
        run_dir=Path(argument["run_dir"]),
        cgroup=argument["cgroup"],
        device=argument["device"],
        address=argument["address"],
        network=argument["network"],
        pod_cidr=argument["pod_cidr"],
        service_cidr=argument["service_cidr"],
    )


def machine_of(argument: dict[str, Any]) -> Machine:
    """What MACHINE_ARGUMENTS want of the machine."""
    return Machine(
        host=host_of(argument["host"]),
        packages=argument["packages"],
        ports={name: int(port) for name, port in argument["ports"].items()},
        networks=argument["networks"],
        unchangeable=argument["unchangeable"],
        memory_mib=int(argument["memory_mib"]),
        disks=tuple(Disk(Path(disk["path"]), int(disk["mib"]), disk["variable"]) for disk in argument["disks"]),
    )
