"""What goes wrong with Knative and Kourier."""

from __future__ import annotations

from collections.abc import Iterator

from faults.faults import Fault, Inject, unguarded
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


def gone(deployment: str, namespace: str = "") -> Inject:
    """Somebody scales a part of Knative to 0."""

    def inject(platform: Platform) -> Iterator[None]:
        platform.at("knative").scale("Deployment", deployment, 0, namespace)
        yield

    return inject


FAULTS: tuple[Fault, ...] = (
    Fault(
        "nothing goes to zero",
        "knative", SCALES, "config-autoscaler says enable-scale-to-zero: false",
        config("autoscaler", enable_scale_to_zero="false"),
        seconds=60,  # a service is answered before, as it is in every run
    ),
    Fault(
        "Kourier's gateway is scaled to 0",
        "knative", "rollout", "3scale-kourier-gateway: is scaled to 0 replicas",
        gone("3scale-kourier-gateway", "kourier-system"),
        alone=True,
    ),
    Fault(
        "the webhook is scaled to 0",
        "knative", "rollout", "knative-serving/webhook: is scaled to 0 replicas", gone("webhook"),
        alone=True,
    ),
    Fault(
        "services ask for an ingress class that nobody serves",
        "knative", ANSWERS, "asks for the class istio.*, the gateway serves kourier",
        config("network", ingress_class="istio.ingress.networking.knative.dev"),
        alone=True,
    ),
    unguarded("knative", 120),
)  # fmt: skip
