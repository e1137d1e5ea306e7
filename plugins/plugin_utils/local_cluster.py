# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arguments that the actions of the role `local_cluster` share."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.host import Host
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.machine import Machine
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.preflight import Disk
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.worker import read

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
        "worker": {
            "type": "dict",
            "options": {
                "control_plane": {"type": "str", "required": True},
                "inside": {"type": "list", "elements": "str", "required": True},
                "foreign": {"type": "list", "elements": "path", "required": True},
                "binds": {"type": "dict", "required": True},
            },
        },
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
    "pods": {"type": "str", "required": True},
}


def host_of(argument: dict[str, Any]) -> Host:
    """The host that the argument `host` describes."""
    of_worker = argument.get("worker")
    if of_worker:
        return read({**argument, **of_worker})
    values = {field.name: argument[field.name] for field in fields(Host)}
    return Host(**values | {name: Path(values[name]) for name in ("state_dir", "run_dir")})


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
        pods=argument["pods"],
    )
