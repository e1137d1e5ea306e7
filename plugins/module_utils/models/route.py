# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How requests for a model come from the edge to its pods."""

from __future__ import annotations

from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Service
from ansible_collections.mlops.platform.plugins.module_utils.gateway import API, ROUTES_API
from ansible_collections.mlops.platform.plugins.module_utils.manifests import Manifest
from ansible_collections.mlops.platform.plugins.module_utils.models.inference_service import (
    Serving,
    host_name,
    predictor,
    service_name,
)

PORT = 80
"""The port of the Service that KServe makes of a predictor."""


def backend(model: str, serving: Serving) -> Service:
    """The Service that leads to a model inside the cluster: the one of Knative's gateway, or the predictor's own."""
    if serving.standard:
        return Service(predictor(model), PORT, serving.namespace)
    gateway = serving.knative_gateway
    return Service(str(gateway["name"]), int(gateway["port"]), str(gateway["namespace"]))


def inner_host(model: str, serving: Serving) -> str:
    """The host name by which that Service knows the model: one of Knative's domain, or its own."""
    domain = "svc" if serving.standard else serving.knative_domain
    return f"{predictor(model)}.{serving.namespace}.{domain}"


def name(model: str) -> str:
    """The name of a model's route."""
    return f"model-{service_name(model)}"


def manifest(model: str, serving: Serving) -> Manifest | None:
    """The route of `<model>.<platform_domain>`; None where the platform has no edge.

    It stands beside the Service that it leads to, so that it needs nobody's grant. A Route of OpenShift leads to
    pods of Deployments alone: it cannot change the host's name, by which Knative's gateway tells models apart.
    """
    if not serving.edge or (serving.edge.get("openshift") and not serving.standard):
        return None
    service = backend(model, serving)
    metadata: dict[str, Any] = {"name": name(model), "namespace": service.namespace}
    timeout = f"{serving.request_seconds}s"
    if serving.edge.get("openshift"):
        return {
            "apiVersion": ROUTES_API,
            "kind": "Route",
            "metadata": {**metadata, "annotations": {"haproxy.router.openshift.io/timeout": timeout}},
            "spec": {
                "host": host_name(model, serving),
                "to": {"kind": "Service", "name": service.name, "weight": 100},
                "tls": {"termination": "edge", "insecureEdgeTerminationPolicy": "Redirect"},
                "wildcardPolicy": "None",
            },
        }
    gateway = serving.edge["service"]
    listener = {"sectionName": serving.edge["listener"]} if serving.edge.get("listener") else {}
    rewrite = {"type": "URLRewrite", "urlRewrite": {"hostname": inner_host(model, serving)}}
    rule = {
        **({} if serving.standard else {"filters": [rewrite]}),
        "backendRefs": [{"name": service.name, "port": service.port}],
        "timeouts": {"request": timeout},
    }
    return {
        "apiVersion": API,
        "kind": "HTTPRoute",
        "metadata": metadata,
        "spec": {
            "parentRefs": [{"name": gateway["name"], "namespace": gateway["namespace"], **listener}],
            "hostnames": [host_name(model, serving)],
            "rules": [rule],
        },
    }
