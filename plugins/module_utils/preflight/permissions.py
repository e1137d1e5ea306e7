# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the user of a kubeconfig may do all that a run will do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster
from ansible_collections.mlops.platform.plugins.module_utils.manifests import WORKLOADS
from ansible_collections.mlops.platform.plugins.module_utils.preflight.needs import Needs

READS = ("get", "list")
WRITES = ("create", "patch", "delete")
# What a run does besides applying manifests, in each namespace of a component: (group, resource): verbs.
ALWAYS: Mapping[tuple[str, str], Sequence[str]] = {
    ("", "pods"): ("get", "list", "watch"),  # waits for workloads
    ("", "pods/log"): ("get",),  # evidence
    ("", "pods/portforward"): ("create",),  # checks reach services so
    ("", "events"): ("list",),  # why pods were refused
    ("", "secrets"): ("get", "list"),
    ("", "services"): ("get",),
    ("apps", "replicasets"): ("list",),  # which pods are the newest
    ("discovery.k8s.io", "endpointslices"): ("list",),  # which pods are behind a service
}
PROVISION: Mapping[tuple[str, str], Sequence[str]] = {
    ("", "secrets"): ("create", "patch"),  # generated passwords
    ("", "configmaps"): ("get", "create", "patch"),  # the memory of what was applied
    ("", "pods"): ("delete",),  # pods that hold up a StatefulSet
}


class Act(NamedTuple):
    """One thing that must be allowed; `namespace` is empty for what has none."""

    namespace: str
    group: str
    resource: str
    verb: str


def acts(cluster: Cluster, needed: Iterable[Needs], provisions: bool) -> set[Act]:
    """All that a run will do in the namespaces of the components; reading alone unless it `provisions`."""
    found: set[Act] = set()
    for item in needed:
        for space in item.namespaces:
            for rules in (ALWAYS, PROVISION) if provisions else (ALWAYS,):
                found |= {Act(space, *what, verb) for what, verbs in rules.items() for verb in verbs}
        for api_version, kind, space in item.kinds:
            resource = cluster.resources.get((api_version, kind))
            if resource:  # else it is refused elsewhere, or its definition is about to be made
                verbs = (*READS, *(("watch",) if kind in WORKLOADS else ()), *(WRITES if provisions else ()))
                name = (space if resource.namespaced else "", api_version.rpartition("/")[0], resource.plural)
                found |= {Act(*name, verb) for verb in verbs}
        found |= {act for act in (Act(*raw) for raw in item.acts) if provisions or act.verb in READS}
    return found


def forbidden(cluster: Cluster, wanted: Iterable[Act]) -> list[Act]:
    """What of it the user of the cluster may not do.

    One review of rules a namespace grants most of it; what it does not mention is asked for one by one, because it
    need not know everything (https://kubernetes.io/docs/reference/access-authn-authz/authorization/).
    """
    left = set(wanted)
    spaces = sorted({act.namespace for act in left if act.namespace})
    with ThreadPoolExecutor(8) as pool:
        for space, rules in zip(spaces, pool.map(lambda name: _rules(cluster, name), spaces), strict=True):
            left -= {act for act in left if act.namespace == space and any(_grants(rule, act) for rule in rules)}
        asked = sorted(left)
        answers = list(pool.map(lambda act: _allowed(cluster, act), asked))
    return [act for act, allowed in zip(asked, answers, strict=True) if not allowed]


def sentences(acts_: Sequence[Act], user: Callable[[], str]) -> list[str]:
    """What is not allowed, one sentence for each resource and namespace."""
    places: dict[tuple[str, str, str], list[str]] = {}
    for act in acts_:
        places.setdefault((act.namespace, act.group, act.resource), []).append(act.verb)
    if not places:
        return []
    name = user()
    return [
        f"{name} may not {', '.join(verbs)} {resource}{'.' + group if group else ''}"
        f"{f' in the namespace {space}' if space else ''}: grant it, or use another kubeconfig"
        for (space, group, resource), verbs in sorted(places.items())
    ]


def user_name(cluster: Cluster) -> str:
    """Who the kubeconfig's user is to the cluster."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    found = cluster.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=review)
    return str(found["status"]["userInfo"].get("username") or "the user of the kubeconfig")


def _rules(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    """What the user may do in a namespace, as far as the cluster can list it."""
    answer = _review(cluster, "SelfSubjectRulesReview", {"namespace": namespace})
    return list(answer.get("resourceRules") or [])


def _allowed(cluster: Cluster, act: Act) -> bool:
    resource, _, subresource = act.resource.partition("/")
    attributes = {
        "namespace": act.namespace,
        "verb": act.verb,
        "group": act.group,
        "resource": resource,
        "subresource": subresource,
    }
    return bool(_review(cluster, "SelfSubjectAccessReview", {"resourceAttributes": attributes}).get("allowed"))


def _review(cluster: Cluster, kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
    path = f"/apis/authorization.k8s.io/v1/{kind.lower()}s"
    return dict(cluster.request("POST", path, body=body).get("status") or {})


def _grants(rule: Mapping[str, Any], act: Act) -> bool:
    if rule.get("resourceNames"):
        return False
    resources = rule.get("resources") or []
    named = act.resource in resources or "*" in resources or f"*/{act.resource.partition('/')[2]}" in resources
    groups, verbs = rule.get("apiGroups") or [], rule.get("verbs") or []
    return named and bool({"*", act.group} & set(groups)) and bool({"*", act.verb} & set(verbs))
