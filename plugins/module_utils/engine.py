# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a component's objects into the cluster, sending only what is not provably there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby

from ansible_collections.mlops.platform.plugins.module_utils import generated_secrets
from ansible_collections.mlops.platform.plugins.module_utils.admission import Admission
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster, Object
from ansible_collections.mlops.platform.plugins.module_utils.compare import (
    Difference,
    Memory,
    changed,
    differences,
    remember,
)
from ansible_collections.mlops.platform.plugins.module_utils.component import Component
from ansible_collections.mlops.platform.plugins.module_utils.manifests import (
    COMPONENT_LABEL,
    WORKLOADS,
    Manifest,
    identity,
    is_gate,
    namespace_manifest,
    phases,
    place,
    references,
    stamp_secrets,
    title,
)
from ansible_collections.mlops.platform.plugins.module_utils.rollout import pod_problem, state
from ansible_collections.mlops.platform.plugins.module_utils.waiting import (
    Progress,
    wait_admitted,
    wait_ready,
    wait_served,
)

MEMORY_KEY = "applied.json"
# Kinds that may hold what nobody can make again: they outlive the template that made them.
KEPT_KINDS = frozenset({"Namespace", "CustomResourceDefinition", "PersistentVolume", "PersistentVolumeClaim", "Secret"})

SIDE_BY_SIDE = 8
"""Objects that are sent at once. Measured: twice as fast as one by one, and 16 gain nothing over 8."""
NAMED = 5
"""Objects that one line of progress names."""


@dataclass
class Objects:
    """What a run did to a component's objects, by "Kind namespace/name"."""

    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unchanged: int = 0

    @property
    def touched(self) -> bool:
        """Whether the run changed anything."""
        return bool(self.created or self.changed or self.removed)

    def summary(self) -> str:
        """How many of each, such as "2 created, 12 unchanged"."""
        counts = {"created": len(self.created), "changed": len(self.changed), "removed": len(self.removed)}
        return ", ".join(f"{n} {what}" for what, n in {**counts, "unchanged": self.unchanged}.items() if n)


def provision(
    cluster: Cluster,
    component: Component,
    manifests: Sequence[Manifest],
    progress: Progress,
    check_mode: bool,
) -> Objects:
    """Apply what differs, phase by phase, and remember what became of it.

    `manifests` are stamped and in order. The memory is written last: a run that is killed before
    sends the same objects again, which changes nothing.
    """
    _ensure_namespaces(cluster, component, check_mode)
    secrets = generated_secrets.ensure(cluster, component.secrets, component.name, check_mode)
    stamp_secrets(manifests, _secret_versions(cluster, manifests))
    memory = load_memory(cluster, component)
    present = live(cluster, component, manifests)
    differing = {identity(item.manifest): item for item in differences(manifests, present, memory)}
    orphans = _orphans(manifests, {*memory, *present})
    result = Objects(changed=[f"Secret {name}" for name in secrets], unchanged=len(manifests) - len(differing))
    if check_mode:
        for item in differing.values():
            (result.created if item.reason == "absent" else result.changed).append(title(item.manifest))
        result.removed = [_told(name) for name in orphans]
        return result
    pods = _try_again(cluster, component)
    if not differing and not orphans:
        return result

    admission = Admission.of(manifests)
    first, last = phases([item for item in manifests if identity(item) in differing], admission.intercepts)
    answers: dict[str, Object] = {}
    for phase in first:
        _forget_failed_jobs(cluster, phase)
        progress(_sending(phase))
        made, unanswered = send(cluster, phase, admission)
        answers |= made
        last = unanswered + last
        if phase is not first[-1] or last:
            gates = [item for item in phase if is_gate(item)]
            wait_ready(cluster, gates, component.name, component.timeout_seconds, progress)
            definitions = [item for item in gates if item["kind"] == "CustomResourceDefinition"]
            wait_served(cluster, definitions, component.timeout_seconds)
    if last:
        workloads = [item for item in manifests if item["kind"] in WORKLOADS]
        wait_ready(cluster, workloads, component.name, component.timeout_seconds, progress)
        wait_admitted(cluster, last, admission, component.name, component.timeout_seconds, progress)
        progress(_sending(last))
        answers |= send(cluster, last)[0]
    _renew_tokens(cluster, pods, differing.values())
    _count(result, [item for key, item in differing.items() if key in answers], present, answers)
    result.removed = [_told(name) for name in orphans if _remove(cluster, name)]
    kept = {key: value for key, value in memory.items() if key not in orphans}
    _save_memory(cluster, component, kept | remember(manifests, answers))
    return result


