# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action `local_cluster_memory`: see plugins/modules/local_cluster_memory.py."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.host import memory
from ansible_collections.mlops.platform.plugins.plugin_utils.action import PlatformAction
from ansible_collections.mlops.platform.plugins.plugin_utils.local_cluster import HOST_ARGUMENT, host_of


class ActionModule(PlatformAction):
    """Measures what a cluster takes of its machine."""

    PHASE = "cluster"
    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {"host": HOST_ARGUMENT}

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        return {"changed": False, "memory": memory(host_of(arguments["host"]))}
