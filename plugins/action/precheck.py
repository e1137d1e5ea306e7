# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the cluster before anything is applied: reachable, of a known version, with a default StorageClass."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, connect
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.preflight.versions import mismatches
from ansible_collections.mlops.platform.plugins.module_utils.usage import nodes
from ansible_collections.mlops.platform.plugins.plugin_utils.action import PlatformAction, refuse
from ansible_collections.mlops.platform.plugins.plugin_utils.inventory_check import compatibility

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


class ActionModule(PlatformAction):
    """See plugins/modules/precheck.py for the documentation."""

    PHASE = "preflight"
    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        "kubeconfig": {"type": "path"},
        "storage_class": {"type": "str", "default": ""},
    }

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        cluster = connect(arguments["kubeconfig"])
        try:
            version = str(cluster.request("GET", "/version", timeout=5)["gitVersion"])
        except ApiError as error:
            raise PlatformError(f"platform_kubeconfig: {arguments['kubeconfig']}: {error}") from error
        refuse([f"the cluster: {name} {said}" for name, said in mismatches(compatibility(), {"kubernetes": version})])
        classes = cluster.list("storage.k8s.io/v1", "StorageClass")
        names = [item["metadata"]["name"] for item in classes]
        default = [
            item["metadata"]["name"]
            for item in classes
            if (item["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true"
        ]
        wanted = arguments["storage_class"]
        if wanted and wanted not in names:
            raise PlatformError(f"platform_storage_class is {wanted!r}; the cluster has {', '.join(names) or 'none'}")
        if not wanted and not default:
            raise PlatformError(
                "the cluster has no default StorageClass: mark one as default or set platform_storage_class "
                f"to one of {', '.join(names) or '(there are none)'}"
            )
        storage_class = wanted or default[0]
        return {"changed": False, "version": version, "storage_class": storage_class, "nodes": nodes(cluster)}
