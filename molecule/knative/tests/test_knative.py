"""Knative as its user: a service of one's own behind Kourier's port of the node, from nothing to nothing."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import requests
import yaml

if TYPE_CHECKING:
    from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster

SERVING = "serving.knative.dev/v1"
NAMESPACE = "knative-test"
DOMAIN = "mlops.internal"
SERVER = "import http.server as s; s.test(s.SimpleHTTPRequestHandler, port=8080)"


@pytest.fixture(scope="module")
def kourier(address: str, variables: dict[str, Any]) -> str:
    """The URL of Kourier's gateway, outside of the cluster."""
    return f"http://{address}:{variables['knative_kourier_node_port']}"


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of one's own, at the strictest level of Pod Security."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
    yield NAMESPACE
    cluster.delete("v1", "Namespace", NAMESPACE)


@pytest.fixture(scope="module")
def image(cluster: Cluster) -> str:
    """An image with Python, which the node has: the one that the platform proves Knative with."""
    nodes = cluster.list("v1", "Node")
    found = {str(name) for node in nodes for item in node["status"]["images"] for name in item["names"]}
    return next(name for name in sorted(found) if "/debian-python:" in name)


@pytest.fixture(scope="module")
def service(cluster: Cluster, namespace: str, image: str) -> Iterator[str]:
    """The host of a service that shows its folder, which has one file."""
    secret = secrets.token_hex(8)
    container = {
        "image": image,
        "command": ["python3", "-c", f"open('/tmp/answer', 'w').write('{secret}'); {SERVER}"],
        "workingDir": "/tmp",
        "ports": [{"containerPort": 8080}],
        "securityContext": {"runAsUser": 1000},
    }
    name = f"files-{secret}"
    cluster.apply(
        {
            "apiVersion": SERVING,
            "kind": "Service",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "template": {
                    "metadata": {"annotations": {"autoscaling.knative.dev/window": "10s"}},
                    "spec": {"containers": [container], "timeoutSeconds": 10},
                }
            },
        }
    )
    wait(lambda: condition(cluster, name) == "True")
    yield f"{name}.{namespace}.{DOMAIN}"
    cluster.delete(SERVING, "Service", name, namespace)


def condition(cluster: Cluster, name: str) -> str:
    """Whether a service is ready: True, False or Unknown."""
    found = cluster.get(SERVING, "Service", name, NAMESPACE) or {}
    told = {item["type"]: item["status"] for item in found.get("status", {}).get("conditions", [])}
    return str(told.get("Ready", "Unknown"))


def wait(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Return when a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.2)


def pods(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    """The pods of a service that do not end."""
    found = cluster.list("v1", "Pod", NAMESPACE, f"serving.knative.dev/service={name}")
    return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]


def test_the_service_answers_by_its_host_from_outside(kourier: str, service: str) -> None:
    answer = requests.get(f"{kourier}/answer", headers={"Host": service}, timeout=30)
    assert (answer.status_code, answer.text) == (200, service.partition(".")[0].removeprefix("files-"))


def test_another_host_is_nobody_s(kourier: str, service: str) -> None:
    answer = requests.get(f"{kourier}/answer", headers={"Host": f"x{service}"}, timeout=30)
    assert answer.status_code == 404


def test_its_pods_keep_the_level_restricted_without_saying_so(cluster: Cluster, service: str) -> None:
    for pod in pods(cluster, service.partition(".")[0]):
        for container in pod["spec"]["containers"]:
            context = container["securityContext"]
            assert context["runAsNonRoot"] is True
            assert context["capabilities"]["drop"] == ["ALL"]


def test_the_proxy_in_its_pods_asks_for_little(cluster: Cluster, service: str) -> None:
    requests_of = {
        container["name"]: container["resources"].get("requests")
        for pod in pods(cluster, service.partition(".")[0])
        for container in pod["spec"]["containers"]
    }
    assert requests_of["queue-proxy"] == {"cpu": "5m", "memory": "24Mi"}


def test_it_goes_to_zero_and_comes_back(cluster: Cluster, kourier: str, service: str) -> None:
    name = service.partition(".")[0]
    wait(lambda: not pods(cluster, name), seconds=90)
    started = time.monotonic()
    answer = requests.get(f"{kourier}/answer", headers={"Host": service}, timeout=60)
    assert answer.status_code == 200
    assert time.monotonic() - started < 30


def test_what_nobody_may_have_is_refused_by_the_webhook(cluster: Cluster, namespace: str, image: str) -> None:
    body = {
        "apiVersion": SERVING,
        "kind": "Service",
        "metadata": {"name": "refused", "namespace": namespace},
        "spec": {"template": {"spec": {"containers": [{"image": image}], "hostNetwork": True}}},
    }
    path = cluster.resource(SERVING, "Service").path(namespace)
    with pytest.raises(Exception, match="hostNetwork"):
        cluster.request("POST", path, body=body)


def test_examples_in_the_configuration_are_upstream_s_own(cluster: Cluster) -> None:
    for name in ("autoscaler", "deployment", "domain", "features", "network"):
        found = cluster.get("v1", "ConfigMap", f"config-{name}", "knative-serving")
        assert found
        assert "EXAMPLE CONFIGURATION" in found["data"]["_example"]
        assert len(found["data"]) > 1


def test_the_run_proved_it(checks: Callable[[str], dict[str, Any]]) -> None:
    assert checks("knative") == {"rollout": True, "a service answers through the gateway": True}


def test_the_image_runs_what_the_inventory_says(cluster: Cluster) -> None:
    deployed = cluster.get("apps/v1", "Deployment", "controller", "knative-serving")
    assert deployed
    assert yaml.safe_load(deployed["metadata"]["labels"]["app.kubernetes.io/version"]) != "devel"
