"""A cluster that serves Routes is taken for OpenShift: hosts become Routes, and no user is fixed in pods."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster, Object

ROOT = Path(__file__).resolve().parents[3]
GROUP = "route.openshift.io"
API = f"{GROUP}/v1"
NAMESPACE = "edge-openshift"
OPEN: Object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
DEFINITION: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"routes.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"kind": "Route", "plural": "routes", "singular": "route", "listKind": "RouteList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": OPEN, "status": OPEN}}},
            }
        ],
    },
}  # the least that can be applied; what its controller would do is not there


def run(kubeconfig: str, reports: Path) -> dict[str, Any]:
    """The report of a run of the playbook on that cluster."""
    program = Path(sys.executable).parent / "ansible-playbook"
    environment = {**os.environ, "KUBECONFIG": kubeconfig, "MLOPS_PLATFORM_REPORTS": str(reports)}
    command: list[str | Path] = [program, "playbooks/site.yml", "-i", ROOT / "molecule" / "gateway" / "openshift"]
    subprocess.run(command, cwd=ROOT, env=environment, check=False)
    found: dict[str, Any] = json.loads((reports / "latest" / "report.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def openshift(
    cluster: Cluster, variables: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """The report of a run on this cluster while it serves Routes."""
    cluster.apply(DEFINITION)
    try:
        path, deadline = f"/apis/{API}", time.monotonic() + 30
        while "routes" not in str(cluster.request("GET", "/apis") and _served(cluster, path)):
            assert time.monotonic() < deadline
            time.sleep(0.25)
        yield run(variables["platform_kubeconfig"], tmp_path_factory.mktemp("reports"))
    finally:
        cluster.delete("v1", "Namespace", NAMESPACE)
        cluster.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"routes.{GROUP}")


def _served(cluster: Cluster, path: str) -> Any:
    from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError

    try:
        return cluster.request("GET", path)
    except ApiError:
        return ""


def test_hosts_are_routes_with_tls(openshift: dict[str, Any], cluster: Cluster) -> None:
    routes = {item["metadata"]["name"]: item["spec"] for item in cluster.list(API, "Route", NAMESPACE)}
    hosts = {name: (spec["host"], spec["to"]["name"], spec["port"]["targetPort"]) for name, spec in routes.items()}
    assert hosts == {
        "minio": ("s3.apps.example.org", "minio", "api"),
        "minio-console": ("minio.apps.example.org", "minio-console", "console"),
    }
    for spec in routes.values():
        assert spec["tls"] == {"termination": "edge", "insecureEdgeTerminationPolicy": "Redirect"}
    assert cluster.list("gateway.networking.k8s.io/v1", "HTTPRoute", NAMESPACE) == []


def test_no_user_is_fixed(openshift: dict[str, Any], cluster: Cluster) -> None:
    (found,) = cluster.list("apps/v1", "StatefulSet", NAMESPACE)
    text = json.dumps(found["spec"]["template"])
    assert [field for field in ("runAsUser", "runAsGroup", "fsGroup") if field in text] == []
    assert '"runAsNonRoot": true' in text


def test_everything_works_but_what_a_router_would_do(openshift: dict[str, Any]) -> None:
    (minio,) = openshift["components"]
    checks = {check["name"]: check for check in minio["checks"]}
    unhealthy = {name: check["message"].partition("; ")[0] for name, check in checks.items() if not check["healthy"]}
    assert unhealthy == {
        "edge": f"no router has taken Route {NAMESPACE}/minio",
        "console at the edge": f"no router has taken Route {NAMESPACE}/minio-console",
    }
    assert checks["mlflow uses its buckets"]["healthy"]
