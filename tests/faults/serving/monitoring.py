"""What goes wrong with those who watch."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.mlops.platform.plugins.module_utils.gateway import API
from ansible_collections.mlops.platform.plugins.module_utils.observation import API as COREOS
from faults.faults import Fault, Inject, unguarded
from faults.platform import Platform, until
from faults.serving.gateway import answered

SAMPLES = "Prometheus answers by samples of now"
TAKEN = "an alert is taken, and ends"
FIRES = "a rule fires, reaches Alertmanager, and resolves"
HOSTS = {"prometheus": "Prometheus", "alertmanager": "Alertmanager"}


def no_selector(name: str) -> Inject:
    """Somebody edits the selector of a Service."""

    def inject(platform: Platform) -> Iterator[None]:
        selector = {"app.kubernetes.io/name": "nobody"}
        platform.at("monitoring").patch("v1", "Service", name, {"spec": {"selector": selector}})
        yield

    return inject


def scaled_to_nothing(platform: Platform) -> Iterator[None]:
    """Somebody scales the operator to nothing: nothing new would be scraped, nothing broken mended."""
    platform.at("monitoring").scale("Deployment", "prometheus-operator", 0)
    yield


def nobody_told(platform: Platform) -> Iterator[None]:
    """Somebody takes from Prometheus whom it tells of alerts."""
    platform.at("monitoring").patch(COREOS, "Prometheus", "platform", {"spec": {"alerting": None}})
    yield


def routes_deleted(platform: Platform) -> Iterator[None]:
    """Somebody deletes the routes that lead from the edge."""
    here = platform.at("monitoring")
    for name in HOSTS:
        assert here.cluster.delete(API, "HTTPRoute", name, here.namespace)
        until(lambda name=name: answered(platform, f"{name}.") == 404)  # type: ignore[misc]
    yield


def nobody_asked_for_a_login(platform: Platform) -> Iterator[None]:
    """Somebody deletes what has the Gateway ask for a login."""
    here = platform.at("monitoring")
    assert here.cluster.delete("gateway.envoyproxy.io/v1alpha1", "SecurityPolicy", "monitoring-login", here.namespace)
    until(lambda: all(answered(platform, f"{name}.") != 401 for name in HOSTS))
    yield


FAULTS = (
    Fault(
        "Prometheus's Service selects no pod",
        "monitoring", SAMPLES, "no pod has its selector", no_selector("prometheus"),
    ),
    Fault(
        "Alertmanager's Service selects no pod",
        "monitoring", TAKEN, "no pod has its selector", no_selector("alertmanager"),
    ),
    Fault(
        "the routes are deleted",
        "monitoring", "Prometheus at the edge", "HTTPRoute monitoring/prometheus does not exist", routes_deleted,
        others=(("monitoring", "Alertmanager at the edge", "HTTPRoute monitoring/alertmanager does not exist"),),
    ),
    Fault(
        "nobody is asked for a login",
        "monitoring", "Prometheus refuses strangers", "answered 200", nobody_asked_for_a_login,
        others=(("monitoring", "Alertmanager refuses strangers", "answered 200"),),
    ),
    Fault(
        "the operator is scaled to 0",
        "monitoring", "rollout", "scaled to 0 replicas", scaled_to_nothing,
    ),
    Fault(
        # It is told only after a rule had the time to fire and to arrive.
        "Prometheus has nobody to tell",
        "monitoring", FIRES, "the alert reaches no Alertmanager", nobody_told, seconds=200, alone=True,
    ),
    unguarded("monitoring", 200),
)  # fmt: skip
