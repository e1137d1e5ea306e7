# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a component will need of a cluster, from its rendered manifests: read before anything is applied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.component import Component
from ansible_collections.mlops.platform.plugins.module_utils.manifests import (
    OPERATED,
    Manifest,
    identity,
    namespace_manifest,
    operated_set,
    pod_template,
    title,
)
from ansible_collections.mlops.platform.plugins.module_utils.observation import API, MONITORS
from ansible_collections.mlops.platform.plugins.module_utils.preflight.formats import amount

Amounts = dict[str, float]
"""Amounts by resource: cpu in cores, memory in bytes, others in pieces."""
GPU_NODES = "gpu_nodes"
"""The type of the step that changes nodes (module_utils/configure/gpu.py)."""


@dataclass(frozen=True)
class Pods:
    """`count` equal pods of one workload (0: one on every node), with what one of them requests."""

    owner: str
    count: int
    requests: Amounts
    node_selector: Mapping[str, str]
    tolerations: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Claim:
    """A volume that is claimed: its name in a namespace, size in bytes, its class ("" for the default one)."""

    name: str
    namespace: str
    size: float
    storage_class: str


@dataclass(frozen=True)
class Needs:
    """What one component in one `version` needs.

    `labels` are those that its own `namespace` must have; `objects` are identities; `kinds` are (apiVersion, kind,
    namespace); `definitions` are (group, kind) that it brings; `secrets_used` are (namespace, name, owner),
    `secrets_made` (namespace, name); `node_ports` are (port, Service); `priority_classes` are names; `acts` are
    (namespace, group, resource, verb) besides those of applying and proving in its namespaces. What may come `later`
    is left out of a run where the cluster does not know its kinds. `nodes` are those that it changes, each {name,
    labels, taints, resources} as it will be.
    """

    component: str
    version: str
    namespace: str
    labels: Mapping[str, str]
    namespaces: Sequence[str]
    objects: Sequence[str]
    kinds: Sequence[Sequence[str]]
    definitions: Sequence[Sequence[str]]
    pods: Sequence[Pods]
    claims: Sequence[Claim]
    secrets_used: Sequence[Sequence[str]]
    secrets_made: Sequence[Sequence[str]]
    node_ports: Sequence[Sequence[Any]]
    priority_classes: Sequence[str]
    acts: Sequence[Sequence[str]]
    later: bool
    nodes: Sequence[Mapping[str, Any]] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as a task returns it."""
        return asdict(self)

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Needs:
        """The needs out of a task's result."""
        pods, claims = [Pods(**item) for item in raw["pods"]], [Claim(**item) for item in raw["claims"]]
        return cls(**{**raw, "pods": pods, "claims": claims})


def needs(component: Component, manifests: Sequence[Manifest], *, later: bool = False) -> Needs:
    """What a component needs whose manifests are stamped."""
    made = [(space, spec.name) for spec in component.secrets for space in (spec.namespace, *spec.copies)]
    pods = [(item, template["spec"]) for item in manifests if (template := pod_template(item))]
    used = [
        (item["metadata"].get("namespace") or "", name, title(item))
        for item, pod in pods
        for name in sorted(_secrets(pod))
    ]
    spaces = {*component.spaces, *(space for space, _ in made)}
    spaces |= {item["metadata"]["namespace"] for item in manifests if item["metadata"].get("namespace")}
    definitions = [item["spec"] for item in manifests if item["kind"] == "CustomResourceDefinition"]
    classes = {str(pod.get("priorityClassName") or "") for _, pod in pods}
    services = [item for item in manifests if item["kind"] == "Service"]
    return Needs(
        component=component.name,
        version=component.version,
        namespace=component.namespace,
        labels=namespace_manifest(component.namespace, component.pod_security)["metadata"]["labels"],
        namespaces=sorted(spaces),
        objects=[identity(item) for item in manifests],
        kinds=sorted({(m["apiVersion"], m["kind"], m["metadata"].get("namespace") or "") for m in manifests}),
        definitions=[(spec["group"], spec["names"]["kind"]) for spec in definitions],
        pods=list(_pods(manifests)),
        claims=list(_claims(manifests)),
        secrets_used=used,
        secrets_made=[*made, *_certificates(manifests)],
        node_ports=[
            (port["nodePort"], identity(item))
            for item in services
            for port in item["spec"].get("ports") or []
            if port.get("nodePort")
        ],
        priority_classes=sorted(classes - {""}),
        acts=list(_acts(component)),
        later=later,
        nodes=[
            {key: node[key] for key in ("name", "labels", "taints", "resources")}
            for step in component.configure
            if step["type"] == GPU_NODES
            for node in step["nodes"]
        ],
    )


def _acts(component: Component) -> Iterator[tuple[str, str, str, str]]:
    """What proving an observation asks of the cluster, what steps do to pods and nodes, where checks make pods."""
    if component.observes:
        for kind in (*MONITORS, "PrometheusRule"):
            yield "", API.partition("/")[0], f"{kind.lower()}s", "list"
    for step in component.configure:
        if step["type"] == "prometheus":
            yield step["service"]["namespace"], "", "pods", "patch"
        if step["type"] == GPU_NODES:
            yield from (("", "", "nodes", verb) for verb in ("list", "patch"))
            yield "", "", "pods", "list"
            yield component.namespace, "", "pods", "create"
    for check in component.checks:
        if check["type"] == "connection":
            yield check.get("client") or component.namespace, "", "pods", "create"


