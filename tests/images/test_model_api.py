"""The plain serving API: started as its image starts it, beside an MLflow server with a registry of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import mlflow
import numpy as np
import pytest
import requests
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access, Check, CheckFailed, External
from ansible_collections.mlops.platform.plugins.module_utils.checks.model_api import MlflowModelCheck, ModelApiCheck
from mlflow import MlflowClient
from mlflow.models import infer_signature
from observed.metrics import NUMBER, OTHER
from prometheus_client.parser import text_string_to_metric_families
from running import free_port, mlflow_server, python, statuses_around_idling, until
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression

ROOT = Path(__file__).resolve().parents[2]
ROW = [5.1, 3.5, 1.4, 0.2]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an MLflow server with nothing in its registry."""
    folder = tmp_path_factory.mktemp("mlflow")
    with mlflow_server(folder) as port, pytest.MonkeyPatch.context() as patch:
        url = f"http://127.0.0.1:{port}"
        patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        mlflow.set_tracking_uri(url)
        mlflow.set_experiment("model-api")
        yield url
        mlflow.set_tracking_uri("")


def register(name: str, model: Any, alias: str = "champion", *, signed: bool = True, columns: int = 4) -> str:
    """Fit a model to Iris, register it and move the alias to it; returns its version."""
    features, classes = load_iris(return_X_y=True, as_frame=True)
    features = features.iloc[:, :columns]
    model.fit(features, classes)
    signature = infer_signature(features, model.predict(features)) if signed else None
    with mlflow.start_run():
        info = mlflow.sklearn.log_model(
            model, name="model", signature=signature, input_example=features.head(2) if signed else None,
            registered_model_name=name, pip_requirements=[],
        )  # fmt: skip
    version = str(info.registered_model_version)
    MlflowClient().set_registered_model_alias(name, alias, version)
    return version


def break_model(name: str) -> str:
    """Register a version whose files are none, and move the alias to it."""
    client = MlflowClient()
    with mlflow.start_run() as run:
        mlflow.log_text("no model", "model/MLmodel")
    version = str(client.create_model_version(name, f"{run.info.artifact_uri}/model", run.info.run_id).version)
    client.set_registered_model_alias(name, "champion", version)
    return version


@dataclass
class Api:
    """The service, and how it is asked."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    session: requests.Session = field(default_factory=requests.Session)

    def get(self, path: str) -> requests.Response:
        return self.session.get(self.url + path, timeout=10)

    def predict(self, features: Any) -> requests.Response:
        return self.session.post(f"{self.url}/predict", json={"features": features}, timeout=10)

    def info(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("/model/info").json()
        return found

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels."""
        samples = [
            sample for family in text_string_to_metric_families(self.get("/metrics").text) for sample in family.samples
        ]
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


@contextlib.contextmanager
def service(folder: Path, tracking: str, name: str, *, awaited: str = "/ready", **settings: str) -> Iterator[Api]:
    """The service for the champion of a model, once it answers at the path that is awaited."""
    port = free_port()
    environment = {
        "PYTHONPATH": f"{ROOT}/images/model-server:{ROOT}/images/model-api", "MLFLOW_TRACKING_URI": tracking,
        "MODEL_API_MODEL_NAME": name, "MODEL_API_PORT": str(port), "MODEL_API_POLL_SECONDS": "1", **settings,
    }  # fmt: skip
    with python("-m", "model_api", log=folder / "log", **environment) as process:
        api = Api(f"http://127.0.0.1:{port}", process, folder / "log")
        until(lambda: api.get(awaited).ok)
        yield api


