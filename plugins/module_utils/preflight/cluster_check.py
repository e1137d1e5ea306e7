# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a cluster can carry what the components need; asks much at once and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster, Object, Objects
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.manifests import is_custom
from ansible_collections.mlops.platform.plugins.module_utils.preflight import capacity, permissions
from ansible_collections.mlops.platform.plugins.module_utils.preflight.capacity import Served
from ansible_collections.mlops.platform.plugins.module_utils.preflight.formats import amount
from ansible_collections.mlops.platform.plugins.module_utils.preflight.needs import Claim, Needs
from ansible_collections.mlops.platform.plugins.module_utils.preflight.values import nearest

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
GIBIBYTE = 1024**3
Check = Callable[[Cluster, Sequence[Needs]], list[str]]
METRICS = "v1beta1.metrics.k8s.io"
"""The APIService of what autoscalers go by; its server may be starting."""


def reach(cluster: Cluster) -> str:
    """The version of the API server. Raises PlatformError that says why it does not answer, and what to do."""
    where = f"platform_kubeconfig: {cluster.kubeconfig or 'the default kubeconfig'}"
    host = cluster.api_client.configuration.host
    try:
        # Needs a login, unlike /version, which many clusters show to everybody.
        cluster.request("GET", "/apis/authorization.k8s.io/v1", timeout=5)
        return str(cluster.request("GET", "/version", timeout=5)["gitVersion"])
    except ApiError as error:
        said = str(error).partition("\n")[0]
        if said.startswith("<") or error.status == 404:
            raise PlatformError(f"{where}: what answers at {host} is not a Kubernetes API: see its context") from error
        if error.status == 401:
            raise PlatformError(f"{where}: {host} refused its credentials ({said}): log in again") from error
        if error.status == 403:
            raise PlatformError(f"{where}: its user may not even look at {host}: {said}") from error
        raise PlatformError(f"{where}: {said}") from error
    except (KeyError, TypeError) as error:
        raise PlatformError(f"{where}: what answers at {host} is not a Kubernetes API: see its context") from error


@dataclass
class Survey:
    """What was found wrong, and what could not be looked at."""

    problems: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)


def survey(
    cluster: Cluster, needed: Sequence[Needs], *, provisions: bool, room: bool, models: Sequence[Served] = ()
) -> Survey:
    """Hold a cluster against the needs of all components: kinds, permissions, and where it `provisions` the rest.

    `room` says whether the pods, and those of `models`, must fit on the nodes that there are. What the user may not
    list stays unchecked.
    """
    found = Survey()
    _ = cluster.resources  # once, before the threads
    checks = {_words(check): check for check in CHECKS}
    if room:
        checks[_words(_room)] = partial(_room, models=models)
    with ThreadPoolExecutor(8) as pool:
        allowed = pool.submit(_permissions, cluster, needed, provisions)
        asked = checks.items() if provisions else ()
        results = [(name, pool.submit(check, cluster, needed)) for name, check in asked]
        found.problems += allowed.result()
        for name, result in results:
            try:
                found.problems += result.result()
            except ApiError as error:
                if error.status != 403:
                    raise
                found.unchecked.append(f"{name}: {error}")
    found.problems += _same_objects(needed)
    return found


def _words(check: Callable[..., list[str]]) -> str:
    """What a check is called when it could not be made."""
    return check.__name__.strip("_").replace("_", " ")


def _permissions(cluster: Cluster, needed: Sequence[Needs], provisions: bool) -> list[str]:
    missing = permissions.forbidden(cluster, permissions.acts(cluster, needed, provisions))
    return permissions.sentences(missing, lambda: permissions.user_name(cluster))


def _same_objects(needed: Sequence[Needs]) -> list[str]:
    """Objects that two components would both apply."""
    owners: dict[str, str] = {}
    lines: list[str] = []
    for item in needed:
        for key in item.objects:
            if owners.setdefault(key, item.component) != item.component:
                _, kind, space, name = key.rsplit("/", 3)
                both, way = f"{owners[key]} and {item.component}", f"{item.component}_namespace"
                lines.append(f"{both} both have a {kind} {space}/{name}: give one another namespace ({way})")
    return lines


def _kinds(cluster: Cluster, needed: Sequence[Needs]) -> list[str]:
    """Kinds that the cluster does not serve and no component brings."""
    brought = {(str(group), str(kind)) for item in needed for group, kind in item.definitions}
    lines: list[str] = []
    for item in needed:
        for api_version, kind, _ in item.kinds:
            known = (api_version, kind) in cluster.resources or (api_version.rpartition("/")[0], kind) in brought
            if not known and not item.later:
                custom = is_custom({"apiVersion": api_version})
                hint = "install what defines it" if custom else "the cluster is too old, or has it turned off"
                lines.append(f"{item.component} needs the kind {kind} of {api_version}, which is not served: {hint}")
    return lines


