# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GPU nodes: labels and taints as the inventory says, and as they were before on nodes that it names no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils import gpu
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster, Object
from ansible_collections.mlops.platform.plugins.module_utils.configure.base import Step
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

CONFLICT = 409
TRIES = 5
"""Others write to a node, too: its kubelet, its controllers. Each try begins with the node as it is then."""


@dataclass(frozen=True)
class GpuNodesStep(Step):
    """Each of `nodes` ({name, labels, taints}, see module_utils/gpu.py) is what the inventory says.

    Nodes that an earlier inventory named and this one does not are given back, unless pods hold GPUs there.
    """

    nodes: tuple[Mapping[str, Any], ...]

    def apply(self, access: Access, check_mode: bool) -> list[str]:
        cluster = access.cluster
        there = {item["metadata"]["name"]: item for item in cluster.list("v1", "Node")}
        wanted = {str(node["name"]): node for node in self.nodes}
        for name in wanted:
            if name not in there:
                raise PlatformError(
                    f"gpu_node_name: there is no node {name!r} in the cluster; its nodes are {', '.join(sorted(there))}"
                )
        leaving = [name for name, node in there.items() if name not in wanted and gpu.is_ours(node)]
        pods = cluster.list("v1", "Pod") if leaving else []
        for name in leaving:
            if holding := gpu.holders(pods, name):
                raise PlatformError(
                    f"node {name} is not given back: {', '.join(holding)} hold its GPUs; serve those models no more "
                    "(undeploy-model.yml), or remove those pods, and run the same again"
                )
        changes = {
            name: partial(gpu.become, labels=node["labels"], taints=node["taints"]) for name, node in wanted.items()
        }
        changed = [
            f"node {name} has the labels and taints of {wanted[name]['product']}"
            for name, change in changes.items()
            if _patched(cluster, name, change, check_mode)
        ]
        return changed + [
            f"node {name} is as it was before" for name in leaving if _patched(cluster, name, gpu.give_back, check_mode)
        ]


def _patched(cluster: Cluster, name: str, change: Callable[[Object], dict[str, Any]], check_mode: bool) -> bool:
    """Whether a node needed a change, which is made unless in `check_mode`. Raises ApiError."""
    path = cluster.resource("v1", "Node").path(name=name)
    for tries_left in reversed(range(TRIES)):
        patch = change(cluster.request("GET", path))
        if not patch or check_mode:
            return bool(patch)
        try:
            cluster.request("PATCH", path, body=patch, content_type="application/merge-patch+json")
        except ApiError as error:
            if error.status != CONFLICT or not tries_left:
                raise
        else:
            return True
    return False
