"""MLflow as a data scientist uses it; what it keeps is looked for where it must be: in PostgreSQL and in MinIO."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import psycopg2
import pytest
import requests
from mlflow import MlflowClient

Secret = Callable[[str], dict[str, str]]


@pytest.fixture(scope="module")
def url(address: str, variables: dict[str, Any]) -> str:
    """The URL of the server."""
    return f"http://{address}:{variables['mlflow_node_port']}"


@pytest.fixture
def client(url: str, secret: Secret, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """A client that is logged in as the service user."""
    values = secret("mlflow-service")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", values["username"])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", values["password"])
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    return MlflowClient(tracking_uri=url, registry_uri=url)


def test_from_a_run_to_the_bytes_of_its_model(
    client: MlflowClient, address: str, variables: dict[str, Any], secret: Secret, tmp_path: Path
) -> None:
    name, content = f"test-{secrets.token_hex(4)}", secrets.token_bytes(100_000)
    (tmp_path / "weights.bin").write_bytes(content)
    experiment = client.create_experiment(name)
    run = client.create_run(experiment).info.run_id
    client.log_param(run, "depth", 3)
    client.log_metric(run, "accuracy", 0.75)
    client.log_artifact(run, str(tmp_path / "weights.bin"), "model")
    client.set_terminated(run)

    data = client.get_run(run).data
    assert (data.params, data.metrics) == ({"depth": "3"}, {"accuracy": 0.75})

    client.create_registered_model(name)
    version = client.create_model_version(name, f"mlflow-artifacts:/{experiment}/{run}/artifacts/model", run).version
    client.set_registered_model_alias(name, "champion", version)
    assert client.get_model_version_by_alias(name, "champion").run_id == run

    downloaded = client.download_artifacts(run, "model/weights.bin", str(tmp_path / "again"))
    assert Path(downloaded).read_bytes() == content

    login = secret("postgresql-credentials")
    with psycopg2.connect(
        host=address, port=variables["postgresql_external_node_port"], dbname=login["database"],
        user=login["username"], password=login["password"],
    ) as session, session.cursor() as cursor:  # fmt: skip
        cursor.execute("SELECT key, value FROM metrics WHERE run_uuid = %s", (run,))
        assert cursor.fetchall() == [("accuracy", 0.75)]

    keys = secret("minio-mlflow")
    s3 = boto3.client(
        "s3", endpoint_url=f"http://{address}:{variables['minio_api_node_port']}", region_name="us-east-1",
        aws_access_key_id=keys["access-key"], aws_secret_access_key=keys["secret-key"],
    )  # fmt: skip
    key = f"{experiment}/{run}/artifacts/model/weights.bin"
    assert s3.get_object(Bucket="mlflow-artifacts", Key=key)["Body"].read() == content

    client.delete_registered_model(name)
    client.delete_experiment(experiment)


SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"


@pytest.mark.parametrize("path", [SEARCH, "/", "/metrics", "/api/2.0/mlflow/users/list"])
def test_nothing_is_shown_without_a_login(url: str, path: str) -> None:
    assert requests.get(url + path, timeout=10).status_code == 401


@pytest.mark.parametrize("username", ["admin", "mlflow-service"])
@pytest.mark.parametrize("password", ["wrong", "password", "password1234", "admin"])
def test_a_wrong_password_is_refused(url: str, username: str, password: str) -> None:
    assert requests.get(url + SEARCH, auth=(username, password), timeout=10).status_code == 401


@pytest.mark.parametrize("name", ["mlflow-admin", "mlflow-service"])
def test_the_generated_password_is_accepted(url: str, secret: Secret, name: str) -> None:
    values = secret(name)
    assert requests.get(url + SEARCH, auth=(values["username"], values["password"]), timeout=10).status_code == 200


def test_the_service_user_makes_no_users(url: str, secret: Secret) -> None:
    values = secret("mlflow-service")
    answer = requests.post(
        f"{url}/api/2.0/mlflow/users/create",
        json={"username": f"u-{secrets.token_hex(4)}", "password": secrets.token_hex(16)},
        auth=(values["username"], values["password"]),
        timeout=10,
    )
    assert answer.status_code == 403


def test_health_needs_no_login(url: str) -> None:
    answer = requests.get(f"{url}/health", timeout=10)
    assert (answer.status_code, answer.text) == (200, "OK")


def test_a_strange_host_name_is_refused(url: str, secret: Secret) -> None:
    values = secret("mlflow-service")
    answer = requests.get(
        url + SEARCH, auth=(values["username"], values["password"]), headers={"Host": "evil.example.org"}, timeout=10
    )
    assert answer.status_code == 403


def test_the_version_is_the_one_asked_for(url: str, secret: Secret, report: dict[str, Any]) -> None:
    values = secret("mlflow-service")
    answer = requests.get(f"{url}/version", auth=(values["username"], values["password"]), timeout=10)
    (component,) = [item for item in report["components"] if item["name"] == "mlflow"]
    assert answer.text.strip() == component["version"]


def test_the_report_says_the_same(checks: Callable[[str], dict[str, Any]]) -> None:
    assert checks("mlflow") == {
        "rollout": True,
        "health": True,
        "version": True,
        "metrics": True,
        "run, model, alias and artifact": True,
        "logins are refused": True,
        "edge": True,
    }


def test_prometheus_reads_what_is_counted_and_is_no_administrator(url: str, secret: Secret) -> None:
    login = secret("mlflow-prometheus")
    user = (login["username"], login["password"])
    counted = requests.get(f"{url}/metrics", auth=user, timeout=30)
    assert counted.status_code == 200
    assert "mlflow_http_request_total" in counted.text
    assert requests.get(f"{url}/metrics", timeout=30).status_code == 401
    new = {"username": "somebody", "password": secrets.token_hex(16)}
    assert requests.post(f"{url}/api/2.0/mlflow/users/create", json=new, auth=user, timeout=30).status_code == 403
