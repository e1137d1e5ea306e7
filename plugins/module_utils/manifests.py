# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure functions on Kubernetes manifests: parse, stamp, order, split in phases, hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import yaml
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

Manifest = dict[str, Any]

OPERATOR = "prometheus-operator"
COMPONENT_LABEL = "mlops.platform/component"
CONFIG_HASH = "mlops.platform/config-hash"
SECRETS_HASH = "mlops.platform/secrets-hash"
BEFORE_ROLLOUT = "mlops.platform/before-rollout"
SPEC_HASH = "mlops.platform/spec-hash"

# What must exist before what refers to it; kinds that are not named come after these.
KIND_ORDER = (
    "Namespace",
    "CustomResourceDefinition",
    "PriorityClass",
    "StorageClass",
    "RuntimeClass",
    "ResourceQuota",
    "LimitRange",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "NetworkPolicy",
    "Secret",
    "ConfigMap",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Service",
)
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")
OPERATED = ("Prometheus", "Alertmanager")
"""Kinds of which the operator of Prometheus makes a StatefulSet each (https://prometheus-operator.dev)."""
# API groups that Kubernetes itself serves: everything else is a custom resource.
BUILT_IN_GROUPS = frozenset(
    f"{name}.k8s.io"
    for name in (
        "admissionregistration",
        "apiextensions",
        "apiregistration",
        "certificates",
        "coordination",
        "discovery",
        "flowcontrol.apiserver",
        "networking",
        "node",
        "rbac.authorization",
        "resource",
        "scheduling",
        "storage",
    )
) | {"", "apps", "autoscaling", "batch", "policy"}


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads YAML as Kubernetes does: dates and a lone "=" are texts."""


for _tag in ("timestamp", "value"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", yaml.SafeLoader.construct_yaml_str)


def parse(text: str, source: str) -> list[Manifest]:
    """The documents of rendered YAML. `source` names the template in errors.

    Raises PlatformError for a document that is not a mapping with apiVersion, kind and metadata.name.
    """
    try:
        documents = list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        raise PlatformError(f"{source}: not valid YAML after rendering: {error}") from error
    manifests: list[Manifest] = []
    for number, document in enumerate(documents, 1):
        if document is None:
            continue
        where = f"{source}, document {number}"
        if not isinstance(document, dict):
            raise PlatformError(f"{where}: a manifest must be a mapping, not {type(document).__name__}")
        metadata = document.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        for key, value in (
            ("apiVersion", document.get("apiVersion")),
            ("kind", document.get("kind")),
            ("metadata.name", name),
        ):
            if not isinstance(value, str) or not value:
                raise PlatformError(f"{where}: {key} is {value!r}; a manifest needs a non-empty string there")
        manifests.append(document)
    return manifests


def group(manifest: Manifest) -> str:
    """The API group of a manifest, "" for the core group."""
    version = str(manifest["apiVersion"])
    return version.rpartition("/")[0]


def identity(manifest: Mapping[str, Any]) -> str:
    """A name for an object that is unique in its cluster: group/Kind/namespace/name."""
    metadata = manifest["metadata"]
    api_group = str(manifest["apiVersion"]).rpartition("/")[0]
    return "/".join((api_group, manifest["kind"], metadata.get("namespace") or "", metadata["name"]))


def refuse_doubles(manifests: Iterable[Manifest], where: str) -> None:
    """Raise a PlatformError, which begins with `where`, for an object that is there twice."""
    seen: set[str] = set()
    for manifest in manifests:
        if (key := identity(manifest)) in seen:
            raise PlatformError(
                f"{where}: {title(manifest)} is made twice; leave one out, or change upstream's in patches/"
            )
        seen.add(key)


def title(manifest: Mapping[str, Any]) -> str:
    """How messages name an object: Kind namespace/name."""
    metadata = manifest["metadata"]
    namespace = metadata.get("namespace")
    return f"{manifest['kind']} {namespace + '/' if namespace else ''}{metadata['name']}"


def digest(manifest: Mapping[str, Any]) -> str:
    """A content hash that does not depend on the order of keys."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def is_custom(manifest: Manifest) -> bool:
    """Whether the object is of a kind that a CustomResourceDefinition brings."""
    return group(manifest) not in BUILT_IN_GROUPS


def writable(manifest: Manifest) -> Manifest:
    """A copy to write on; of a definition, which may be large, only its metadata."""
    part = manifest["metadata"] if manifest["kind"] == "CustomResourceDefinition" else manifest
    copied: Manifest = json.loads(json.dumps(part))
    return copied if part is manifest else {**manifest, "metadata": copied}


def namespace_manifest(name: str, pod_security: str) -> Manifest:
    """The Namespace of components, with its Pod Security level (privileged, baseline or restricted)."""
    levels = {f"pod-security.kubernetes.io/{mode}": pod_security for mode in ("enforce", "warn", "audit")}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "mlops-platform"} | levels},
    }


