# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check before anything is applied that the cluster can carry what the components need."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible.utils.display import Display
from ansible_collections.mlops.platform.plugins.module_utils.cluster import connect
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.next_steps import next_step
from ansible_collections.mlops.platform.plugins.module_utils.preflight.cluster_check import (
    reach,
    storage_class,
    survey,
)
from ansible_collections.mlops.platform.plugins.module_utils.preflight.needs import Needs
from ansible_collections.mlops.platform.plugins.module_utils.preflight.versions import mismatches
from ansible_collections.mlops.platform.plugins.module_utils.usage import nodes
from ansible_collections.mlops.platform.plugins.plugin_utils.action import PlatformAction, refuse
from ansible_collections.mlops.platform.plugins.plugin_utils.inventory_check import Inventory, compatibility


class ActionModule(PlatformAction):
    """See plugins/modules/precheck.py for the documentation."""

    PHASE = "preflight"
    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        "kubeconfig": {"type": "path"},
        "needs": {"type": "list", "elements": "dict", "default": []},
        "provisions": {"type": "bool", "default": True},
        "room": {"type": "bool", "default": True},
        "may_be_absent": {"type": "bool", "default": False},
    }

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        try:
            cluster = connect(arguments["kubeconfig"])
            version = reach(cluster)
        except PlatformError as error:
            if arguments["may_be_absent"]:
                Display().warning(f"The cluster was not checked, there is none yet: {error}")
                return {"changed": False, "reached": False}
            refuse([str(error)], next_step=next_step(str(error), "", "task"))
        needed = [Needs.parse(item) for item in arguments["needs"]]
        # Models are served in runs that have what serves them.
        served = any(item.component == "kserve" for item in needed) and arguments["room"] and arguments["provisions"]
        models = Inventory.of(self, task_vars).models() if served else []
        found = survey(cluster, needed, provisions=arguments["provisions"], room=arguments["room"], models=models)
        present = {"kubernetes": version} | {item.component: item.version for item in needed}
        rows = [row for row in compatibility() if "kubernetes" in (row.of, row.goes_with)]  # the rest was said
        versions = [f"{name} {said}" for name, said in mismatches(rows, present)]
        refuse([f"the cluster: {problem}" for problem in versions + found.problems])
        for line in found.unchecked:
            Display().warning(f"Not checked of the cluster: {line}")
        about = {"version": version, "storage_class": storage_class(cluster), "nodes": nodes(cluster)}
        return {"changed": False, "reached": True, **about, "unchecked": found.unchecked}
