"""What goes wrong with Knative and Kourier."""

from __future__ import annotations

from collections.abc import Iterator

from faults.faults import Fault, Inject
from faults.platform import Platform

ANSWERS = "a service answers through the gateway"
SCALES = "a service goes to zero and comes back"


def config(name: str, **data: str) -> Inject:
    """Somebody edits one of Knative's ConfigMaps."""

    def inject(platform: Platform) -> Iterator[None]:
        changed = {key.replace("_", "-"): value for key, value in data.items()}
        platform.at("knative").patch("v1", "ConfigMap", f"config-{name}", {"data": changed})
        yield

    return inject


def leads_nowhere(service: str) -> Inject:
    """Somebody edits the selector of a Service of Knative's own."""

    def inject(platform: Platform) -> Iterator[None]:
        platform.at("knative").patch("v1", "Service", service, {"spec": {"selector": {"app": "nobody"}}})
        yield

    return inject


def gateway_gone(platform: Platform) -> Iterator[None]:
    """Somebody scales Kourier's gateway to 0."""
    platform.at("knative").scale("Deployment", "3scale-kourier-gateway", 0, namespace="kourier-system")
    yield


FAULTS: tuple[Fault, ...] = (
    Fault(
        "nothing goes to zero",
        "knative", SCALES, "config-autoscaler does not say enable-scale-to-zero",
        config("autoscaler", enable_scale_to_zero="false"),
        seconds=60,
    ),
    Fault(
        "Kourier's gateway is scaled to 0",
        "knative", "rollout", "3scale-kourier-gateway: is scaled to 0 replicas", gateway_gone,
        alone=True,
    ),
    Fault(
        "the activator's Service selects no pod",
        "knative", ANSWERS, "activator-service leads nowhere: no pod has its selector app=nobody",
        leads_nowhere("activator-service"),
        alone=True,
    ),
    Fault(
        "the webhook's Service selects no pod",
        "knative", ANSWERS, "failed calling webhook .*webhook leads nowhere", leads_nowhere("webhook"),
        alone=True,
    ),
    Fault(
        "services ask for an ingress class that nobody serves",
        "knative", ANSWERS, "asks for the class istio.*, the gateway serves kourier",
        config("network", ingress_class="istio.ingress.networking.knative.dev"),
        alone=True,
    ),
)  # fmt: skip
