"""KServe as a user has it: models of both formats, in both modes, from bytes in S3 to a prediction."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import joblib
import mlflow
import numpy as np
import pytest
import requests
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster
from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards
from running import statuses_around_idling
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

NAMESPACE = "models"
BUCKET = "mlflow-artifacts"
API = "serving.kserve.io/v1beta1"
READY_SECONDS = 300
FEATURES, CLASSES = load_iris(return_X_y=True)
ROWS = FEATURES[::10]
REQUEST = {
    "inputs": [{"name": "features", "shape": list(ROWS.shape), "datatype": "FP64", "data": ROWS.ravel().tolist(),
                "parameters": {"content_type": "np"}}],
}  # fmt: skip


@dataclass(frozen=True)
class Model:
    """A model that is served: its format, the mode, and what it predicts itself."""

    name: str
    format: str
    mode: str
    classes: list[int]


@pytest.fixture(scope="module")
def s3(address: str, variables: dict[str, Any], secret: Callable[[str], dict[str, str]]) -> S3Client:
    """The storage, as who may write there."""
    login = secret("minio-mlflow")
    made: S3Client = boto3.client(
        "s3", endpoint_url=f"http://{address}:{variables['minio_api_node_port']}", region_name="us-east-1",
        aws_access_key_id=login["access-key"], aws_secret_access_key=login["secret-key"],
    )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def models(cluster: Cluster, s3: S3Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Model]]:
    """A model of each format, each in another mode: its bytes stored, served, ready; all of it removed again."""
    trained = LogisticRegression(max_iter=500).fit(FEATURES, CLASSES)
    folder, token = tmp_path_factory.mktemp("models"), secrets.token_hex(4)
    mlflow.sklearn.save_model(trained, folder / "mlflow", serialization_format="skops", input_example=FEATURES[:2])
    (folder / "sklearn").mkdir()
    joblib.dump(trained, folder / "sklearn" / "model.joblib")
    found = [
        Model(f"test-{kind}-{token}", kind, mode, trained.predict(ROWS).tolist())
        for kind, mode in (("mlflow", "Knative"), ("sklearn", "Standard"))
    ]
    keys = [
        store(s3, path, f"tests/{token}/{path.relative_to(folder)}") for path in folder.rglob("*") if path.is_file()
    ]
    try:
        for model in found:
            cluster.apply(inference_service(model, f"s3://{BUCKET}/tests/{token}/{model.format}"))
        for model in found:
            await_ready(cluster, model.name)
        yield found
    finally:
        for model in found:
            cluster.delete(API, "InferenceService", model.name, NAMESPACE)
        for key in keys:
            s3.delete_object(Bucket=BUCKET, Key=key)


def store(s3: S3Client, path: Path, key: str) -> str:
    """Put a file into the bucket; returns its key."""
    s3.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())
    return key


def inference_service(model: Model, uri: str) -> dict[str, Any]:
    """What a user writes to have a model served."""
    source = {"modelFormat": {"name": model.format}, "protocolVersion": "v2", "storageUri": uri}
    return {
        "apiVersion": API,
        "kind": "InferenceService",
        "metadata": {
            "name": model.name,
            "namespace": NAMESPACE,
            "annotations": {"serving.kserve.io/deploymentMode": model.mode},
        },
        "spec": {"predictor": {"serviceAccountName": "models", "minReplicas": 1, "maxReplicas": 1, "model": source}},
    }


def conditions(cluster: Cluster, name: str) -> dict[str, str]:
    """The conditions of an InferenceService: True, or why not."""
    found = cluster.get(API, "InferenceService", name, NAMESPACE)
    assert found
    return {
        item["type"]: "True" if item["status"] == "True" else str(item.get("message") or item.get("reason"))
        for item in found.get("status", {}).get("conditions", [])
    }


def await_ready(cluster: Cluster, name: str) -> None:
    """Return when a model is served."""
    deadline = time.monotonic() + READY_SECONDS
    while conditions(cluster, name).get("Ready") != "True":
        assert time.monotonic() < deadline, conditions(cluster, name)
        time.sleep(0.5)


def pods(cluster: Cluster, model: Model) -> list[dict[str, Any]]:
    """The pods that serve a model."""
    found = cluster.list("v1", "Pod", NAMESPACE, f"serving.kserve.io/inferenceservice={model.name}")
    return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]


def service_of(model: Model) -> tuple[str, str]:
    """Namespace and name of the Service that leads to a model."""
    return ("kourier-system", "kourier") if model.mode == "Knative" else (NAMESPACE, f"{model.name}-predictor")


def test_models_predict_what_they_predict_themselves(cluster: Cluster, models: list[Model]) -> None:
    for model in models:
        served = cluster.get(API, "InferenceService", model.name, NAMESPACE)
        assert served
        host = urlsplit(served["status"]["url"]).hostname
        assert host
        with Forwards(cluster) as forwards:
            url = f"http://127.0.0.1:{forwards.port(*service_of(model), 80)}/v2/models/{model.name}/infer"
            answer = requests.post(url, json=REQUEST, headers={"Host": host}, timeout=60)
        assert answer.status_code == 200, (model, answer.text)
        assert np.ravel(answer.json()["outputs"][0]["data"]).tolist() == model.classes, model


def test_models_count_what_they_are_asked(cluster: Cluster, models: list[Model]) -> None:
    for model in models:
        (pod,) = pods(cluster, model)
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}:8082/proxy/metrics"
        text = str(cluster.request("GET", path, accept="*/*"))

        def total(name: str, *labels: str, text: str = text, own: str = f'model="{model.name}"') -> float:
            lines = [line for line in text.splitlines() if line.startswith(f"{name}{{") and own in line]
            return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(label in line for label in labels))

        asked = total("model_request_duration_seconds_count", 'code="200"')
        assert asked >= 1, text
        assert total("model_predictions_total") == asked * len(ROWS)
        for kind in set(model.classes):
            assert total("model_predictions_total", f'prediction="{kind}"') == asked * model.classes.count(kind)
        assert total("model_input_values_total") == asked * ROWS.size
        assert total("model_input_positive_sum_total", 'feature="2"') == pytest.approx(asked * ROWS[:, 2].sum())


def test_an_idle_connection_is_kept_for_the_proxy_that_uses_it_again(cluster: Cluster, models: list[Model]) -> None:
    (direct,) = [model for model in models if model.mode == "Standard"]
    with Forwards(cluster) as forwards:
        port = forwards.port(*service_of(direct), 80)
        assert statuses_around_idling(port, f"/v2/models/{direct.name}/ready") == [200, 200]


def test_pods_of_models_hold_no_token_and_cannot_change_their_root(cluster: Cluster, models: list[Model]) -> None:
    for model in models:
        (pod,) = pods(cluster, model)
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert not [volume for volume in pod["spec"]["volumes"] if "projected" in volume and "token" in str(volume)]
        for container in [*pod["spec"]["initContainers"], *pod["spec"]["containers"]]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, container["name"]
            assert container["securityContext"]["runAsNonRoot"] is True, container["name"]


def test_pods_of_models_run_the_platform_s_images(cluster: Cluster, models: list[Model]) -> None:
    for model in models:
        (pod,) = pods(cluster, model)
        (fetching,) = [item["image"] for item in pod["spec"]["initContainers"]]
        (serving,) = [item["image"] for item in pod["spec"]["containers"] if item["name"] == "kserve-container"]
        assert fetching.startswith("localhost:5000/kserve-storage-initializer:")
        assert serving.startswith("localhost:5000/model-server:")


def test_a_model_that_cannot_scale_is_refused(cluster: Cluster) -> None:
    wrong = inference_service(Model("test-wrong", "mlflow", "Standard", []), f"s3://{BUCKET}/nothing")
    wrong["spec"]["predictor"] |= {"minReplicas": 2, "maxReplicas": 1}
    with pytest.raises(ApiError, match="cannot be greater than MaxReplicas"):
        cluster.apply(wrong)
    assert cluster.get(API, "InferenceService", "test-wrong", NAMESPACE) is None


def test_no_service_leads_to_the_controller_s_metrics(cluster: Cluster) -> None:
    services = cluster.list("v1", "Service", "kserve-system")
    assert [(item["metadata"]["name"], item["spec"]["ports"][0]["port"]) for item in services] == [
        ("kserve-webhook-server-service", 443)
    ]
    (controller,) = cluster.list("v1", "Pod", "kserve-system", "control-plane=kserve-controller-manager")
    assert [box["name"] for box in controller["spec"]["containers"]] == ["manager"]
    assert "--metrics-addr=:8080" in controller["spec"]["containers"][0]["args"]  # Prometheus asks the pod


@pytest.mark.parametrize("part", ["llminferenceservices", "localmodelcaches"])
def test_parts_that_the_platform_does_not_have_are_left_out(cluster: Cluster, part: str) -> None:
    name = f"{part}.serving.kserve.io"
    assert cluster.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", name) is None


def test_the_report_says_the_same(checks: Callable[[str], dict[str, Any]]) -> None:
    assert checks("kserve") == {
        "rollout": True,
        "InferenceServices are admitted": True,
        "formats are served": True,
        "pods of models get their bytes": True,
        "models read and do not write": True,
    }
