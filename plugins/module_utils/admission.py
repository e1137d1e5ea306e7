# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a component's own webhooks have a say in: pure functions on its manifests.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster
from ansible_collections.mlops.platform.plugins.module_utils.manifests import Manifest, group

WEBHOOKS_API = "admissionregistration.k8s.io/v1"
CONFIGURATIONS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
INJECTED = "cert-manager.io/inject-"
"""Begins the annotations by which cert-manager's cainjector is asked for an object's caBundle.

They name a Certificate or Secret as namespace/name.
"""
UNANSWERED = re.compile(
    r'failed calling webhook "(?P<webhook>[^"]+)"|conversion webhook for (?P<group>[^/]+)/[^:]* failed'
)
"""How the API server says that a webhook did not answer; a webhook that answers no is quoted as denying."""


@dataclass(frozen=True)
class Admission:
    """The webhooks of one component.

    `webhooks` are their names, `namespaces` those of the Services behind them, `rules` what those admit that say so
    in their manifests; `plurals` are the resources by (group, kind) that the component defines itself, `converted` the
    groups of those that a webhook converts. `open_ended` is whether there are webhooks whose rules are written by
    their own controller.
    """

    webhooks: frozenset[str]
    namespaces: frozenset[str]
    rules: Sequence[Mapping[str, Any]]
    plurals: Mapping[tuple[str, str], str]
    converted: frozenset[str]
    open_ended: bool

    @classmethod
    def of(cls, manifests: Iterable[Manifest]) -> Admission:
        """The webhooks among a component's manifests."""
        given = list(manifests)
        hooks = [hook for item in given if item["kind"] in CONFIGURATIONS for hook in item.get("webhooks") or []]
        specs = [item["spec"] for item in given if item["kind"] == "CustomResourceDefinition"]
        return cls(
            webhooks=frozenset(hook["name"] for hook in hooks),
            namespaces=frozenset(
                service["namespace"] for hook in hooks if (service := hook["clientConfig"].get("service"))
            ),
            rules=[rule for hook in hooks for rule in hook.get("rules") or []],
            plurals={(spec["group"], spec["names"]["kind"]): spec["names"]["plural"] for spec in specs},
            converted=frozenset(spec["group"] for spec in specs if _is_converted(spec)),
            open_ended=any(not hook.get("rules") for hook in hooks),
        )

    def defines(self, manifest: Manifest) -> bool:
        """Whether an object is of a kind that the component defines."""
        return (group(manifest), manifest["kind"]) in self.plurals

    def intercepts(self, manifest: Manifest) -> bool:
        """Whether a custom resource goes through one of the webhooks, as far as manifests tell.

        Webhooks without rules are completed by their own controller: they may look at all that the component defines.
        """
        plural = self.plurals.get((group(manifest), manifest["kind"]), "")
        if plural and (self.open_ended or group(manifest) in self.converted):
            return True
        return any(_covers(rule, group(manifest), plural) for rule in self.rules)

    def paths(self, cluster: Cluster) -> set[str]:
        """The collections whose changes may make a webhook answer: the Services' endpoints, and whom to trust."""
        slices = cluster.resource("discovery.k8s.io/v1", "EndpointSlice")
        kinds = {cluster.resource(WEBHOOKS_API, kind).path() for kind in CONFIGURATIONS}
        return kinds | {slices.path(space) for space in self.namespaces}

    def unanswered(self, message: str) -> bool:
        """Whether a refusal of the API server says that one of the webhooks did not answer."""
        return any(
            found["webhook"] in self.webhooks or found["group"] in self.converted
            for found in UNANSWERED.finditer(message)
        )


def completed_by_its_controller(manifest: Manifest) -> bool:
    """Whether a webhook configuration says neither whom to trust nor who injects that: its own controller does.

    Such a controller writes the rules as well, so that what is in the cluster is never what was applied.
    """
    if manifest["kind"] not in CONFIGURATIONS:
        return False
    annotated = any(key.startswith(INJECTED) for key in manifest["metadata"].get("annotations") or {})
    return not annotated and not any(hook["clientConfig"].get("caBundle") for hook in manifest.get("webhooks") or [])


def _is_converted(spec: Mapping[str, Any]) -> bool:
    return (spec.get("conversion") or {}).get("strategy") == "Webhook"


def _covers(rule: Mapping[str, Any], api_group: str, plural: str) -> bool:
    groups, resources = rule.get("apiGroups") or [], {item.partition("/")[0] for item in rule.get("resources") or []}
    return bool({"*", api_group} & set(groups)) and bool({"*", plural} & resources)