def stamp(manifests: Iterable[Manifest], component: str, version: str) -> list[Manifest]:
    """Copies of `manifests` with the labels that say whose they are, in the order in which they must be applied.

    Pods carry the component's label too; workloads carry a hash of the ConfigMaps of the same
    component that they use, so that a changed configuration rolls them. A Job cannot be changed:
    its name gets a hash of what it does, so that a changed one is a new one.
    """
    stamped = list(map(writable, manifests))
    labels = {
        "app.kubernetes.io/managed-by": "mlops.platform",
        "app.kubernetes.io/part-of": "mlops-platform",
        COMPONENT_LABEL: component,
    }
    config = {manifest["metadata"]["name"]: digest(manifest) for manifest in stamped if manifest["kind"] == "ConfigMap"}
    for manifest in stamped:
        metadata = manifest["metadata"]
        metadata["labels"] = {"app.kubernetes.io/version": version} | (metadata.get("labels") or {}) | labels
        template = pod_template(manifest)
        if template is not None:
            pod_metadata = template.setdefault("metadata", {})
            pod_metadata["labels"] = {COMPONENT_LABEL: component} | (pod_metadata.get("labels") or {})
            used = sorted(config[name] for name in references(template["spec"], "configMap") if name in config)
            if used:
                pod_metadata.setdefault("annotations", {})[CONFIG_HASH] = digest({"used": used})
        if manifest["kind"] == "Job":
            metadata["name"] += _content_suffix(manifest)
    return sorted(stamped, key=place)


def pod_template(manifest: Manifest) -> dict[str, Any] | None:
    """The template of the pods that a workload or a CronJob makes; None for other kinds."""
    spec = manifest.get("spec") or {}
    if manifest["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    elif manifest["kind"] not in WORKLOADS:
        return None
    template: dict[str, Any] | None = spec.get("template")
    return template


def operated_labels(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The labels that the operator of Prometheus puts on the pods of one of its kinds."""
    name = {"app.kubernetes.io/name": str(manifest["kind"]).lower(), "app.kubernetes.io/managed-by": OPERATOR}
    return {**name, "app.kubernetes.io/instance": str(manifest["metadata"]["name"])}


def operated_set(manifest: Mapping[str, Any]) -> str:
    """The name of the StatefulSet that the operator of Prometheus makes of one of its kinds."""
    return f"{manifest['kind'].lower()}-{manifest['metadata']['name']}"


def place(manifest: Mapping[str, Any]) -> int:
    """The place of an object's kind in the order of applying; those of one place need not wait for each other."""
    kind = manifest["kind"]
    return KIND_ORDER.index(kind) if kind in KIND_ORDER else len(KIND_ORDER)


def stamp_secrets(manifests: Iterable[Manifest], versions: Mapping[tuple[str, str], str]) -> None:
    """Put a hash of the Secrets that pods use on their workloads: a Secret that was written anew rolls its users.

    `versions` are the Secrets' resource versions by (namespace, name): no value, nor a hash of one, leaves the Secret.
    """
    for manifest in manifests:
        if manifest["kind"] not in WORKLOADS:
            continue
        template, metadata = manifest["spec"]["template"], manifest["metadata"]
        places = {(metadata.get("namespace", ""), name) for name in references(template["spec"], "secret")}
        used = sorted(versions[place] for place in places if place in versions)
        if used:
            base = metadata["name"].removesuffix(_content_suffix(manifest))
            template.setdefault("metadata", {}).setdefault("annotations", {})[SECRETS_HASH] = digest({"used": used})
            if manifest["kind"] == "Job":
                metadata["name"] = base + _content_suffix(manifest)


def _content_suffix(job: Manifest) -> str:
    return f"-{digest(job['spec'])[:8]}"


def references(pod_spec: Mapping[str, Any], source: Literal["configMap", "secret"]) -> set[str]:
    """The names of the ConfigMaps or Secrets that a pod mounts or takes its environment from."""
    names: set[str] = set()
    for volume in pod_spec.get("volumes") or []:
        for item in [volume, *((volume.get("projected") or {}).get("sources") or [])]:
            found = item.get(source) or {}
            names.update(found[key] for key in ("name", "secretName") if key in found)
    for container in [*(pod_spec.get("initContainers") or []), *(pod_spec.get("containers") or [])]:
        taken = [*(container.get("envFrom") or []), *((e.get("valueFrom") or {}) for e in container.get("env") or [])]
        names.update(item[key]["name"] for item in taken for key in (f"{source}Ref", f"{source}KeyRef") if key in item)
    return names


def before_rollout(manifest: Manifest) -> bool:
    """Whether the object is a Job that must be complete before the workloads are applied."""
    annotations = manifest["metadata"].get("annotations") or {}
    return manifest["kind"] == "Job" and annotations.get(BEFORE_ROLLOUT) == "true"


def is_gate(manifest: Manifest) -> bool:
    """Whether what comes after an object has to wait for it."""
    return before_rollout(manifest) or manifest["kind"] == "CustomResourceDefinition"


def phases(
    manifests: Iterable[Manifest], intercepted: Callable[[Manifest], bool]
) -> tuple[list[list[Manifest]], list[Manifest]]:
    """Ordered manifests: those up to the rollout, split where one must be ready before the next, and those after it.

    Definitions must be Established before anything else is sent, and Jobs that are marked complete before the
    workloads. After the rollout come custom resources that are `intercepted` by the component's own webhooks.
    """
    parts: list[list[Manifest]] = [[], [], [], []]
    for item in manifests:
        if item["kind"] == "CustomResourceDefinition":
            parts[0].append(item)
        elif is_custom(item) and intercepted(item):
            parts[3].append(item)
        else:
            parts[2 if item["kind"] in WORKLOADS and not before_rollout(item) else 1].append(item)
    first: list[list[Manifest]] = []
    for part in parts[:3]:
        if first and not any(map(is_gate, first[-1])):
            first[-1] += part
        elif part:
            first.append(part)
    return first, parts[3]
