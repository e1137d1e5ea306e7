# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the pods of the components fit on the nodes beside what runs there."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.manifests import COMPONENT_LABEL
from ansible_collections.mlops.platform.plugins.module_utils.preflight.formats import amount
from ansible_collections.mlops.platform.plugins.module_utils.preflight.needs import Amounts, Needs, Pods, requests_of

STARTING = "node.kubernetes.io/not-ready"
"""The taint of a node that has just been started; it goes away by itself."""
ENDED = ("Succeeded", "Failed")
GIBIBYTE = 1024**3


@dataclass(frozen=True)
class Node:
    """A node with what it has, and what is left of it by the pods of others."""

    name: str
    labels: Mapping[str, str]
    taints: Sequence[Mapping[str, Any]]
    allocatable: Amounts
    free: Amounts

    def takes(self, pods: Pods) -> bool:
        """Whether the scheduler may put such a pod here, however full the node is."""
        selected = all(self.labels.get(key) == value for key, value in pods.node_selector.items())
        return selected and all(
            any(_tolerates(item, taint) for item in pods.tolerations)
            for taint in self.taints
            if taint.get("effect") in ("NoSchedule", "NoExecute") and taint.get("key") != STARTING
        )


def nodes_with_room(
    nodes: Iterable[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]], ours: Container[tuple[str, str]]
) -> list[Node]:
    """Nodes of a cluster. Pods of `ours`, (namespace, component), do not count: they are what is provisioned anew."""
    used: dict[str, Amounts] = {}
    for pod in pods:
        metadata, place = pod["metadata"], (pod.get("spec") or {}).get("nodeName")
        component = (metadata.get("labels") or {}).get(COMPONENT_LABEL, "")
        ended = (pod.get("status") or {}).get("phase") in ENDED
        if place and not ended and (metadata.get("namespace", ""), component) not in ours:
            sums = used.setdefault(place, {})
            for name, value in requests_of(pod["spec"]).items():
                sums[name] = sums.get(name, 0.0) + value
    return [_node(node, used.get(node["metadata"]["name"], {})) for node in nodes]


def problems(needed: Sequence[Needs], nodes: Sequence[Node]) -> list[str]:
    """Which pods no node could take, and which resource is not enough for all of them together."""
    lines: list[str] = []
    totals: dict[tuple[str, ...], Amounts] = {}
    for item in needed:
        for pods in item.pods:
            places = [node for node in nodes if node.takes(pods)]
            if not places and pods.count:
                lines.append(f"{item.component}: no node takes the pods of {pods.owner}: {_constraints(pods)}")
            elif places and (lack := _lack(pods.requests, places)):
                less = f"allowed is less ({item.component}_resources)"
                lines.append(f"{item.component}: a pod of {pods.owner} requests {lack}: {less}")
            lasts = places and not pods.owner.startswith("Job ")
            sums = totals.setdefault(tuple(node.name for node in places), {}) if lasts else {}
            for name, value in pods.requests.items():
                sums[name] = sums.get(name, 0.0) + value * (pods.count or len(places))
    return lines + _together(totals, nodes)


def _together(totals: Mapping[tuple[str, ...], Amounts], nodes: Sequence[Node]) -> list[str]:
    """Resources of which the pods that may go to the same nodes request more than is free there."""
    lines: list[str] = []
    for places, sums in totals.items():
        here = [node for node in nodes if node.name in places]
        for name, value in sorted(sums.items()):
            free = sum(node.free.get(name, 0.0) for node in here)
            if value > free:
                everything = sum(node.allocatable.get(name, 0.0) for node in here)
                lines.append(
                    f"all pods together request {shown(name, value)}; {shown(name, free)} of "
                    f"{shown(name, everything)} are free on {len(here)} node{'s' if len(here) > 1 else ''}: "
                    "platform_profile: minimal requests less, or set the components' *_resources and *_replicas"
                )
    return lines


def shown(name: str, value: float) -> str:
    """An amount of a resource for people."""
    if name in ("memory", "ephemeral-storage"):
        return f"{value / GIBIBYTE:.2f} GiB of {name}"
    return f"{value:g} CPUs" if name == "cpu" else f"{value:g} {name}"


def _node(node: Mapping[str, Any], used: Amounts) -> Node:
    status, spec, metadata = node.get("status") or {}, node.get("spec") or {}, node["metadata"]
    has = {name: float(amount(value) or 0) for name, value in (status.get("allocatable") or {}).items()}
    taints = list(spec.get("taints") or [])
    if spec.get("unschedulable"):
        taints.append({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
    free = {name: value - used.get(name, 0.0) for name, value in has.items()}
    return Node(metadata["name"], metadata.get("labels") or {}, taints, has, free)


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    """As https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/ says."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint.get("key"))
    return toleration.get("key") == taint.get("key") and (toleration.get("value") or "") == (taint.get("value") or "")


def _lack(requests: Amounts, nodes: Sequence[Node]) -> str:
    """What a pod requests that not one of the nodes has free; empty where one has it all."""
    if any(all(value <= node.free.get(name, 0.0) for name, value in requests.items()) for node in nodes):
        return ""
    found = []
    for name, value in requests.items():
        most = max((node.free.get(name, 0.0) for node in nodes), default=0.0)
        if value > most:
            found.append(f"{shown(name, value)}, of which the emptiest node has {shown(name, most)} free")
    return "; ".join(found) or "more than any single node has free"


def _constraints(pods: Pods) -> str:
    selector = ", ".join(f"{key}={value}" for key, value in pods.node_selector.items())
    return f"none has the labels {selector} and taints that they tolerate" if selector else "all have taints"
