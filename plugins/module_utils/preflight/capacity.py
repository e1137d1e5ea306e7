# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the pods of the components fit on the nodes beside what runs there."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.manifests import COMPONENT_LABEL
from ansible_collections.mlops.platform.plugins.module_utils.preflight.formats import amount
from ansible_collections.mlops.platform.plugins.module_utils.preflight.needs import Amounts, Needs, Pods, requests_of

STARTING = "node.kubernetes.io/not-ready"
"""The taint of a node that has just been started; it goes away by itself."""
ENDED = ("Succeeded", "Failed")
GIBIBYTE = 1024**3
LESS = "platform_profile: minimal requests less, or set the components' *_resources and *_replicas"
MORE_DEVICES = "let fewer pods ask for it, or give more nodes to the group gpu_nodes"
ROUNDING = 1e-9
"""What is lost in sums of CPUs as binary fractions."""


@dataclass(frozen=True)
class Node:
    """A node with what it has, and what is left of it by the pods of others."""

    name: str
    labels: Mapping[str, str]
    taints: Sequence[Mapping[str, Any]]
    allocatable: Amounts
    free: Amounts

    def fits(self, requests: Amounts) -> int:
        """How many pods with these requests (one of `pods` at least), and no others, have room here."""
        fit = (int(self.free.get(name, 0.0) / value + ROUNDING) for name, value in requests.items() if value)
        return max(0, min(fit))

    def takes(self, pods: Pods) -> bool:
        """Whether the scheduler may put such a pod here, however full the node is."""
        selected = all(self.labels.get(key) == value for key, value in pods.node_selector.items())
        return selected and all(
            any(_tolerates(item, taint) for item in pods.tolerations)
            for taint in self.taints
            if taint.get("effect") in ("NoSchedule", "NoExecute") and taint.get("key") != STARTING
        )


@dataclass(frozen=True)
class Demand:
    """Pods that somebody asks for: who it is, and what can be said instead."""

    who: str
    pods: Pods
    instead: str


@dataclass(frozen=True)
class Served:
    """The pods of a model, with the namespace and the component's label by which they are known."""

    namespace: str
    component: str
    pods: Pods


def demands(needed: Iterable[Needs], models: Iterable[Served] = ()) -> list[Demand]:
    """All that is asked for, by components and by models."""
    found = [
        Demand(item.component, pods, f"allowed is less ({item.component}_resources)")
        for item in needed
        for pods in item.pods
    ]
    return found + [
        Demand(item.component, item.pods, "allowed is less (its resources and min_replicas in platform_models)")
        for item in models
    ]


def nodes_with_room(
    nodes: Iterable[Mapping[str, Any]],
    pods: Iterable[Mapping[str, Any]],
    ours: Container[tuple[str, str]],
    changes: Iterable[Mapping[str, Any]] = (),
) -> list[Node]:
    """Nodes of a cluster, with `changes` as the run will make them: {name, labels, taints, resources}.

    Pods of `ours`, (namespace, component), do not count: they are what is provisioned anew.
    """
    used: dict[str, Amounts] = {}
    for pod in pods:
        metadata, place = pod["metadata"], (pod.get("spec") or {}).get("nodeName")
        component = (metadata.get("labels") or {}).get(COMPONENT_LABEL, "")
        ended = (pod.get("status") or {}).get("phase") in ENDED
        if place and not ended and (metadata.get("namespace", ""), component) not in ours:
            _add(used.setdefault(place, {}), requests_of(pod["spec"]))
    changed = {change["name"]: change for change in changes}
    return [
        _node(node, used.get(node["metadata"]["name"], {}), changed.get(node["metadata"]["name"])) for node in nodes
    ]


