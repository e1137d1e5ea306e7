"""Monitoring as those see it who are told: an alert fires when something breaks, and resolves when it is mended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards
from ansible_collections.mlops.platform.plugins.module_utils.prometheus import Prometheus

if TYPE_CHECKING:
    from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster

NAMESPACE = "monitoring"
TEST_NAMESPACE = "monitoring-test"
BUDGET = {"memory": 600 * 1024**2, "cpu": 0.3}
"""What all of monitoring may take of the embedded cluster at idle: bytes and cores."""
QUERIES = {
    "memory": "sum(container_memory_working_set_bytes{namespace=~'monitoring(-nodes)?'})",
    "cpu": "sum(rate(container_cpu_usage_seconds_total{namespace=~'monitoring(-nodes)?'}[5m]))",
}
FIRES_SECONDS, RESOLVES_SECONDS = 240, 240
"""MinioDown lasts a minute before it fires; then come two intervals of rules and one of Alertmanager's groups."""


@pytest.fixture(scope="module")
def prometheus(forwards: Forwards) -> Iterator[Prometheus]:
    with Prometheus.at(f"http://127.0.0.1:{forwards.port(NAMESPACE, 'prometheus', 9090)}") as found:
        yield found


@pytest.fixture(scope="module")
def receiver(cluster: Cluster, forwards: Forwards) -> Iterator[Callable[[str], list[dict[str, Any]]]]:
    """What the receiver in the cluster was told under a path."""
    nodes = cluster.list("v1", "Node")
    images = sorted(str(name) for node in nodes for item in node["status"]["images"] for name in item["names"])
    image = next(name for name in images if "/envoy:" in name)  # Python is in it
    program = Path(__file__).with_name("receiver.py").read_text(encoding="utf-8")
    labels = {"app": "receiver"}
    levels = {"pod-security.kubernetes.io/enforce": "restricted"}
    container = {
        "name": "receiver",
        "image": image,
        "command": ["python3", "-c", program],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    metadata = {"name": "receiver", "namespace": TEST_NAMESPACE}
    for manifest in (
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEST_NAMESPACE, "labels": levels}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "labels": labels}, "spec": pod},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"port": 8080}]},
        },
    ):
        cluster.apply(manifest)

    def is_ready() -> bool:
        found = cluster.get("v1", "Pod", "receiver", TEST_NAMESPACE) or {}
        told = {item["type"]: item["status"] for item in found.get("status", {}).get("conditions", [])}
        return told.get("Ready") == "True"

    wait(is_ready, 90, "the receiver is not ready")

    def told(path: str) -> list[dict[str, Any]]:
        port = forwards.port(TEST_NAMESPACE, "receiver", 8080)
        found: list[dict[str, Any]] = requests.get(f"http://127.0.0.1:{port}{path}", timeout=10).json()
        return found

    yield told
    cluster.delete("v1", "Namespace", TEST_NAMESPACE)


def wait(done: Callable[[], bool], seconds: float, missing: str) -> None:
    """Return when something has come about; fail with what is missing after `seconds`."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"{missing} (after {seconds} s)"
        time.sleep(2)


def test_the_last_run_proved_monitoring_and_changed_nothing(checks: Callable[[str], dict[str, Any]]) -> None:
    proven = checks("monitoring")
    assert all(proven.values())
    assert {
        "Prometheus answers by samples of now",
        "an alert is taken, and ends",
        "Prometheus at the edge",
        "Prometheus refuses strangers",
    } <= proven.keys()


@pytest.mark.parametrize("component", ["cert_manager", "gateway", "minio", "monitoring"])
def test_every_component_is_watched(checks: Callable[[str], dict[str, Any]], component: str) -> None:
    assert checks(f"{component}-monitoring") == {
        "rollout": True,
        "targets are up": True,
        "rules are evaluated": True,
    }


def test_all_targets_are_up_and_say_whose_they_are(prometheus: Prometheus) -> None:
    found = prometheus.targets()
    assert {item.url: item.error for item in found if item.health != "up"} == {}
    assert [item.url for item in found if not item.labels.get("component")] == []


def test_prometheus_keeps_what_a_pod_wrote_that_went(cluster: Cluster, prometheus: Prometheus) -> None:
    """Samples are on a volume: a new pod has those of the old one."""
    query = "sum(count_over_time(up{container='prometheus'}[1h]))"
    (before,) = prometheus.query(query)
    cluster.delete("v1", "Pod", "prometheus-platform-0", NAMESPACE)

    def is_back() -> bool:
        found = cluster.get("v1", "Pod", "prometheus-platform-0", NAMESPACE) or {}
        told = {item["type"]: item["status"] for item in found.get("status", {}).get("conditions", [])}
        return told.get("Ready") == "True" and "deletionTimestamp" not in found["metadata"]

    wait(is_back, 120, "Prometheus does not come back")
    (after,) = prometheus.query(query)
    assert after.value >= before.value


def test_the_dead_mans_switch_hears_that_all_is_alive(receiver: Callable[[str], list[dict[str, Any]]]) -> None:
    wait(lambda: bool(receiver("/watchdog")), 120, "nobody told the dead-man's switch anything")
    assert {alert["labels"]["alertname"] for alert in receiver("/watchdog")} == {"Watchdog"}


def test_an_alert_fires_when_minio_breaks_and_resolves_when_it_is_mended(
    cluster: Cluster, receiver: Callable[[str], list[dict[str, Any]]], prometheus: Prometheus
) -> None:
    def has_told(status: str) -> bool:
        return any(
            alert["labels"]["alertname"] == "MinioDown" and alert["status"] == status for alert in receiver("/alerts")
        )

    path = cluster.resource("apps/v1", "StatefulSet").path("mlops", "minio")

    def scale(replicas: int) -> None:
        body = {"spec": {"replicas": replicas}}
        cluster.request("PATCH", path, body=body, content_type="application/merge-patch+json")

    assert not has_told("firing")
    scale(0)
    try:
        wait(lambda: has_told("firing"), FIRES_SECONDS, "nobody was told that MinIO is down")
        (alert,) = [item for item in prometheus.alerts() if item.name == "MinioDown"]
        assert (alert.state, alert.labels["component"], alert.labels["severity"]) == ("firing", "minio", "critical")
        assert alert.annotations["runbook_url"].startswith("https://")
        assert not has_told("resolved")
    finally:
        scale(1)
    wait(lambda: has_told("resolved"), RESOLVES_SECONDS, "nobody was told that MinIO is back")


def test_it_stays_within_its_budget(prometheus: Prometheus, capsys: pytest.CaptureFixture[str]) -> None:
    taken = {name: sum(sample.value for sample in prometheus.query(query)) for name, query in QUERIES.items()}
    with capsys.disabled():
        print(f"monitoring takes {taken['memory'] / 1024**2:.0f} MiB and {taken['cpu']:.3f} cores")
    assert taken["memory"] > 0
    assert {name: value for name, value in taken.items() if value > BUDGET[name]} == {}
