# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs in the cluster and what it takes: images with their digests, requests, limits, live use, nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.cluster import (
    ApiError,
    Cluster,
    Objects,
    container_statuses,
)
from ansible_collections.mlops.platform.plugins.module_utils.manifests import COMPONENT_LABEL
from kubernetes.utils.quantity import parse_quantity

METRICS = "metrics.k8s.io/v1beta1"
ENDED = ("Succeeded", "Failed")


def usage(cluster: Cluster, component: str, namespaces: Iterable[str]) -> dict[str, Any]:
    """The `images` and `resources` of a component, with two requests for each of its namespaces.

    Live use is left out where the cluster serves no metrics, and everything where the user may not list pods.
    """
    selector = f"{COMPONENT_LABEL}={component}"
    spaces = list(namespaces)
    pods = [pod for space in spaces for pod in _list(cluster, "v1", "Pod", space, selector)]
    metrics = [item for space in spaces for item in _list(cluster, METRICS, "PodMetrics", space, selector)]
    return {"images": images(pods), "resources": resources(pods, metrics)}


def nodes(cluster: Cluster) -> list[dict[str, Any]]:
    """What each node can give to pods: CPUs, bytes of memory, a number of pods."""
    return [
        {
            "name": node["metadata"]["name"],
            **amounts(node["status"].get("allocatable")),
            "pods": int(node["status"].get("allocatable", {}).get("pods", 0)),
        }
        for node in _list(cluster, "v1", "Node")
    ]


def images(pods: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The images that pods ask for, the digests of what they got ("" where nothing was pulled), and who uses each."""
    found: dict[tuple[str, str], list[str]] = {}
    for pod in pods:
        got = {item["name"]: str(item.get("imageID") or "") for item in container_statuses(pod)}
        for container in _containers(pod):
            digest = got.get(container["name"], "")
            key = (str(container.get("image", "")), digest[max(0, digest.find("sha256:")) :])
            found.setdefault(key, []).append(f"{pod['metadata']['name']}/{container['name']}")
    return [{"image": image, "digest": digest, "containers": users} for (image, digest), users in sorted(found.items())]


def resources(pods: Iterable[Mapping[str, Any]], metrics: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Requests, limits and live use of each container that runs: CPUs and bytes of memory."""
    used = {
        (item["metadata"]["name"], container["name"]): container.get("usage")
        for item in metrics
        for container in item.get("containers", [])
    }
    found: list[dict[str, Any]] = []
    for pod in pods:
        if (pod.get("status") or {}).get("phase") in ENDED:
            continue
        name = pod["metadata"]["name"]
        for container in pod["spec"]["containers"]:
            wanted = container.get("resources") or {}
            found.append(
                {
                    "pod": name,
                    "container": container["name"],
                    "requests": amounts(wanted.get("requests")),
                    "limits": amounts(wanted.get("limits")),
                    "usage": amounts(used.get((name, container["name"]))),
                }
            )
    return found


def amounts(quantities: Mapping[str, Any] | None) -> dict[str, float]:
    """CPUs and bytes of memory among Kubernetes quantities; what is not there is left out."""
    found: dict[str, float] = {}
    if cpu := (quantities or {}).get("cpu"):
        found["cpu"] = round(float(parse_quantity(cpu)), 4)
    if memory := (quantities or {}).get("memory"):
        found["memory_bytes"] = int(parse_quantity(memory))
    return found


def _containers(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]


def _list(cluster: Cluster, api_version: str, kind: str, namespace: str | None = None, selector: str = "") -> Objects:
    """The objects of a kind; none where the cluster does not serve them to this user."""
    try:
        return cluster.list(api_version, kind, namespace, selector)
    except ApiError:
        return []
