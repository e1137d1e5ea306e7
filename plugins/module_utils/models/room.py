# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a GPU is free for a model: asked before anything is touched, instead of a wait that ends in nothing."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.mlops.platform.plugins.module_utils import gpu
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster, Object
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.manifests import SPEC_HASH, Manifest
from ansible_collections.mlops.platform.plugins.module_utils.models import inference_service
from ansible_collections.mlops.platform.plugins.module_utils.models.inference_service import KIND, Serving, Settings
from ansible_collections.mlops.platform.plugins.module_utils.preflight import capacity
from ansible_collections.mlops.platform.plugins.module_utils.preflight.capacity import Node
from ansible_collections.mlops.platform.plugins.module_utils.preflight.needs import Pods

FORBIDDEN = 403


def refuse_homeless(
    cluster: Cluster, settings: Settings, serving: Serving, present: Object | None, wanted: Sequence[Manifest]
) -> None:
    """Refuse a model whose new pods would wait for a GPU that nobody gives them, before anything is touched.

    `present` is its InferenceService as it is, among `wanted` is the one that it will be: the same makes no new pods.
    A new version begins beside the one that is served, whose GPU is not free until then. Where nodes come on demand
    nobody knows.
    """
    same = present is not None and _mark(present) in {_mark(item) for item in wanted if item["kind"] == KIND}
    if not settings.gpu or not serving.room_checked or same:
        return
    try:
        nodes, pods = cluster.list("v1", "Node"), cluster.list("v1", "Pod")
    except ApiError as error:
        if error.status != FORBIDDEN:
            raise
        return  # the scheduler will say so
    asked = inference_service.pods(settings, serving)
    left = capacity.nodes_with_room(nodes, pods, ())
    places = [node for node in left if node.takes(asked)]
    if sum(node.fits(asked.requests) for node in places) >= asked.count:
        return
    raise PlatformError(
        f"{settings.name} was not deployed, nothing was touched: {_lacking(asked, places, pods, serving)}"
    )


def _mark(service: Object) -> str:
    return str((service["metadata"].get("annotations") or {}).get(SPEC_HASH, ""))


def _lacking(asked: Pods, places: Sequence[Node], pods: Sequence[Object], serving: Serving) -> str:
    """What keeps the pods of a model from every node."""
    resource = serving.gpu_resource
    if not places:
        labels = ", ".join(f"{key}={value}" for key, value in asked.node_selector.items()) or "any labels"
        return (
            f"no node has {labels} and only taints that it tolerates (kserve_gpu_node_selector, kserve_gpu_tolerations)"
        )
    free = sum(node.free.get(resource, 0.0) for node in places)
    everything = sum(node.allocatable.get(resource, 0.0) for node in places)
    if free < serving.gpu_limit * asked.count:
        held = [holder for node in places for holder in gpu.holders(pods, node.name)]
        taken = f", held by {', '.join(held)}" if held else ""
        return (
            f"it needs {asked.count} times {serving.gpu_limit} {resource}; "
            f"{free:g} of {everything:g} are free on {', '.join(node.name for node in places)}{taken}"
        )
    return "; ".join(
        f"{node.name} has room for {node.fits(asked.requests)}: free are "
        + ", ".join(capacity.shown(name, node.free.get(name, 0.0)) for name in asked.requests)
        for node in places
    )
