# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GPUs: nodes offer what the inventory says, pods that ask for one get one there, and all others are kept off."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils import gpu
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import (
    PROBE_LABEL,
    Access,
    Check,
    CheckFailed,
    NotYet,
    abandoned,
)
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Object
from ansible_collections.mlops.platform.plugins.module_utils.preflight.capacity import nodes_with_room
from ansible_collections.mlops.platform.plugins.module_utils.rollout import conditions, pod_problem
from ansible_collections.mlops.platform.plugins.module_utils.waiting import Waker

PROBE = "gpu"
DEVICES = "NVIDIA_VISIBLE_DEVICES"
"""The variable in which a container is told of its devices."""
FILE = re.compile(r"nvidia\d+")
"""The file of a GPU in /dev, whole or divided."""
ENDED = ("Succeeded", "Failed")
LOOK_SECONDS = 5.0
LINES = 200
"""More than a container has variables."""

Nodes = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class GpuCheck(Check):
    """A check of `nodes`, each {name, resources, taints, ...} as module_utils/gpu.py describes them."""

    nodes: Nodes

    @property
    def target(self) -> str:
        return ", ".join(f"node {node['name']}" for node in self.nodes)

    @property
    def offers(self) -> dict[str, list[str]]:
        """The nodes that must offer a resource, by its name."""
        found: dict[str, list[str]] = {}
        for node in self.nodes:
            for name in node["resources"]:
                found.setdefault(name, []).append(node["name"])
        return found


@dataclass(frozen=True)
class GpuAllocatableCheck(GpuCheck):
    """What the kubelets say can be allocated is what the inventory says, and no other resource of the kind is there."""

    def run(self, access: Access) -> tuple[object, object]:
        expected = {node["name"]: dict(node["resources"]) for node in self.nodes}
        found = {item["metadata"]["name"]: item for item in access.cluster.list("v1", "Node")}
        observed = {name: _allocatable(found.get(name)) for name in expected}
        if observed != expected:
            wrong = [
                f"{name} offers {_told(observed[name])}, not {_told(expected[name])}"
                for name in expected
                if observed[name] != expected[name]
            ]
            raise NotYet("; ".join(wrong), observed, expected)
        return observed, expected


@dataclass(frozen=True)
class GpuProbeCheck(GpuCheck):
    """A check that makes pods of `image`, which has a shell; `tolerations` lead them to GPUs.

    `pull_secrets` are the names of the Secrets that the image is pulled with.
    """

    image: str
    tolerations: Sequence[Mapping[str, Any]] = ()
    pull_secrets: Sequence[str] = ()

    @contextmanager
    def pod(self, access: Access, spec: Mapping[str, Any], limits: Mapping[str, str]) -> Iterator[Object]:
        """A pod that says which devices it was given, and ends; it is removed again."""
        for left in access.cluster.list("v1", "Pod", access.namespace, f"{PROBE_LABEL}={PROBE}"):
            if abandoned(left):
                access.cluster.delete("v1", "Pod", left["metadata"]["name"], access.namespace)
        name = f"gpu-probe-{secrets.token_hex(4)}"
        amounts = {"cpu": "5m", "memory": "8Mi"}
        made = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": access.namespace, "labels": {PROBE_LABEL: PROBE}},
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 0,
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "imagePullSecrets": [{"name": secret} for secret in self.pull_secrets],
                **spec,
                "containers": [
                    {
                        "name": "probe",
                        "image": self.image,
                        "command": ["sh", "-c", "env; ls /dev"],
                        "resources": {"requests": amounts, "limits": {"memory": "8Mi", **limits}},
                    }
                ],
            },
        }
        try:
            access.cluster.apply(made)
            yield made
        finally:
            access.cluster.delete("v1", "Pod", name, access.namespace)

    def until(self, access: Access, pod: Object, seen: Callable[[Object], bool], what: str) -> Object:
        """The pod as soon as something is `seen` of it. Raises CheckFailed where that is not before the deadline."""
        path = access.cluster.resource("v1", "Pod").path(access.namespace)
        with Waker(access.cluster, {path}, f"{PROBE_LABEL}={PROBE}") as waker:
            while True:
                found = access.cluster.get("v1", "Pod", pod["metadata"]["name"], access.namespace)
                if found is None:
                    raise CheckFailed("somebody removed the pod of the check", "gone", what)
                if seen(found):
                    return {**found, "kind": "Pod"}
                if access.left < 1:
                    problem = pod_problem(found)
                    raise CheckFailed(problem.message if problem else f"not {what}", _phase(found), what)
                waker.wait(min(LOOK_SECONDS, access.left))


