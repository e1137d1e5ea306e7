"""How the tests of the scenarios see the platform: from outside, with what a user has."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import collection_names  # noqa: F401  (makes the collection importable)
import pytest
import yaml
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster
from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards
from ansible_collections.mlops.platform.plugins.module_utils.gateway import node_address

INVENTORY = Path(__file__).parent / "inventory" / "group_vars" / "platform.yml"
NAMESPACE = "mlops"
DOMAIN = "mlops.internal"

Secret = Callable[[str], dict[str, str]]
Checks = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="session")
def variables() -> dict[str, Any]:
    """The variables of the inventory, none of which is a template."""
    found: dict[str, Any] = yaml.safe_load(INVENTORY.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="session")
def cluster(variables: dict[str, Any]) -> Cluster:
    """The cluster, as its administrator."""
    return Cluster(variables["platform_kubeconfig"])


@pytest.fixture(scope="module")
def forwards(cluster: Cluster) -> Iterator[Forwards]:
    """Ports that lead to Services of the cluster."""
    with Forwards(cluster) as found:
        yield found


@pytest.fixture(scope="session")
def address(cluster: Cluster) -> str:
    """The address of the node, at which its ports answer."""
    return node_address(cluster)


@pytest.fixture
def names(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name below the platform's domain leads to the node, as `curl --resolve` has it."""
    look_up = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        text = host.decode() if isinstance(host, bytes) else str(host)
        return look_up(address if text.endswith(DOMAIN) else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.fixture(scope="session")
def secret(cluster: Cluster) -> Secret:
    """The values of a Secret of the platform."""

    def read(name: str) -> dict[str, str]:
        found = cluster.secret(name, NAMESPACE)
        assert found is not None, f"there is no Secret {name}"
        return found

    return read


@pytest.fixture(scope="session")
def report() -> dict[str, Any]:
    """The report of the last run: the one that must have changed nothing."""
    path = Path(os.environ["MLOPS_PLATFORM_REPORTS"]) / "latest" / "report.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="session")
def checks(report: dict[str, Any]) -> Checks:
    """Whether each check of a component was healthy, by name; the run itself was healthy and changed nothing."""

    def read(component: str) -> dict[str, Any]:
        assert (report["status"], report["changed"]) == ("healthy", 0), report["failures"]
        (found,) = [item for item in report["components"] if item["name"] == component]
        assert (found["status"], found["changed"]) == ("healthy", False)
        return {check["name"]: check["healthy"] for check in found["checks"]}

    return read
