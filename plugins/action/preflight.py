# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the inventory and this machine, touch nothing, and open the directory of the run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleError
from ansible_collections.mlops.platform.plugins.module_utils import certificates, graph
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster import machine, nodes
from ansible_collections.mlops.platform.plugins.module_utils.report import new_run_directory
from ansible_collections.mlops.platform.plugins.plugin_utils.action import PlatformAction, refuse
from ansible_collections.mlops.platform.plugins.plugin_utils.inventory_check import Inventory
from ansible_collections.mlops.platform.plugins.plugin_utils.local_cluster import machine_of


class ActionModule(PlatformAction):
    """See plugins/modules/preflight.py for the documentation."""

    PHASE = "preflight"
    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {"reports": {"type": "path"}}

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        inventory = Inventory.of(self, task_vars, asks_cluster=False)
        problems = inventory.problems()
        hosts = inventory.groups.get("local_cluster", [])
        problems += self._nodes(inventory, hosts, quiet=bool(problems))
        for host in hosts:
            problems += self._machine(inventory, host, quiet=bool(problems))
        refuse(list(dict.fromkeys(problems)))
        result: dict[str, Any] = {"changed": False, "waves": graph.waves(inventory.before, inventory.external)}
        declared = self._templar.template(task_vars.get("platform_ca_certificates", ""))
        result["warnings"] = certificates.expiring(str(declared))
        if arguments["reports"]:
            result["run_directory"] = str(new_run_directory(Path(arguments["reports"]), time.time()))
        return result

    def _nodes(self, inventory: Inventory, hosts: Sequence[str], quiet: bool) -> list[str]:
        """Nodes of the embedded cluster that do not go together; `quiet` where their variables may be wrong."""
        try:
            said = {host: inventory.effective(host, "local_cluster", "__local_cluster_node") for host in hosts}
            return list(nodes.problems({host: nodes.Node(**values) for host, values in said.items()}))
        except (AnsibleError, PlatformError, TypeError, ValueError) as error:
            return [] if quiet else [f"inventory: {error}"]

    def _machine(self, inventory: Inventory, host: str, quiet: bool) -> list[str]:
        """Problems of this machine as the home of the embedded cluster; `quiet` where its variables may be wrong."""
        try:
            wanted = machine_of(inventory.effective(host, "local_cluster", "__local_cluster_machine"))
            return [f"this machine: {problem}" for problem in machine.problems(wanted)]
        except (AnsibleError, PlatformError, TypeError, ValueError) as error:
            return [] if quiet else [f"host {host}: {error}"]