@pytest.fixture(scope="module")
def iris(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The service with a classifier of Iris."""
    register("iris", LogisticRegression(max_iter=500))
    limits = {"MODEL_API_MAX_ROWS": "200", "MODEL_API_MAX_BODY_BYTES": "20000"}
    with service(tmp_path_factory.mktemp("iris"), registry, "iris", **limits) as api:
        yield api


def test_predictions_are_those_of_the_model_itself(iris: Api) -> None:
    rows, _ = load_iris(return_X_y=True, as_frame=True)
    model = mlflow.sklearn.load_model("models:/iris@champion")
    answer = iris.predict(rows.to_numpy().tolist()).json()
    assert answer["predictions"] == model.predict(rows).tolist()
    assert np.allclose(answer["probabilities"], model.predict_proba(rows))
    assert answer["model"] == {"name": "iris", "version": iris.info()["model"]["version"]}
    assert 0 < answer["latency_ms"] < 10_000


def test_an_idle_connection_is_kept_for_the_proxy_that_uses_it_again(iris: Api) -> None:
    assert statuses_around_idling(int(iris.url.rpartition(":")[2]), "/health") == [200, 200]


def test_what_is_served_is_told(iris: Api) -> None:
    model = iris.info()["model"]
    version = MlflowClient().get_model_version_by_alias("iris", "champion")
    assert (model["name"], model["alias"], model["run_id"]) == ("iris", "champion", version.run_id)
    assert [column["name"] for column in model["inputs"]] == load_iris().feature_names
    assert model["classes"] == [0, 1, 2]
    assert iris.info()["failure"] is None
    assert iris.get("/health").json() == {"status": "alive", "ready": True, "reason": ""}


@pytest.mark.parametrize(
    ("features", "field", "message"),
    [
        ([[5.1, 3.5, "x", 0.2]], "features[0][2] (petal length (cm))", "'x' is no double"),
        ([ROW, [5.1, None, 1.4, 0.2]], "features[1][1] (sepal width (cm))", "None is no double"),
        ([[5.1, 3.5, True, 0.2]], "features[0][2] (petal length (cm))", "True is no double"),
        ([ROW, ROW[:3]], "features[1]", "petal width (cm) is missing"),
        ([[*ROW, 1.0]], "features[0]", "5 values; the model's signature has 4"),
        ([ROW] * 201, "features", "201 rows; allowed are 200"),
        ([], "features", "at least 1 item"),
        ([[]], "features[0]", "at least 1 item"),
        ([5.1], "features[0]", "valid list"),
        ("rows", "features", "valid list"),
    ],
)
def test_input_that_does_not_fit_is_refused_by_its_field(iris: Api, features: Any, field: str, message: str) -> None:
    answer = iris.predict(features)
    assert answer.status_code == 422
    (complaint,) = answer.json()["fields"]
    assert complaint["field"] == field
    assert message in complaint["message"]
    assert answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "field"),
    [(b"{", "body"), (b"[]", "body"), (b"{}", "features"), (b'{"features": [[5.1, 3.5, NaN, 0.2]]}', "features[0][2]")],
)
def test_a_body_that_is_no_request_is_refused(iris: Api, body: bytes, field: str) -> None:
    answer = requests.post(f"{iris.url}/predict", data=body, headers={"Content-Type": "application/json"}, timeout=10)
    assert answer.status_code == 422
    assert answer.json()["fields"][0]["field"].startswith(field)


def test_a_long_body_is_refused_before_it_is_read(iris: Api) -> None:
    answer = iris.predict([[1.0] * 4] * 2000)
    assert answer.status_code == 413
    assert "20000 bytes" in answer.json()["error"]
    pieces = (b" " * 5000 for _ in range(10))  # no Content-Length: it is found out on the way
    answer = requests.post(f"{iris.url}/predict", data=pieces, headers={"Content-Type": "application/json"}, timeout=10)
    assert answer.status_code == 413


def test_requests_and_predictions_are_counted(iris: Api) -> None:
    def counts() -> list[float]:
        return [
            iris.metric("model_api_requests_total", route="/predict", status="200"),
            iris.metric("model_api_requests_total", route="/predict", status="422"),
            iris.metric("model_api_request_seconds_count", route="/predict"),
            iris.metric("model_predictions_total", model="iris", prediction="0"),
            iris.metric("model_request_duration_seconds_count", model="iris", code="200"),
            iris.metric("model_input_values_total", model="iris", feature="petal width (cm)"),
            iris.metric("model_api_requests_total", route=OTHER, status="404"),
        ]

    before = counts()
    assert iris.predict([ROW, ROW]).json()["predictions"] == [0, 0]
    assert iris.predict([["x"]]).status_code == 422
    assert [iris.get(f"/nothing/{number}").status_code for number in range(3)] == [404] * 3
    assert [new - old for new, old in zip(counts(), before, strict=True)] == [1, 1, 2, 2, 1, 2, 3]
    assert iris.metric("model_api_model_info", model="iris", alias="champion") == 1
    assert iris.metric("model_api_model_current") == 1


def test_a_moved_alias_is_followed_without_a_dropped_request(iris: Api) -> None:
    old = iris.info()["model"]["version"]
    seen: list[tuple[int, str]] = []
    over = threading.Event()

    def ask() -> None:
        session = requests.Session()
        while not over.is_set():
            answer = session.post(f"{iris.url}/predict", json={"features": [ROW]}, timeout=10)
            seen.append((answer.status_code, answer.json()["model"]["version"]))

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for asker in askers:
        asker.start()
    try:
        new = register("iris", LogisticRegression(max_iter=400))
        until(lambda: iris.info()["model"]["version"] == new)
        until(lambda: seen[-1][1] == new)
    finally:
        over.set()
        for asker in askers:
            asker.join()
    assert {status for status, _ in seen} == {200}
    assert {version for _, version in seen} == {old, new}
    assert iris.metric("model_api_model_info", version=new) == 1
    assert iris.metric("model_api_model_info", version=old) == 0


def test_a_version_that_cannot_be_loaded_is_told_and_the_old_one_goes_on(iris: Api) -> None:
    old = iris.info()["model"]["version"]
    broken = break_model("iris")
    failure = until(lambda: iris.info()["failure"])
    assert failure["version"] == broken
    assert f"iris version {broken} cannot be loaded" in failure["reason"]
    assert f"iris version {broken} cannot be loaded" in iris.log.read_text()
    assert iris.metric("model_api_loads_total", result="failed") >= 1
    assert iris.metric("model_api_model_current") == 0
    assert iris.predict([ROW]).json()["model"]["version"] == old
    assert iris.get("/ready").ok
    MlflowClient().set_registered_model_alias("iris", "champion", old)
    until(lambda: iris.info()["failure"] is None)
    assert iris.metric("model_api_model_current") == 1


def test_the_check_sees_what_is_served(registry: str, iris: Api) -> None:
    def check(kind: type[Check], **fields: Any) -> tuple[object, object]:
        settings = {"name": "x", "model": "iris", "alias": "champion", "version": 0, "credentials": "", **fields}
        return kind(**settings).run(Access(cast("Any", None), cast("Any", None), ""))

    def proven() -> object:
        where = {"url": registry, "variable": "model_api_tracking_uri"}
        return check(ModelApiCheck, service=External(iris.url, ""), registry=where)[0]

    version = iris.info()["model"]["version"]
    assert re.match(rf"2 predictions of iris version {version} in \d+\.\d ms", str(proven()))
    served = External(registry, "")
    assert check(MlflowModelCheck, service=served)[0] == f"iris version {version}"
    with pytest.raises(CheckFailed, match=r"iris has no alias 'champoin'; did you mean champion.*: register it"):
        check(MlflowModelCheck, service=served, alias="champoin")
    with pytest.raises(CheckFailed, match=r"the model 'irsi' is not in the registry.*: register it"):
        check(MlflowModelCheck, service=served, model="irsi")
    broken = break_model("iris")
    try:
        until(lambda: iris.info()["failure"])
        with pytest.raises(CheckFailed, match=f"iris version {broken} cannot be loaded"):
            proven()
    finally:
        MlflowClient().set_registered_model_alias("iris", "champion", version)
        until(lambda: iris.info()["failure"] is None)
    assert proven()


def test_a_version_with_another_signature_is_served_by_its_own(registry: str, tmp_path: Path) -> None:
    register("petals", LogisticRegression(max_iter=500))
    with service(tmp_path, registry, "petals") as api:
        assert api.predict([ROW]).ok
        new = register("petals", LogisticRegression(max_iter=500), columns=2)
        until(lambda: api.info()["model"]["version"] == new)
        assert "4 values; the model's signature has 2" in api.predict([ROW]).json()["error"]
        assert api.predict([ROW[:2]]).ok


def test_a_model_without_signature_and_probabilities(registry: str, tmp_path: Path) -> None:
    register("length", LinearRegression(), signed=False)
    with service(tmp_path, registry, "length") as api:
        answer = api.predict([ROW])
        assert answer.json()["probabilities"] is None
        assert isinstance(answer.json()["predictions"][0], float)
        assert "expecting 4 features" in api.predict([ROW[:3]]).json()["error"]
        assert "the model has no signature" in api.predict([["x", 1, 2, 3]]).json()["error"]
        assert api.metric("model_predictions_total", prediction=NUMBER) == 1
        assert api.metric("model_prediction_value_bucket", le="+Inf") == 1


def test_more_than_may_wait_is_refused_at_once(registry: str, iris: Api, tmp_path: Path) -> None:
    assert iris
    with service(tmp_path, registry, "iris", MODEL_API_THREADS="1", MODEL_API_MAX_WAITING="1") as api:
        rows = [ROW] * 500
        with ThreadPoolExecutor(30) as pool:
            jobs = [pool.submit(requests.post, f"{api.url}/predict", json={"features": rows}, timeout=30)
                    for _ in range(60)]  # fmt: skip
            answers = [job.result() for job in jobs]
        assert {answer.status_code for answer in answers} == {200, 503}
        refused = next(answer for answer in answers if answer.status_code == 503)
        assert (refused.headers["Retry-After"], "1 requests wait already" in refused.text) == ("1", True)
        assert api.get("/ready").ok


def test_a_model_that_is_registered_later_is_waited_for(registry: str, tmp_path: Path) -> None:
    with service(tmp_path, registry, "later", awaited="/health") as api:
        reason = until(
            lambda: "cannot be found" in api.get("/ready").json()["error"] and api.get("/ready").json()["error"]
        )
        assert "models:/later@champion cannot be found" in reason
        assert "later" in reason.partition("RESOURCE_DOES_NOT_EXIST")[2]
        assert api.get("/ready").status_code == api.predict([ROW]).status_code == 503
        assert api.get("/health").json()["reason"] == reason
        register("later", LogisticRegression(max_iter=500))
        until(lambda: api.get("/ready").ok)
        assert api.predict([ROW]).ok


def test_a_registry_that_is_silent_is_asked_again(registry: str, tmp_path: Path) -> None:
    register("patient", LogisticRegression(max_iter=500))
    port = free_port()
    silent = f"http://127.0.0.1:{port}"
    with service(tmp_path, silent, "patient", awaited="/health", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0") as api:
        reason = until(
            lambda: "cannot be found" in api.get("/ready").json()["error"] and api.get("/ready").json()["error"]
        )
        assert "Connection refused" in reason
        with relay(port, int(registry.rpartition(":")[2])):
            until(lambda: api.get("/ready").ok)
        until(lambda: api.info()["failure"])
        assert api.predict([ROW]).ok


@contextlib.contextmanager
def relay(port: int, target: int) -> Iterator[None]:
    """A way from one port to another, until the end."""
    code = "import sys; from relay import main; main(int(sys.argv[1]), int(sys.argv[2]))"
    with python("-c", code, str(port), str(target), log=Path(os.devnull), PYTHONPATH=str(Path(__file__).parent)):
        yield


def test_what_is_under_way_is_answered_before_the_end(registry: str, tmp_path: Path) -> None:
    register("last", LogisticRegression(max_iter=500))
    with service(tmp_path, registry, "last") as api:
        body = json.dumps({"features": [ROW]})
        connection = http.client.HTTPConnection(api.url.removeprefix("http://"), timeout=10)
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body[:10].encode())
        time.sleep(0.3)  # the server has begun to read
        api.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        connection.send(body[10:].encode())
        assert json.loads(connection.getresponse().read())["predictions"] == [0]
        connection.close()
        assert api.process.wait(10) in {0, -signal.SIGTERM}