def _metrics(cluster: Cluster, needed: Sequence[Needs]) -> list[str]:
    """Autoscalers that would have nothing to go by."""
    scaling = [item.component for item in needed if any(kind == "HorizontalPodAutoscaler" for _, kind, _ in item.kinds)]
    if not scaling or cluster.get("apiregistration.k8s.io/v1", "APIService", METRICS):
        return []
    why = "scales by CPU use, and nothing serves metrics: install metrics-server"
    return [f"{component} {why} ({component}_autoscaling_enabled)" for component in scaling]


def _namespaces(cluster: Cluster, needed: Sequence[Needs]) -> list[str]:
    """Namespaces that are going away, and those that would have to be made and may not."""
    names = sorted({space for item in needed for space in item.namespaces})
    with ThreadPoolExecutor(8) as pool:
        present = dict(zip(names, pool.map(lambda name: cluster.get("v1", "Namespace", name), names), strict=True))
    lines = [
        f"the namespace {name} is being deleted: wait for its end"
        for name, item in present.items()
        if item and (item.get("status") or {}).get("phase") == "Terminating"
    ]
    absent = {name for name, item in present.items() if item is None}
    acts = {permissions.Act("", "", "namespaces", verb) for verb in ("create", "patch") if absent}
    acts |= {
        permissions.Act(item.namespace, "", "namespaces", "patch")
        for item in needed
        if item.namespace not in absent and not item.labels.items() <= _labels(present[item.namespace]).items()
    }
    way = f", or make {', '.join(sorted(absent))} first" if absent else ", or put the platform's labels on it first"
    said = permissions.sentences(permissions.forbidden(cluster, acts), lambda: permissions.user_name(cluster))
    return lines + [line + way for line in said]


def _labels(item: Object | None) -> dict[str, str]:
    return dict((item or {}).get("metadata", {}).get("labels") or {})


def _claims(cluster: Cluster, needed: Sequence[Needs]) -> list[tuple[str, Claim, Object | None]]:
    """All volumes that are claimed, each with its component and with what is there of it."""
    claims = [(item.component, claim) for item in needed for claim in item.claims]
    there = {
        (space, item["metadata"]["name"]): item
        for space in sorted({claim.namespace for _, claim in claims})
        for item in cluster.list("v1", "PersistentVolumeClaim", space)
    }
    return [(component, claim, there.get((claim.namespace, claim.name))) for component, claim in claims]


def _volumes(cluster: Cluster, needed: Sequence[Needs]) -> list[str]:
    """Volumes that are there and other than asked for."""
    found = _claims(cluster, needed)
    return [line for component, claim, there in found if there for line in _differences(component, claim, there)]


def _storage_classes(cluster: Cluster, needed: Sequence[Needs]) -> list[str]:
    """StorageClasses that new volumes lack, and sizes that nothing offers."""
    claims = [(component, claim) for component, claim, there in _claims(cluster, needed) if not there]
    if not claims:
        return []
    classes = cluster.list("storage.k8s.io/v1", "StorageClass")
    default = _default(classes)
    known = sorted(item["metadata"]["name"] for item in classes)
    offers = cluster.list("storage.k8s.io/v1", "CSIStorageCapacity")
    names = ", ".join(known)
    lines: list[str] = []
    for component, claim in claims:
        if claim.storage_class and claim.storage_class not in known:
            lines.append(
                f"{component}: there is no StorageClass {claim.storage_class!r}{nearest(claim.storage_class, known)} "
                f"(the cluster has {names or 'none'}; {component}_storage_class or platform_storage_class)"
            )
        elif not claim.storage_class and not default:
            allowed = f"set platform_storage_class to one of {names or '(there are none)'}"
            lines.append(f"there is no default StorageClass: mark one as default, or {allowed}")
        else:
            lines += _offered(component, claim, claim.storage_class or default, offers)
    return list(dict.fromkeys(lines))


def storage_class(cluster: Cluster) -> str:
    """The default StorageClass; empty where there is none, or the user may not list them."""
    try:
        return _default(cluster.list("storage.k8s.io/v1", "StorageClass"))
    except ApiError as error:
        if error.status != 403:
            raise
        return ""


def _default(classes: Objects) -> str:
    marks = {item["metadata"]["name"]: item["metadata"].get("annotations") or {} for item in classes}
    return next((name for name, annotations in marks.items() if annotations.get(DEFAULT_CLASS) == "true"), "")


