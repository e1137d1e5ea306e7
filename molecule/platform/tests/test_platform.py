"""The whole chain as a client has it: the edge's names, the platform's authority, a model that answers."""

from __future__ import annotations

import os
import secrets
import shlex
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow import MlflowClient
from sklearn.datasets import load_iris

DOMAIN = "mlops.internal"
MODEL = "/v2/models/iris"
MOST_MEMORY = 6 << 30
"""Bytes that the idle platform may take of a machine, Kubernetes included."""

Secret = Callable[[str], dict[str, str]]


@pytest.fixture(scope="module")
def ca_file() -> str:
    """The platform's authority, as a run leaves it beside its report."""
    return str(Path(os.environ["MLOPS_PLATFORM_REPORTS"]) / "latest" / "platform-ca.crt")


@pytest.fixture
def edge(names: None, variables: dict[str, Any]) -> Callable[[str], str]:
    """The URLs of the edge's hosts."""
    return lambda name: f"https://{name}.{DOMAIN}:{variables['gateway_https_node_port']}"


def predict(url: str, ca_file: str, columns: dict[str, list[float]]) -> requests.Response:
    """Ask the model for predictions of a table, by the Open Inference Protocol."""
    inputs = [
        {"name": name, "shape": [len(values), 1], "datatype": "FP64", "data": values}
        for name, values in columns.items()
    ]
    request = {"parameters": {"content_type": "pd"}, "inputs": inputs}
    return requests.post(f"{url}{MODEL}/infer", json=request, verify=ca_file, timeout=30)


def test_the_run_changed_nothing_and_says_what_it_takes(report: dict[str, Any]) -> None:
    assert (report["verb"], report["status"], report["changed"]) == ("up", "healthy", 0), report["failures"]
    took = report["cluster"]["memory"]
    assert sum(took.values()) < MOST_MEMORY
    assert all(item["status"] == "healthy" for item in report["components"])


def test_the_printed_command_predicts(report: dict[str, Any]) -> None:
    (served,) = [item for item in report["components"] if item["name"] == "model-iris"]
    (command,) = [line for line in served["access"] if "curl" in line]
    words = shlex.split(command[command.index("curl") :])
    done = subprocess.run([*words, "--silent", "--fail-with-body"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"outputs"' in done.stdout


def test_the_registered_model_tells_iris_apart(edge: Callable[[str], str], ca_file: str) -> None:
    features, classes = load_iris(return_X_y=True, as_frame=True)
    answer = predict(edge("iris"), ca_file, features.to_dict("list"))
    assert answer.status_code == 200, answer.text
    (output,) = answer.json()["outputs"]
    right = sum(int(got == wanted) for got, wanted in zip(output["data"], classes, strict=True))
    assert right >= 0.93 * len(classes)


def test_nobody_else_vouches_for_the_edge(edge: Callable[[str], str]) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(edge("mlflow"), verify=True, timeout=10)


def test_the_certificate_is_for_the_host(address: str, variables: dict[str, Any], ca_file: str) -> None:
    context = ssl.create_default_context(cafile=ca_file)
    place = (address, variables["gateway_https_node_port"])
    with (
        socket.create_connection(place, timeout=10) as connection,
        context.wrap_socket(connection, server_hostname=f"iris.{DOMAIN}") as session,
    ):
        assert session.version() in {"TLSv1.2", "TLSv1.3"}


def test_plain_http_is_led_to_https(edge: Callable[[str], str], variables: dict[str, Any]) -> None:
    plain = edge("iris").replace("https", "http").replace(
        str(variables["gateway_https_node_port"]), str(variables["gateway_http_node_port"])
    )  # fmt: skip
    answer = requests.get(f"{plain}{MODEL}", allow_redirects=False, timeout=10)
    assert answer.status_code == 301
    assert answer.headers["location"].startswith(f"https://iris.{DOMAIN}")


def test_a_host_that_is_not_served_is_not_found(edge: Callable[[str], str], ca_file: str) -> None:
    assert requests.get(f"{edge('nobody')}/", verify=ca_file, timeout=10).status_code == 404


def test_a_data_scientist_logs_a_run_through_the_edge(
    edge: Callable[[str], str], ca_file: str, secret: Secret, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    login = secret("mlflow-service")
    for name, value in {
        "MLFLOW_TRACKING_USERNAME": login["username"],
        "MLFLOW_TRACKING_PASSWORD": login["password"],
        "MLFLOW_TRACKING_SERVER_CERT_PATH": ca_file,
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }.items():
        monkeypatch.setenv(name, value)
    client = MlflowClient(tracking_uri=edge("mlflow"), registry_uri=edge("mlflow"))
    content = secrets.token_bytes(3_000_000)
    (tmp_path / "weights.bin").write_bytes(content)
    experiment = client.create_experiment(f"edge-{secrets.token_hex(4)}")
    try:
        run = client.create_run(experiment).info.run_id
        client.log_artifact(run, str(tmp_path / "weights.bin"))
        downloaded = client.download_artifacts(run, "weights.bin", str(tmp_path / "again"))
        assert Path(downloaded).read_bytes() == content
    finally:
        client.delete_experiment(experiment)
