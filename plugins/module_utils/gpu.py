# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes with GPUs as an inventory describes them: what they offer, how they are labelled, how they are given back.

The names are those of NVIDIA's device plugin and of its feature discovery
(https://github.com/NVIDIA/k8s-device-plugin, https://docs.nvidia.com/datacenter/tesla/mig-user-guide).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.component import build
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.manifests import digest

DOMAIN = "nvidia.com"
GPU = f"{DOMAIN}/gpu"
KIND_LABEL = "mlops.platform/gpu-kind"
"""By which nodes are found that one device plugin's configuration is for."""
BEFORE = "mlops.platform/gpu-node-before"
"""The annotation in which a node keeps what its labels and taints were before they became ours."""
PROFILE = re.compile(r"[1-7]g\.(\d+)gb(\+[a-z]+)?")
"""A MIG profile: slices of computing, memory, and what else the part has (+me: media engines)."""
MEBIBYTES = 1024

Object = Mapping[str, Any]


@dataclass(frozen=True)
class GpuNode:
    """One node: `count` equal GPUs of `memory_mib` each.

    `mig_profiles` says into how many parts of which profile each GPU is divided, which counts where `mig_strategy` is
    not none. `time_slicing_replicas` pods share one GPU or part, which is offered as `.shared` with
    `time_slicing_renamed`. In `kubelet_dir` its kubelet tells who holds what. `taints` and `labels`
    are put on the node besides those that tell what it has.
    """

    name: str
    product: str
    count: int
    memory_mib: int
    mig_strategy: str = "none"
    mig_profiles: Mapping[str, int] = field(default_factory=dict)
    time_slicing_replicas: int = 1
    time_slicing_renamed: bool = False
    device_plugin: str = "nvidia"
    kubelet_dir: str = "/var/lib/kubelet"
    taints: tuple[Mapping[str, str], ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> GpuNode:
        """The node of plain data. Raises PlatformError for keys that it does not have, and for those it needs."""
        plain = json.loads(json.dumps(raw))
        return build(cls, {**plain, "taints": tuple(plain.get("taints") or ())}, f"GPU node {plain.get('name', '?')}")

    @property
    def parts(self) -> dict[str, int]:
        """How many of each name can be handed out before they are shared: whole GPUs, or parts of them."""
        if self.mig_strategy == "none" or not self.mig_profiles:
            return {GPU: self.count}
        if self.mig_strategy == "single":
            return {GPU: self.count * sum(self.mig_profiles.values())}
        return {mig_resource(profile): self.count * number for profile, number in sorted(self.mig_profiles.items())}

    @property
    def resources(self) -> dict[str, int]:
        """What the node must offer to pods, by the resource's name."""
        shared = self.time_slicing_replicas > 1
        suffix = ".shared" if shared and self.time_slicing_renamed else ""
        return {name + suffix: number * self.time_slicing_replicas for name, number in self.parts.items()}

    @property
    def plugin_config(self) -> dict[str, Any]:
        """The configuration of NVIDIA's device plugin, which the simulated one reads, too."""
        config: dict[str, Any] = {
            "version": "v1",
            "flags": {"migStrategy": self.mig_strategy, "failOnInitError": True},
        }
        if self.time_slicing_replicas > 1:
            config["sharing"] = {
                "timeSlicing": {
                    "renameByDefault": self.time_slicing_renamed,
                    # Two of one shared GPU are not twice its time: who asks for them is told.
                    "failRequestsGreaterThanOne": True,
                    "resources": [{"name": name, "replicas": self.time_slicing_replicas} for name in self.parts],
                }
            }
        return config

    @property
    def devices(self) -> dict[str, Any]:
        """What a simulated device plugin is told that the node has."""
        return {
            "product": self.product,
            "count": self.count,
            "memoryMib": self.memory_mib,
            "migProfiles": dict(self.mig_profiles),
            "heldPercent": 60,
        }

    @property
    def kind(self) -> str:
        """The name of all nodes that the same device plugin, configured alike, is for."""
        described = {**self.devices, "kubelet": self.kubelet_dir} if self.device_plugin == "simulated" else {}
        about = {"plugin": self.device_plugin, "config": self.plugin_config, **described}
        slug = re.sub(r"[^a-z0-9]+", "-", self.product.lower()).strip("-")[:40].strip("-")
        return f"{slug}-{digest(about)[:6]}"

    @property
    def all_labels(self) -> dict[str, str]:
        """Its labels: those of the inventory, those that feature discovery would find, and our own."""
        single = self.mig_strategy == "single" and bool(self.mig_profiles)
        profile = next(iter(self.mig_profiles), "")
        shared = self.time_slicing_replicas > 1
        product = self.product + (f"-MIG-{profile.replace('+', '.')}" if single else "")
        found = {
            f"{GPU}.present": "true",
            f"{GPU}.product": product + ("-SHARED" if shared and not self.time_slicing_renamed else ""),
            f"{GPU}.count": str(self.parts[GPU] if single else self.count),
            f"{GPU}.memory": str(profile_memory(profile) if single else self.memory_mib),
            f"{GPU}.replicas": str(self.time_slicing_replicas),
            f"{GPU}.sharing-strategy": "time-slicing" if shared else "none",
            KIND_LABEL: self.kind,
        }
        if self.mig_strategy != "none":
            found[f"{DOMAIN}/mig.strategy"] = self.mig_strategy
        if self.mig_strategy == "mixed":
            for name, number in self.mig_profiles.items():
                found[f"{mig_resource(name)}.count"] = str(self.count * number)
                found[f"{mig_resource(name)}.memory"] = str(profile_memory(name))
        return found | dict(self.labels)

    def described(self) -> dict[str, Any]:
        """Plain data for templates, steps and checks: the node with what follows from its description."""
        return {
            **asdict(self),
            "taints": [dict(taint) for taint in self.taints],
            "labels": self.all_labels,
            "resources": self.resources,
            "kind": self.kind,
            "plugin_config": self.plugin_config,
            "devices": self.devices,
        }


def mig_resource(profile: str) -> str:
    """The resource of a MIG profile under the strategy mixed."""
    return f"{DOMAIN}/mig-{profile.replace('+', '.')}"


def profile_memory(profile: str) -> int:
    """The memory of a part in MiB, as its profile's name says it. Raises PlatformError for what is no profile."""
    found = PROFILE.fullmatch(profile)
    if not found:
        raise PlatformError(f"gpu_node_mig_profiles: {profile!r} is no MIG profile; allowed is one such as 1g.5gb")
    return int(found[1]) * MEBIBYTES


def described(raw: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The nodes of an inventory. Raises PlatformError where two hosts stand for one node."""
    nodes = [GpuNode.parse(item) for item in raw]
    for name in (node.name for node in nodes):
        if sum(node.name == name for node in nodes) > 1:
            raise PlatformError(f"gpu_node_name: {name!r} is the node of several hosts in the group gpu_nodes")
    return [node.described() for node in nodes]


def become(node: Object, labels: Mapping[str, str], taints: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """A merge patch that gives a node its labels and taints and lets it remember what was there; empty if all is so."""
    before, now = _before(node), _now(node)
    # One that is there already may have a time of its own.
    same = {_taint_key(taint): dict(taint) for taint in taints}
    same |= {key: now["taints"][key] for key in same if _value(now["taints"].get(key)) == _value(same[key])}
    wanted: dict[str, dict[str, Any]] = {"labels": dict(labels), "taints": same}
    kept: dict[str, dict[str, Any]] = {}
    changes: dict[str, dict[str, Any]] = {}
    for part, want in wanted.items():
        # What an earlier inventory asked for and this one does not is as it was before.
        changes[part] = {key: old for key, old in before[part].items() if key not in want} | want
        kept[part] = {key: before[part].get(key, now[part].get(key)) for key in want}
    return _patch(node, now, changes, json.dumps(kept, sort_keys=True))


def give_back(node: Object) -> dict[str, Any]:
    """A merge patch that makes labels and taints of a node what they were before; empty where it was never ours."""
    return _patch(node, _now(node), _before(node), None) if is_ours(node) else {}


def is_ours(node: Object) -> bool:
    """Whether a node has become a GPU node by an inventory."""
    return BEFORE in (node["metadata"].get("annotations") or {})


def _before(node: Object) -> dict[str, dict[str, Any]]:
    text = (node["metadata"].get("annotations") or {}).get(BEFORE)
    found: dict[str, dict[str, Any]] = json.loads(text) if text else {}
    return {"labels": found.get("labels", {}), "taints": found.get("taints", {})}


def _now(node: Object) -> dict[str, dict[str, Any]]:
    taints = (node.get("spec") or {}).get("taints") or []
    labels = node["metadata"].get("labels") or {}
    return {"labels": dict(labels), "taints": {_taint_key(taint): taint for taint in taints}}


def _taint_key(taint: Mapping[str, str]) -> str:
    """What makes two taints the same: a node has each key once with an effect."""
    return f"{taint['key']}:{taint['effect']}"


def _value(taint: Mapping[str, str] | None) -> str | None:
    return None if taint is None else taint.get("value") or ""


def _patch(
    node: Object, now: Mapping[str, Mapping[str, Any]], changes: Mapping[str, Mapping[str, Any]], kept: str | None
) -> dict[str, Any]:
    labels = {key: value for key, value in changes["labels"].items() if now["labels"].get(key) != value}
    taints = {key: value for key, value in {**now["taints"], **changes["taints"]}.items() if value is not None}
    annotation = (node["metadata"].get("annotations") or {}).get(BEFORE)
    patch: dict[str, Any] = {}
    if labels or annotation != kept:
        patch["metadata"] = {"labels": labels, "annotations": {BEFORE: kept}}
    if taints != now["taints"]:
        patch["spec"] = {"taints": list(taints.values())}
    if patch:
        # Lists are replaced whole: nothing that somebody else has just added may be lost.
        patch.setdefault("metadata", {})["resourceVersion"] = node["metadata"]["resourceVersion"]
    return patch


def holders(pods: Iterable[Object], node: str) -> list[str]:
    """The pods ("namespace/name") that hold GPUs of a node."""
    found = []
    for pod in pods:
        here = (pod.get("spec") or {}).get("nodeName") == node
        if here and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed") and asks(pod["spec"]):
            found.append(f"{pod['metadata']['namespace']}/{pod['metadata']['name']}")
    return sorted(found)


def asks(spec: Object) -> bool:
    """Whether a pod asks for a GPU, or a part of one."""
    boxes = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    names = {name for box in boxes for name in (box.get("resources") or {}).get("limits") or {}}
    return any(name.startswith(f"{DOMAIN}/") for name in names)
