"""The serving API as a client uses it, and as Kubernetes scales it; the model is looked for where it is registered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster
from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards
from mlflow import MlflowClient
from sklearn.datasets import load_iris

Secret = Callable[[str], dict[str, str]]
NAMESPACE, NAME = "mlops", "model-api"


@pytest.fixture(scope="module")
def url(forwards: Forwards) -> str:
    """The URL of the service."""
    return f"http://127.0.0.1:{forwards.port(NAMESPACE, NAME, 8080)}"


@pytest.fixture
def mlflow_url(address: str, variables: dict[str, Any]) -> str:
    """The URL of the registry."""
    return f"http://{address}:{variables['mlflow_node_port']}"


@pytest.fixture
def login(secret: Secret) -> tuple[str, str]:
    """The service's own user of MLflow."""
    values = secret("model-api-mlflow")
    return values["username"], values["password"]


def predict(url: str, features: Any) -> requests.Response:
    return requests.post(f"{url}/predict", json={"features": features}, timeout=10)


def test_it_tells_the_flowers_apart(url: str) -> None:
    rows, classes = load_iris(return_X_y=True)
    answer = predict(url, rows.tolist()).json()
    right = sum(mine == theirs for mine, theirs in zip(answer["predictions"], classes.tolist(), strict=True))
    assert right / len(rows) > 0.9
    assert all(abs(sum(row) - 1) < 1e-9 for row in answer["probabilities"])
    assert answer["latency_ms"] > 0


def test_it_serves_the_version_that_the_alias_leads_to(
    url: str, mlflow_url: str, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = secret("mlflow-service")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", values["username"])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", values["password"])
    champion = MlflowClient(mlflow_url, mlflow_url).get_model_version_by_alias("iris", "champion")
    info = requests.get(f"{url}/model/info", timeout=10).json()
    assert info["failure"] is None
    assert (info["model"]["version"], info["model"]["run_id"]) == (str(champion.version), champion.run_id)
    assert predict(url, [[5.1, 3.5, 1.4, 0.2]]).json()["model"] == {"name": "iris", "version": str(champion.version)}


def test_what_does_not_fit_is_refused_by_its_field(url: str) -> None:
    answer = predict(url, [[5.1, 3.5, "long", 0.2]])
    assert answer.status_code == 422
    assert answer.json()["fields"][0]["field"] == "features[0][2] (petal length (cm))"


def test_its_user_may_read_models_and_write_none(mlflow_url: str, login: tuple[str, str]) -> None:
    path = f"{mlflow_url}/api/2.0/mlflow/registered-models"
    assert requests.get(f"{path}/get", params={"name": "iris"}, auth=login, timeout=10).status_code == 200
    alias = {"name": "iris", "alias": "champion"}
    assert requests.delete(f"{path}/alias", json=alias, auth=login, timeout=10).status_code == 403


def test_the_number_of_pods_is_the_autoscalers(cluster: Cluster) -> None:
    scaler = cluster.get("autoscaling/v2", "HorizontalPodAutoscaler", NAME, NAMESPACE)
    deployment = cluster.get("apps/v1", "Deployment", NAME, NAMESPACE)
    assert scaler
    assert deployment
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (2, 5)
    assert deployment["spec"]["replicas"] >= 2
    ours = [item for item in deployment["metadata"]["managedFields"] if item["manager"] == "mlops.platform"]
    assert "f:replicas" not in ours[0]["fieldsV1"]["f:spec"]


def test_one_pod_is_always_left(cluster: Cluster) -> None:
    budget = cluster.get("policy/v1", "PodDisruptionBudget", NAME, NAMESPACE)
    assert budget
    assert budget["status"]["disruptionsAllowed"] == 1


def test_the_report_says_the_same(checks: Callable[[str], dict[str, Any]]) -> None:
    assert checks("model_api") == {
        "rollout": True,
        "model is registered": True,
        "predicts as the model itself": True,
        "autoscaler": True,
        "edge": True,
    }
