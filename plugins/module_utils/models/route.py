# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How requests for a model come from the edge to its pods."""

from __future__ import annotations

from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Service
from ansible_collections.mlops.platform.plugins.module_utils.manifests import Manifest
from ansible_collections.mlops.platform.plugins.module_utils.models.inference_service import (
    Serving,
    host_name,
    predictor,
    service_name,
)

API_VERSION = "gateway.networking.k8s.io/v1"
KIND = "HTTPRoute"
REQUEST_SECONDS = 300
"""How long an answer may take: as long as Knative gives a revision, a start from nothing included."""
KOURIER = "kourier"
PORT = 80


def backend(model: str, serving: Serving) -> Service:
    """The Service that leads to a model inside the cluster: Kourier's, or the predictor's own."""
    if serving.standard:
        return Service(predictor(model), PORT, serving.namespace)
    return Service(KOURIER, PORT, serving.kourier_namespace)


def inner_host(model: str, serving: Serving) -> str:
    """The host name by which that Service knows the model: Kourier's by Knative's domain."""
    domain = "svc" if serving.standard else serving.knative_domain
    return f"{predictor(model)}.{serving.namespace}.{domain}"


def manifest(model: str, serving: Serving) -> Manifest | None:
    """The HTTPRoute `<model>.<platform_domain>` at the edge; None where the platform has none.

    It stands beside the Service that it leads to, so that no ReferenceGrant is needed.
    """
    if serving.gateway is None:
        return None
    service = backend(model, serving)
    rewrite = {"type": "URLRewrite", "urlRewrite": {"hostname": inner_host(model, serving)}}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": f"model-{service_name(model)}", "namespace": service.namespace},
        "spec": {
            "parentRefs": [dict(serving.gateway)],
            "hostnames": [host_name(model, serving)],
            "rules": [
                {
                    **({} if serving.standard else {"filters": [rewrite]}),
                    "backendRefs": [{"name": service.name, "port": service.port}],
                    "timeouts": {"request": f"{REQUEST_SECONDS}s"},
                }
            ],
        },
    }
