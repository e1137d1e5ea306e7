# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a site says about a component's pods, put on all of them: where they run, how their images are pulled."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.component import Component
from ansible_collections.mlops.platform.plugins.module_utils.generated_secrets import SecretSpec
from ansible_collections.mlops.platform.plugins.module_utils.manifests import (
    OPERATED,
    Manifest,
    operated_labels,
    pod_template,
    writable,
)

HOSTNAME, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
DOCKER_CONFIG = "kubernetes.io/dockerconfigjson"
USERS = frozenset({"runAsUser", "runAsGroup", "fsGroup", "fsGroupChangePolicy", "supplementalGroups"})
"""The fields of security contexts that fix who a pod runs as."""


@dataclass(frozen=True)
class PodSettings:
    """What __component_pods says, in the variables of the role component.

    `pull_secrets` are the names of the Secrets that images are pulled with. With `any_user` the cluster chooses the
    user of each pod, as OpenShift does.
    """

    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, Any]] = ()
    affinity: Mapping[str, Any] = field(default_factory=dict)
    spread: str = "preferred"
    priority_class: str = ""
    pod_annotations: Mapping[str, str] = field(default_factory=dict)
    pod_labels: Mapping[str, str] = field(default_factory=dict)
    pull_secrets: Sequence[str] = ()
    any_user: bool = False


def furnish(manifests: Iterable[Manifest], settings: PodSettings) -> list[Manifest]:
    """Copies of `manifests` whose pods have the settings; what a template says itself stays."""
    furnished = list(map(writable, manifests))
    for manifest in furnished:
        found = _pod(manifest)
        if found is None:
            continue
        metadata, pod = found
        for place, given in (("annotations", settings.pod_annotations), ("labels", settings.pod_labels)):
            if given:
                metadata[place] = {**given, **(metadata.get(place) or {})}
        wanted = {
            "nodeSelector": dict(settings.node_selector),
            "tolerations": list(settings.tolerations),
            "affinity": dict(settings.affinity),
            "priorityClassName": settings.priority_class,
            "imagePullSecrets": [{"name": name} for name in settings.pull_secrets],
        }
        for key, value in wanted.items():
            if value:
                pod[key] = merged(value, pod.get(key))
        for key, value in spread(manifest, settings.spread).items():
            pod[key] = merged(value, pod.get(key))
        if settings.any_user:
            _free(pod)
    return furnished


def _pod(manifest: Manifest) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The metadata and the specification of the pods that an object makes; None where it makes none.

    Envoy Gateway has both in one mapping (https://gateway.envoyproxy.io/docs/api/extension_types/#kubernetespodspec),
    the operator of Prometheus has a pod's fields among its own.
    """
    if (template := pod_template(manifest)) is not None:
        return template.setdefault("metadata", {}), template["spec"]
    if manifest["kind"] in OPERATED:
        return manifest["spec"].setdefault("podMetadata", {}), manifest["spec"]
    if manifest["kind"] == "EnvoyProxy":
        pod: dict[str, Any] = manifest["spec"]["provider"]["kubernetes"]["envoyDeployment"].setdefault("pod", {})
        return pod, pod
    return None


def _free(pod: dict[str, Any]) -> None:
    """Take out who a pod and its containers run as."""
    for part in (pod, *(pod.get("initContainers") or []), *(pod.get("containers") or [])):
        if context := part.get("securityContext"):
            part["securityContext"] = {key: value for key, value in context.items() if key not in USERS}


def spread(manifest: Manifest, how: str) -> dict[str, Any]:
    """The fields of a pod that keep the pods of one workload apart.

    `preferred`: on different nodes where there are enough; `required`: never two on a node, and in different zones
    where there are enough. One pod alone and Jobs have nothing to be kept apart from.
    """
    spec = manifest["spec"]
    if manifest["kind"] not in ("Deployment", "StatefulSet", *OPERATED) or spec.get("replicas") == 1:
        return {}
    labels = operated_labels(manifest) if manifest["kind"] in OPERATED else spec["selector"]["matchLabels"]
    selector = {"labelSelector": {"matchLabels": labels}}
    if how == "preferred":
        return {"topologySpreadConstraints": [_even(HOSTNAME, selector)]}
    apart: dict[str, Any] = {"topologyKey": HOSTNAME, **selector}
    if manifest["kind"] == "Deployment":
        # New pods come before old ones go: they may be on the same nodes.
        apart["matchLabelKeys"] = ["pod-template-hash"]
    return {
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}},
        "topologySpreadConstraints": [_even(ZONE, selector)],
    }


def _even(topology: str, selector: Mapping[str, Any]) -> dict[str, Any]:
    return {"maxSkew": 1, "topologyKey": topology, "whenUnsatisfiable": "ScheduleAnyway", **selector}


def merged(given: Any, own: Any) -> Any:
    """`given` with what is there already: mappings key by key, lists one after the other, else what is there wins."""
    if isinstance(given, Mapping) and isinstance(own, Mapping):
        return {**given, **{key: merged(given.get(key), value) for key, value in own.items()}}
    if isinstance(given, list) and isinstance(own, list):
        return own + given
    return given if own is None else own


def registry_secret(component: Component, registry: str, username: str, password: str) -> SecretSpec:
    """The Secret that a component's images are pulled with from a registry that asks for a login."""
    host = registry.partition("/")[0]
    login = base64.b64encode(f"{username}:{password}".encode()).decode()
    auths = {host: {"username": username, "password": password, "auth": login}}
    return SecretSpec(
        name=f"{component.name.replace('_', '-')}-registry",
        namespace=component.namespace,
        copies=tuple(component.namespaces),
        values={".dockerconfigjson": json.dumps({"auths": auths}, sort_keys=True)},
        type=DOCKER_CONFIG,
    )
