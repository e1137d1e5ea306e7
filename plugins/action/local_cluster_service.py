# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action `local_cluster_service`: see plugins/modules/local_cluster_service.py."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.mlops.platform.plugins.module_utils.cluster import connect
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster import drain
from ansible_collections.mlops.platform.plugins.plugin_utils.action import PlatformAction


class ActionModule(PlatformAction):
    """Takes a node into service and out of it."""

    PHASE = "cluster"
    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        "name": {"type": "str", "required": True},
        "kubeconfig": {"type": "path", "required": True},
        "state": {"type": "str", "choices": ["open", "empty", "removed"], "required": True},
        "keeps_volumes": {"type": "bool", "default": True},
        "seconds": {"type": "int", "default": 180},
    }

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        host, name, state = task_vars.get("inventory_hostname", "localhost"), arguments["name"], arguments["state"]
        if self.check_mode:
            return {"changed": state != "open"}
        cluster = connect(arguments["kubeconfig"])
        if state == "open":
            return {"changed": drain.open_again(cluster, name)}
        if state == "removed":
            return {"changed": drain.forget(cluster, name)}
        if not arguments["keeps_volumes"] and (claims := drain.claims_on(cluster, name)):
            raise PlatformError(
                f"node {name} has volumes of {', '.join(claims)}, which would be lost with it, nothing was touched: "
                "delete these claims first"
            )
        closed = drain.close(cluster, name)
        moved = drain.empty(cluster, name, arguments["seconds"], lambda message: self.progress(host, message))
        self.progress(host, f"node {name} is empty: {len(moved)} pods have left it")
        return {"changed": closed or bool(moved), "moved": moved}
