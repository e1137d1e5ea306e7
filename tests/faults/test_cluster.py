"""The embedded cluster's own validation: faults of names, volumes and metrics.

They break what everything else in the cluster needs, and run in the cluster of the tests only.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml
from ansible_collections.mlops.platform.plugins.module_utils.component import Component
from faults.platform import ROOT, Platform, ready, until
from faults.sets import FOUNDATION_ONLY
from faults.test_faults import assert_reported

pytestmark = FOUNDATION_ONLY

SETTINGS = ROOT / "roles" / "local_cluster" / "vars" / "main" / "settings.yml"
DOMAIN = "cluster.local"
Inject = Callable[[Platform], contextlib.AbstractContextManager[None]]


@pytest.fixture(scope="module")
def system(platform: Platform) -> Platform:
    """The add-ons of the cluster of the tests, as their role describes them."""
    if "/mlops-test/" not in str(platform.cluster.kubeconfig):
        pytest.skip("only the cluster of the tests may be broken")
    spec: dict[str, Any] = yaml.safe_load(SETTINGS.read_text(encoding="utf-8"))["__local_cluster_addons_spec"]
    checks = [{**check, **({"domain": DOMAIN} if "domain" in check else {})} for check in spec["checks"]]
    component = Component.parse({**spec, "version": "", "checks": checks})
    return replace(platform, components={"addons": component}, manifests={})


def scaled(name: str) -> Inject:
    """Somebody scales an add-on to 0."""

    @contextlib.contextmanager
    def inject(system: Platform) -> Iterator[None]:
        system.scale("Deployment", name, 0)
        try:
            yield
        finally:
            system.scale("Deployment", name, 1)
            until(lambda: any(map(ready, system.pods(name))))

    return inject


@contextlib.contextmanager
def metrics_closed(system: Platform) -> Iterator[None]:
    """Somebody leads the port of the name server's metrics to where nobody listens."""

    def lead_to(target: str | int) -> None:
        port = {"name": "metrics", "port": 9153, "protocol": "TCP", "targetPort": target}
        system.patch("v1", "Service", "kube-dns", {"spec": {"ports": [port]}})

    lead_to(9999)
    try:
        yield
    finally:
        lead_to("metrics")


@contextlib.contextmanager
def names_forgotten(system: Platform) -> Iterator[None]:
    """Somebody takes the cluster's own domain out of the name server's configuration."""
    found = system.cluster.get("v1", "ConfigMap", "coredns", "kube-system")
    assert found
    corefile = str(found["data"]["Corefile"])

    def configure(content: str) -> None:
        system.patch("v1", "ConfigMap", "coredns", {"data": {"Corefile": content}})
        system.restart("coredns")

    configure(corefile.replace(DOMAIN, "elsewhere.local"))
    try:
        yield
    finally:
        configure(corefile)


FAULTS: tuple[tuple[str, Inject, str, str], ...] = (
    ("metrics closed", metrics_closed, "cluster DNS answers", "port 9999 of pod coredns.*connection refused"),
    (
        "names forgotten",
        names_forgotten,
        "the cluster's own names resolve",
        "answered with (SERVFAIL|REFUSED|NXDOMAIN)",
    ),
    ("no name server", scaled("coredns"), "rollout", "coredns: is scaled to 0 replicas"),
    ("no metrics", scaled("metrics-server"), "rollout", "metrics-server: is scaled to 0 replicas|not Available"),
)


@pytest.mark.parametrize(("inject", "check", "cause"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_the_right_check_reports_it_and_no_other_under_its_name(
    system: Platform, inject: Inject, check: str, cause: str
) -> None:
    with inject(system):
        started = time.monotonic()
        outcomes = system.validate("addons")
        seconds = time.monotonic() - started
        mutant = system.validate("addons", without=check)
    assert_reported(outcomes, check, cause)
    assert seconds <= 30
    with pytest.raises(AssertionError, match="sees nothing wrong"):
        assert_reported(mutant, check, cause)


def test_it_is_healthy_again(system: Platform) -> None:
    until(lambda: all(outcome["healthy"] for outcome in system.validate("addons").values()))