def _certificates(manifests: Sequence[Manifest]) -> list[tuple[str, str]]:
    """The Secrets (namespace, name) that cert-manager makes of the Certificates among some manifests."""
    return [
        (item["metadata"]["namespace"], item["spec"]["secretName"])
        for item in manifests
        if item["kind"] == "Certificate" and item["apiVersion"].startswith("cert-manager.io/")
    ]


def requests_of(pod: Mapping[str, Any]) -> Amounts:
    """What a pod requests: its containers together, or the largest of those that run before them."""
    initial = pod.get("initContainers") or []
    side = [item for item in initial if item.get("restartPolicy") == "Always"]
    together: dict[str, Decimal] = {"pods": Decimal(1)}
    for container in [*(pod.get("containers") or []), *side]:
        for name, value in _requests(container).items():
            together[name] = together.get(name, Decimal(0)) + value
    for container in initial:
        for name, value in _requests(container).items():
            together[name] = max(together.get(name, Decimal(0)), value)
    for name, value in (pod.get("overhead") or {}).items():
        together[name] = together.get(name, Decimal(0)) + (amount(value) or Decimal(0))
    return {name: float(value) for name, value in together.items()}


def _requests(container: Mapping[str, Any]) -> dict[str, Decimal]:
    """Requests of a container; what is only limited is requested to its limit."""
    resources = container.get("resources") or {}
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: found for name, value in asked.items() if (found := amount(value)) is not None}


def _pods(manifests: Sequence[Manifest]) -> Iterator[Pods]:
    scaled: dict[tuple[str, str, str], int] = {}
    for item in manifests:
        if item["kind"] == "HorizontalPodAutoscaler":
            target = item["spec"]["scaleTargetRef"]
            place = (item["metadata"].get("namespace", ""), target["kind"], target["name"])
            scaled[place] = int(item["spec"].get("minReplicas") or 1)
    for item in manifests:
        if item["kind"] in OPERATED:
            spec = item["spec"]
            yield Pods(
                owner=title(item),
                count=int(spec.get("replicas", 1)),
                requests=requests_of({"containers": [{"resources": spec.get("resources")}]}),
                node_selector=spec.get("nodeSelector") or {},
                tolerations=spec.get("tolerations") or [],
            )
        if template := pod_template(item):
            spec, metadata = item["spec"], item["metadata"]
            if item["kind"] == "CronJob":
                spec = spec["jobTemplate"]["spec"]
            given = scaled.get((metadata.get("namespace", ""), item["kind"], metadata["name"]), 1)
            count = spec.get("parallelism" if item["kind"] in ("Job", "CronJob") else "replicas")
            pod = template["spec"]
            yield Pods(
                owner=title(item),
                count=0 if item["kind"] == "DaemonSet" else given if count is None else int(count),
                requests=requests_of(pod),
                node_selector=pod.get("nodeSelector") or {},
                tolerations=pod.get("tolerations") or [],
            )


def _claims(manifests: Sequence[Manifest]) -> Iterator[Claim]:
    for item in manifests:
        space, name = item["metadata"].get("namespace") or "", item["metadata"]["name"]
        if item["kind"] == "PersistentVolumeClaim":
            yield _claim(name, space, item["spec"])
        elif item["kind"] == "StatefulSet":
            for template in item["spec"].get("volumeClaimTemplates") or []:
                for number in range(int(item["spec"].get("replicas", 1))):
                    yield _claim(f"{template['metadata']['name']}-{name}-{number}", space, template["spec"])
        elif item["kind"] in OPERATED:
            made = operated_set(item)
            if template := (item["spec"].get("storage") or {}).get("volumeClaimTemplate"):
                for number in range(int(item["spec"].get("replicas", 1))):
                    yield _claim(f"{made}-db-{made}-{number}", space, template["spec"])


def _claim(name: str, namespace: str, spec: Mapping[str, Any]) -> Claim:
    size = amount(((spec.get("resources") or {}).get("requests") or {}).get("storage"))
    return Claim(name, namespace, float(size or 0), spec.get("storageClassName") or "")


def _secrets(pod: Mapping[str, Any]) -> set[str]:
    """The Secrets without which a pod does not start."""
    found: set[str] = {item["name"] for item in pod.get("imagePullSecrets") or []}
    for volume in pod.get("volumes") or []:
        for source in [volume, *((volume.get("projected") or {}).get("sources") or [])]:
            secret = source.get("secret") or {}
            if secret and not secret.get("optional"):
                found.add(secret.get("secretName") or secret["name"])
    for container in [*(pod.get("initContainers") or []), *(pod.get("containers") or [])]:
        references = [item.get("secretRef") for item in container.get("envFrom") or []]
        references += [(item.get("valueFrom") or {}).get("secretKeyRef") for item in container.get("env") or []]
        found |= {item["name"] for item in references if item and not item.get("optional")}
    return found
