# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking a node out of service in an orderly way, taking it back, and forgetting it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

STOPPED = "mlops.platform/stopped"
"""Annotation of a node that is closed to pods because it was stopped, and not by somebody for another reason."""
HOSTNAME = "kubernetes.io/hostname"
MIRROR = "kubernetes.io/config.mirror"
TOO_MANY_REQUESTS = 429  # the answer to an eviction that a disruption budget does not allow now
NOT_FOUND = 404
Object = Mapping[str, Any]


def close(cluster: Cluster, node: str) -> bool:
    """Let no new pods come to a node; return whether they could. A node that is not there is closed."""
    found = cluster.get("v1", "Node", node)
    if found is None or found["spec"].get("unschedulable"):
        return False
    _patch(cluster, node, {"spec": {"unschedulable": True}, "metadata": {"annotations": {STOPPED: "true"}}})
    return True


def open_again(cluster: Cluster, node: str) -> bool:
    """Let pods come to a node again if it was closed by `close`; return whether it was."""
    found = cluster.get("v1", "Node", node)
    if found is None or STOPPED not in (found["metadata"].get("annotations") or {}):
        return False
    _patch(cluster, node, {"spec": {"unschedulable": None}, "metadata": {"annotations": {STOPPED: None}}})
    return True


def empty(cluster: Cluster, node: str, seconds: float, say: Callable[[str], None]) -> list[str]:
    """Have all pods of a node end and be made elsewhere, as far as budgets allow; return those that were there.

    What belongs to each node (of DaemonSets) stays. Raises PlatformError for pods that are still there in the end.
    """
    began = said = time.monotonic()
    moved: dict[str, None] = {}
    while pods := [pod for pod in pods_on(cluster, node) if moves(pod)]:
        refused = {}
        for pod in pods:
            name = _name(pod)
            moved.setdefault(name)
            if "deletionTimestamp" not in pod["metadata"] and (why := _evict(cluster, pod)):
                refused[name] = why
        now = time.monotonic()
        waiting = [f"{_name(pod)} ({refused.get(_name(pod), 'has not ended yet')})" for pod in pods]
        if now - began > seconds:
            raise PlatformError(
                f"node {node} is not empty after {seconds:.0f} s (local_cluster_drain_seconds), and stays closed to "
                f"new pods: {', '.join(waiting)}"
            )
        if now - said > 10:
            said = now
            say(f"waiting {now - began:.0f} s for {len(waiting)} pods to leave {node}: {waiting[0]}")
        time.sleep(0.5)
    return list(moved)


def forget(cluster: Cluster, node: str) -> bool:
    """Delete a node that does not run any more with what was bound to it; return whether there was one."""
    known = cluster.delete("v1", "Node", node)  # first: as long as it is there DaemonSets give it pods
    for pod in pods_on(cluster, node):
        _tolerant(cluster, "DELETE", _path(pod), {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0})
    return known


def claims_on(cluster: Cluster, node: str) -> list[str]:
    """The claims of volumes that are on a node and nowhere else, as namespace/name."""
    return sorted(
        f"{claim['namespace']}/{claim['name']}"
        for volume in cluster.list("v1", "PersistentVolume")
        if (claim := volume["spec"].get("claimRef")) and bound_to(volume, node)
    )


def bound_to(volume: Object, node: str) -> bool:
    """Whether a PersistentVolume can be used on this node only."""
    required = (volume["spec"].get("nodeAffinity") or {}).get("required") or {}
    return any(
        expression.get("key") == HOSTNAME and expression.get("values") == [node]
        for term in required.get("nodeSelectorTerms", [])
        for expression in term.get("matchExpressions", [])
    )


def pods_on(cluster: Cluster, node: str) -> list[dict[str, Any]]:
    """The pods that are bound to a node."""
    query = {"fieldSelector": f"spec.nodeName={node}"}
    found: list[dict[str, Any]] = cluster.request("GET", "/api/v1/pods", query=query)["items"]
    return found


def moves(pod: Object) -> bool:
    """Whether a pod can leave its node: it is not done, and not one that every node has."""
    metadata = pod["metadata"]
    owners = {owner["kind"] for owner in metadata.get("ownerReferences", []) if owner.get("controller")}
    done = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
    return not done and "DaemonSet" not in owners and MIRROR not in (metadata.get("annotations") or {})


def _evict(cluster: Cluster, pod: Object) -> str:
    """Ask for the end of a pod; return why it is not granted now."""
    about = {key: pod["metadata"][key] for key in ("namespace", "name")}
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": about}
    return _tolerant(cluster, "POST", f"{_path(pod)}/eviction", body)


def _tolerant(cluster: Cluster, method: str, path: str, body: Object) -> str:
    try:
        cluster.request(method, path, body=body)
    except ApiError as error:
        if error.status not in (NOT_FOUND, TOO_MANY_REQUESTS):
            raise
        return str(error) if error.status == TOO_MANY_REQUESTS else ""
    return ""


def _patch(cluster: Cluster, node: str, change: Object) -> None:
    cluster.request("PATCH", f"/api/v1/nodes/{node}", body=change, content_type="application/merge-patch+json")


def _path(pod: Object) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def _name(pod: Object) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