NOT_RENEWED = "!controller.cert-manager.io/fao"
"""Secrets but those that cert-manager makes and renews: who uses a certificate reads a new one without a restart."""


def _secret_versions(cluster: Cluster, manifests: Sequence[Manifest]) -> dict[tuple[str, str], str]:
    """The resource versions of the Secrets where workloads use some: one LIST of metadata a namespace.

    Those that are applied with the workloads have none before; whoever renders one has it read again when it changes.
    """
    own = {identity(item) for item in manifests if item["kind"] == "Secret"}
    spaces = {
        item["metadata"].get("namespace", "")
        for item in manifests
        if item["kind"] in WORKLOADS and references(item["spec"]["template"]["spec"], "secret")
    }
    return {
        (space, item["metadata"]["name"]): item["metadata"]["resourceVersion"]
        for space in sorted(spaces)
        for item in cluster.list_metadata(cluster.resource("v1", "Secret"), space, NOT_RENEWED)
        if identity({**item, "apiVersion": "v1", "kind": "Secret"}) not in own
    }


def send(
    cluster: Cluster, manifests: Iterable[Manifest], admission: Admission | None = None
) -> tuple[dict[str, Object], list[Manifest]]:
    """Apply manifests that are in order, side by side what need not wait for each other.

    Returns by identity what the server made of them, and those for which a webhook of `admission` gave no answer: the
    rollout of the component itself may mend that. Any other refusal raises ApiError naming the object, and nothing
    more is sent.
    """

    def apply(manifest: Manifest) -> Object | None:
        try:
            return cluster.apply(manifest)
        except ApiError as error:
            if not error.status:
                raise
            if admission and admission.unanswered(str(error)):
                return None
            raise ApiError(f"the cluster refused {title(manifest)}: {error}", error.status) from error

    answers: dict[str, Object] = {}
    unanswered: list[Manifest] = []
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for _, group in groupby(manifests, key=place):
            batch = list(group)
            for manifest, made in zip(batch, pool.map(apply, batch), strict=True):
                if made is None:
                    unanswered.append(manifest)
                else:
                    answers[identity(manifest)] = made
    return answers, unanswered


def live(cluster: Cluster, component: Component, manifests: Sequence[Manifest]) -> dict[str, Object]:
    """The metadata of the component's objects in the cluster by identity: one LIST per kind and namespace."""
    places = sorted({(m["apiVersion"], m["kind"], m["metadata"].get("namespace") or "") for m in manifests})
    selector = f"{COMPONENT_LABEL}={component.name},app.kubernetes.io/managed-by=mlops.platform"
    found: dict[str, Object] = {}
    for api_version, kind, namespace in places:
        try:
            resource = cluster.resource(api_version, kind)
            for item in cluster.list_metadata(resource, namespace or None, selector):
                found[identity({**item, "apiVersion": api_version, "kind": kind})] = item
        except ApiError as error:
            if error.status != 404:  # 404: its definition is about to be applied
                raise
    return found


def memory_name(component: Component) -> str:
    """The ConfigMap that remembers what was applied."""
    return f"mlops-platform-{component.name.replace('_', '-')}"


def load_memory(cluster: Cluster, component: Component) -> Memory:
    """What the last finished run applied; empty where there was none or it cannot be read."""
    found = cluster.get("v1", "ConfigMap", memory_name(component), component.namespace)
    try:
        memory: Memory = json.loads((found or {}).get("data", {}).get(MEMORY_KEY, "{}"))
    except ValueError:
        return {}
    return memory


def forget(cluster: Cluster, component: Component) -> None:
    """Forget a component of which nothing is left."""
    cluster.delete("v1", "ConfigMap", memory_name(component), component.namespace)


def _save_memory(cluster: Cluster, component: Component, memory: Memory) -> None:
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": memory_name(component),
                "namespace": component.namespace,
                "labels": {"app.kubernetes.io/managed-by": "mlops.platform"},
            },
            "data": {MEMORY_KEY: json.dumps(memory, sort_keys=True)},
        }
    )