@dataclass(frozen=True)
class GpuPodCheck(GpuProbeCheck):
    """For each resource a pod that asks for one of it, and names no node, runs where it is offered and gets a device.

    Where all of it is held by pods that run, they are the proof, and none is taken from them.
    """

    def run(self, access: Access) -> tuple[object, object]:
        pods = access.cluster.list("v1", "Pod")
        room = nodes_with_room(access.cluster.list("v1", "Node"), pods, ())
        observed: dict[str, str] = {}
        for resource, names in sorted(self.offers.items()):
            free = sum(node.free.get(resource, 0) for node in room if node.name in names)
            observed[resource] = self._tried(access, resource, names) if free >= 1 else _held(pods, resource, names)
        return observed, {resource: f"on {' or '.join(names)}" for resource, names in sorted(self.offers.items())}

    def _tried(self, access: Access, resource: str, names: Sequence[str]) -> str:
        where = f"runs on {' or '.join(names)}"
        with self.pod(access, {"tolerations": list(self.tolerations)}, {resource: "1"}) as made:
            ended = self.until(access, made, lambda pod: _phase(pod) in ENDED, where)
            node = ended["spec"].get("nodeName", "")
            if node not in names:
                raise CheckFailed(f"a pod that asks for {resource} ran on {node}", node, where)
            lines = access.cluster.last_lines(ended, "probe", LINES)
            devices = [line.partition("=")[2] for line in lines if line.startswith(f"{DEVICES}=")]
            if _phase(ended) == "Failed" or not devices:
                said = problem.message if (problem := pod_problem(ended)) else "it has ended well"
                matter = f"a pod with {resource} on {node} was given no device ({DEVICES} is not set): {said}"
                raise CheckFailed(matter, "none", where)
            if self._real(node) and not any(FILE.fullmatch(line.strip()) for line in lines):
                matter = f"a pod with {resource} on {node} sees no /dev/nvidia<number>: the runtime of containerd there"
                raise CheckFailed(f"{matter} is not NVIDIA's", devices[-1], where)
        return f"on {node}: {devices[-1]}"

    def _real(self, name: str) -> bool:
        """Whether the devices of a node are no simulated ones."""
        return any(node["name"] == name and node.get("device_plugin") == "nvidia" for node in self.nodes)


@dataclass(frozen=True)
class GpuKeptOffCheck(GpuProbeCheck):
    """A pod that asks for no GPU does not get onto a node that has some: its taints keep it off."""

    def run(self, access: Access) -> tuple[object, object]:
        observed = {node["name"]: self._tried(access, node["name"]) for node in self.nodes}
        return observed, dict.fromkeys(observed, "kept off by a taint")

    def _tried(self, access: Access, node: str) -> str:
        expected = "kept off by a taint"
        with self.pod(access, {"affinity": _only(node)}, {}) as made:
            seen = self.until(access, made, lambda pod: _placed(pod) or bool(_reason(pod)), expected)
            if _placed(seen):
                raise CheckFailed(f"a pod that asks for no GPU was put onto {node}", "scheduled", expected)
            reason = _reason(seen)
            if "taint" not in reason:
                raise CheckFailed(f"not a taint kept a pod off {node}: {reason}", reason, expected)
            return reason


@dataclass(frozen=True)
class GpuTooManyCheck(GpuProbeCheck):
    """For each resource a pod that asks for one more than any node has stays Pending, and the scheduler says why."""

    def run(self, access: Access) -> tuple[object, object]:
        most = {resource: max(node["resources"].get(resource, 0) for node in self.nodes) for resource in self.offers}
        observed = {resource: self._tried(access, resource, number + 1) for resource, number in sorted(most.items())}
        return observed, {resource: f"Pending: Insufficient {resource}" for resource in sorted(most)}

    def _tried(self, access: Access, resource: str, number: int) -> str:
        expected = f"Pending: Insufficient {resource}"
        with self.pod(access, {"tolerations": list(self.tolerations)}, {resource: str(number)}) as made:
            seen = self.until(access, made, lambda pod: _placed(pod) or bool(_reason(pod)), expected)
            if _placed(seen):
                node = seen["spec"]["nodeName"]
                raise CheckFailed(f"a pod that asks for {number} {resource} was put onto {node}", "scheduled", expected)
            reason = _reason(seen)
            if f"Insufficient {resource}" not in reason:
                raise CheckFailed(
                    f"a pod with {number} {resource} waits for something else: {reason}", reason, expected
                )
            return f"Pending with {number}: {reason}"


def _allocatable(node: Object | None) -> dict[str, int]:
    """The GPUs that a node offers. A kubelet goes on to tell of resources that are gone, with 0."""
    found = ((node or {}).get("status") or {}).get("allocatable") or {}
    return {name: int(value) for name, value in found.items() if name.startswith(f"{gpu.DOMAIN}/") and int(value)}


def _told(resources: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(resources.items())) or "no GPU"


def _held(pods: Sequence[Object], resource: str, names: Sequence[str]) -> str:
    """Who holds all of a resource. Raises CheckFailed where nobody does who runs."""
    who = [
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        for pod in pods
        if _phase(pod) == "Running" and pod["spec"].get("nodeName") in names and resource in _limits(pod)
    ]
    if not who:
        raise NotYet(f"no {resource} is free on {', '.join(names)}, and no running pod holds one", "none", "one")
    return f"all are held by {', '.join(sorted(who))}"


def _limits(pod: Object) -> set[str]:
    return {name for box in pod["spec"]["containers"] for name in (box.get("resources") or {}).get("limits") or {}}


def _phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase") or "Pending")


def _placed(pod: Object) -> bool:
    return bool(pod["spec"].get("nodeName"))


def _reason(pod: Object) -> str:
    """Why the scheduler has no node for a pod; empty where it has said nothing yet."""
    scheduled = conditions(pod).get("PodScheduled", {})
    return str(scheduled.get("message") or "") if scheduled.get("status") == "False" else ""


def _only(node: str) -> dict[str, Any]:
    """The affinity of a pod that may run on one node alone. A node that it names would take it unasked."""
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