def _differences(component: str, claim: Claim, there: Object) -> list[str]:
    """In what a volume that exists is other than it is asked for: neither can change in a StatefulSet."""
    spec, name = there["spec"], f"{claim.namespace}/{claim.name}"
    size = float(amount(((spec.get("resources") or {}).get("requests") or {}).get("storage")) or 0)
    lines: list[str] = []
    if size != claim.size:
        lines.append(
            f"{component}: the volume {name} has {_gib(size)}, and {_gib(claim.size)} are asked for, which cannot "
            f"change once it is there ({component}_storage_size)"
        )
    if claim.storage_class and claim.storage_class != spec.get("storageClassName"):
        lines.append(
            f"{component}: the volume {name} is of the StorageClass {spec.get('storageClassName')}, and "
            f"{claim.storage_class} is asked for, which cannot change once it is there ({component}_storage_class)"
        )
    return lines


def _offered(component: str, claim: Claim, storage_class: str, offers: Objects) -> list[str]:
    """Whether any place has room for a volume, where the storage driver says how much it has."""
    mine = [item for item in offers if item.get("storageClassName") == storage_class]
    most = max(
        (float(amount(item.get("maximumVolumeSize") or item.get("capacity")) or 0) for item in mine), default=None
    )
    if most is None or claim.size <= most:
        return []
    return [
        f"{component}: a volume of {_gib(claim.size)} is asked for, and the StorageClass {storage_class} has "
        f"{_gib(most)} in its emptiest place ({component}_storage_size)"
    ]


def _gib(size: float) -> str:
    return f"{size / GIBIBYTE:g}Gi"


def _secrets(cluster: Cluster, needed: Sequence[Needs]) -> list[str]:
    """Secrets that pods need, that no component of the run makes and that are not there."""
    made = {(str(space), str(name)) for item in needed for space, name in item.secrets_made}
    lines: list[str] = []
    for item in needed:
        for space, name, owner in item.secrets_used:
            if (space, name) not in made and cluster.get("v1", "Secret", name, space) is None:
                lines.append(
                    f"{item.component}: {owner} uses the Secret {space}/{name}, which no component of the inventory "
                    "makes there and the cluster does not have"
                )
    return lines


def _node_ports(cluster: Cluster, needed: Sequence[Needs]) -> list[str]:
    """Ports of nodes that Services of others have."""
    wanted = {int(port): (item.component, str(key)) for item in needed for port, key in item.node_ports}
    if not wanted:
        return []
    ours = {str(key) for item in needed for key in item.objects}
    lines: list[str] = []
    for service in cluster.list("v1", "Service"):
        name = f"{service['metadata']['namespace']}/{service['metadata']['name']}"
        ports = (
            [] if f"/Service/{name}" in ours else [item.get("nodePort") for item in service["spec"].get("ports") or []]
        )
        lines += [
            f"{wanted[port][0]}: the node port {port} is that of the Service {name}: choose another"
            for port in ports
            if port in wanted
        ]
    return lines


def _priority_classes(cluster: Cluster, needed: Sequence[Needs]) -> list[str]:
    """PriorityClasses that are missing: pods that name one are refused."""
    wanted = sorted({(item.component, name) for item in needed for name in item.priority_classes})
    if not wanted:
        return []
    known = sorted(item["metadata"]["name"] for item in cluster.list("scheduling.k8s.io/v1", "PriorityClass"))
    return [
        f"{component}: there is no PriorityClass {name!r}{nearest(name, known)} "
        f"(the cluster has {', '.join(known)}; component_priority_class)"
        for component, name in wanted
        if name not in known
    ]


def _changed_nodes(cluster: Cluster, needed: Sequence[Needs]) -> list[str]:
    """Nodes that a component changes and that are not there."""
    wanted = [(item.component, str(node["name"])) for item in needed for node in item.nodes]
    known = sorted(item["metadata"]["name"] for item in cluster.list("v1", "Node")) if wanted else []
    there = f"(the cluster has {', '.join(known)}; gpu_node_name)"
    return [
        f"{component}: there is no node {name!r}{nearest(name, known)} {there}"
        for component, name in wanted
        if name not in known
    ]


def _room(cluster: Cluster, needed: Sequence[Needs], models: Sequence[Served]) -> list[str]:
    """Whether the pods fit on the nodes as they will be."""
    ours = {(space, item.component) for item in needed for space in item.namespaces}
    ours |= {(item.namespace, item.component) for item in models}
    changes = [node for item in needed for node in item.nodes]
    query: dict[str, object] = {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}
    pods: dict[str, Any] = cluster.request("GET", "/api/v1/pods", query=query)
    nodes = capacity.nodes_with_room(cluster.list("v1", "Node"), pods["items"], ours, changes)
    return capacity.problems(capacity.demands(needed, models), nodes)


CHECKS: tuple[Check, ...] = (
    _kinds,
    _metrics,
    _namespaces,
    _volumes,
    _storage_classes,
    _secrets,
    _node_ports,
    _priority_classes,
    _changed_nodes,
)
"""What is asked besides permissions and room, where components are provisioned."""