def _ensure_namespaces(cluster: Cluster, component: Component, check_mode: bool) -> None:
    """Create the component's namespaces, or put our labels on them; its secrets' consumers must have theirs too."""
    spaces = {space for secret in component.secrets for space in (secret.namespace, *secret.copies)}
    for space in sorted({*spaces, *component.spaces} - {"default", "kube-system"}):
        wanted = namespace_manifest(space, component.spaces.get(space, component.pod_security))
        found = cluster.get("v1", "Namespace", space)
        labels = (found or {}).get("metadata", {}).get("labels") or {}
        foreign = space not in component.spaces and found is not None
        if not foreign and not wanted["metadata"]["labels"].items() <= labels.items() and not check_mode:
            cluster.apply(wanted)


def _orphans(manifests: Sequence[Manifest], applied: Iterable[str]) -> list[str]:
    """Identities of what an earlier run applied, finished or not, and no template makes any more."""
    wanted = {identity(item) for item in manifests}
    return [key for key in sorted(applied) if key not in wanted and key.split("/")[-3] not in KEPT_KINDS]


def _try_again(cluster: Cluster, component: Component) -> list[Object]:
    """Delete pods that back off since an earlier run; returns the component's others.

    What they lacked may be there now; their own next try comes minutes later, and until then they look like a failure
    of this run.
    """
    left: list[Object] = []
    for pod in pods_of(cluster, component):
        problem = pod_problem(pod)
        if problem and problem.final:
            cluster.delete("v1", "Pod", pod["metadata"]["name"], pod["metadata"]["namespace"])
        else:
            left.append(pod)
    return left


def _renew_tokens(cluster: Cluster, pods: Iterable[Object], sent: Iterable[Difference]) -> None:
    """Delete pods from before whose ServiceAccount was missing: their tokens are of the old one, good for nothing."""
    absent = [item.manifest for item in sent if item.reason == "absent"]
    accounts = [item["metadata"] for item in absent if item["kind"] == "ServiceAccount"]
    made = {(metadata.get("namespace"), metadata["name"]) for metadata in accounts}
    for pod in pods:
        space, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        if (space, pod.get("spec", {}).get("serviceAccountName")) in made:
            cluster.delete("v1", "Pod", name, space)


def pods_of(cluster: Cluster, component: Component) -> list[Object]:
    """The component's pods in all its namespaces."""
    selector = f"{COMPONENT_LABEL}={component.name}"
    return [pod for space in component.spaces for pod in cluster.list("v1", "Pod", space, selector)]


def _forget_failed_jobs(cluster: Cluster, phase: Sequence[Manifest]) -> None:
    """Delete Jobs that failed in an earlier run: sent again as they are, they would stay failed."""
    for item in phase:
        if item["kind"] == "Job":
            name, namespace = item["metadata"]["name"], item["metadata"].get("namespace")
            found = cluster.get(item["apiVersion"], "Job", name, namespace)
            if found and state(found).failure:
                cluster.delete(item["apiVersion"], "Job", name, namespace)


def _told(key: str) -> str:
    """How messages name the object of an identity."""
    _, kind, namespace, name = key.rsplit("/", 3)
    return title({"kind": kind, "metadata": {"namespace": namespace, "name": name}})


def _remove(cluster: Cluster, key: str) -> bool:
    group, kind, namespace, name = key.rsplit("/", 3)
    version = next((v for v, k in cluster.resources if k == kind and v.rpartition("/")[0] == group), None)
    return bool(version) and cluster.delete(str(version), kind, name, namespace or None)


def _sending(phase: Sequence[Manifest]) -> str:
    names = [title(item) for item in phase[:NAMED]]
    more = [f"{len(phase) - NAMED} more"] if len(phase) > NAMED else []
    return f"applies {len(phase)} objects: {', '.join(names + more)}"


def _count(
    result: Objects, sent: Sequence[Difference], before: Mapping[str, Object], after: Mapping[str, Object]
) -> None:
    for item in sent:
        key = identity(item.manifest)
        if item.reason == "absent":
            result.created.append(title(item.manifest))
        elif changed(before[key], after[key]):
            result.changed.append(title(item.manifest))
        else:
            result.unchanged += 1