def problems(wanted: Sequence[Demand], nodes: Sequence[Node]) -> list[str]:
    """Which pods no node could take, which do not all fit one by one, and what is not enough for all together.

    What is said is certain: there may be more that does not fit, but nothing that does is refused.
    """
    lines: list[str] = []
    single: dict[tuple[str, ...], list[str]] = {}
    totals: dict[tuple[str, ...], Amounts] = {}
    left, crowded = _beside_daemons(wanted, nodes)
    for item in wanted:
        pods = item.pods
        places = [node for node in left if node.takes(pods)]
        if not places and pods.count:
            lines.append(f"{item.who}: no node takes the pods of {pods.owner}: {_constraints(pods)}")
        elif pods.count and (lack := _lack(pods.requests, places)):
            lines.append(f"{item.who}: a pod of {pods.owner} requests {lack}: {item.instead}")
        elif pods.count > (fit := sum(node.fits(pods.requests) for node in places)) and places:
            where = ", ".join(f"{node.fits(pods.requests)} on {node.name}" for node in places)
            line = f"{item.who}: of {pods.count} pods of {pods.owner} {fit} fit ({where}): {item.instead}"
            single.setdefault(tuple(node.name for node in places), []).append(line)
        lasts = places and not pods.owner.startswith("Job ")
        sums = totals.setdefault(tuple(node.name for node in places), {}) if lasts else {}
        _add(sums, pods.requests, pods.count or len(places))
    together = _together(totals, nodes)
    # What is not enough for all of them need not be said of each.
    lines += [line for places, found in single.items() if places not in together for line in found]
    return crowded + lines + [line for found in together.values() for line in found]


def _beside_daemons(wanted: Sequence[Demand], nodes: Sequence[Node]) -> tuple[list[Node], list[str]]:
    """The nodes with what is left of them beside the pods that run on every node, and where those do not fit."""
    lines: list[str] = []
    left: list[Node] = []
    for node in nodes:
        free = dict(node.free)
        for item in wanted:
            if item.pods.count or not node.takes(item.pods):
                continue
            if lack := _lack(item.pods.requests, [replace(node, free=free)]):
                lines.append(f"{item.who}: the pod of {item.pods.owner} on {node.name} requests {lack}: {item.instead}")
            _add(free, item.pods.requests, -1)
        left.append(replace(node, free=free))
    return left, lines


def _together(totals: Mapping[tuple[str, ...], Amounts], nodes: Sequence[Node]) -> dict[tuple[str, ...], list[str]]:
    """Resources of which the pods that may go to some nodes, and nowhere else, request more than is free there."""
    lines: dict[tuple[str, ...], list[str]] = {}
    for places in totals:
        here = [node for node in nodes if node.name in places]
        sums: Amounts = {}
        for others, amounts in totals.items():
            if set(others) <= set(places):
                _add(sums, amounts)
        for name, value in sorted(sums.items()):
            free = sum(node.free.get(name, 0.0) for node in here)
            if value > free:
                everything = sum(node.allocatable.get(name, 0.0) for node in here)
                some = f" ({', '.join(places)})" if len(here) < len(nodes) else ""
                line = (
                    f"all pods together request {shown(name, value)}; {shown(name, free)} of "
                    f"{shown(name, everything)} are free on {len(here)} node{'s' if len(here) > 1 else ''}{some}: "
                )
                lines.setdefault(places, []).append(line + (MORE_DEVICES if "/" in name else LESS))
    return lines


def _add(sums: Amounts, amounts: Amounts, times: int = 1) -> None:
    for name, value in amounts.items():
        sums[name] = sums.get(name, 0.0) + value * times


def shown(name: str, value: float) -> str:
    """An amount of a resource for people."""
    if name in ("memory", "ephemeral-storage"):
        return f"{value / GIBIBYTE:.2f} GiB of {name}"
    return f"{value:g} CPUs" if name == "cpu" else f"{value:g} {name}"


def _node(node: Mapping[str, Any], used: Amounts, change: Mapping[str, Any] | None) -> Node:
    status, spec, metadata = node.get("status") or {}, node.get("spec") or {}, node["metadata"]
    has = {name: float(amount(value) or 0) for name, value in (status.get("allocatable") or {}).items()}
    taints, labels = list(spec.get("taints") or []), dict(metadata.get("labels") or {})
    if change:
        has |= {name: float(number) for name, number in change["resources"].items()}
        labels |= change["labels"]
        taints += [taint for taint in change["taints"] if taint not in taints]
    if spec.get("unschedulable"):
        taints.append({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
    free = {name: value - used.get(name, 0.0) for name, value in has.items()}
    return Node(metadata["name"], labels, taints, has, free)


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
