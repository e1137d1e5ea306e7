"""A release as its user runs it, and as somebody who kills it; which version answers is asked from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
import urllib3
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster
from mlflow import MlflowClient
from mlflow.models import infer_signature
from mlflow.pyfunc.model import PythonModel
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

ROOT = Path(__file__).resolve().parents[3]
PLAYBOOK = Path(sys.prefix) / "bin" / "ansible-playbook"
MODEL, NAMESPACE = "release-test", "models"
QUICK = {"release_steps": [50, 100], "release_requests": 60}
ANNOTATION = "mlops.platform/release"
RUN_SECONDS = 300
Secret = Callable[[str], dict[str, str]]
Ask = Callable[[int], Counter[str]]


def skewed(model: Any) -> Any:
    """A model that predicts otherwise where it is served, as with a library of another version."""

    class Skewed(PythonModel):  # in here, so that it is stored with the model
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            predicted = model.predict(model_input)
            return 2 - predicted if "MLSERVER_MODEL_NAME" in os.environ else predicted

    return Skewed()


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of the playbooks, whose reports are not those of the scenario."""
    reports = tmp_path_factory.mktemp("reports")
    return {**os.environ, "MLOPS_PLATFORM_REPORTS": str(reports), "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}


def command(playbook: str, **variables: object) -> list[str]:
    inventory = ROOT / "molecule" / "inventory"
    given = json.dumps({"model": MODEL, **variables})
    return [str(PLAYBOOK), str(ROOT / "playbooks" / f"{playbook}.yml"), "-i", str(inventory), "-e", given]


def run(environment: dict[str, str], playbook: str, **variables: object) -> tuple[int, str]:
    """The exit status of a playbook for the model, and what it printed, in one line."""
    done = subprocess.run(
        command(playbook, **variables),
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.fixture(scope="module")
def versions(address: str, variables: dict[str, Any], secret: Secret) -> Iterator[dict[str, str]]:
    """Registered versions of a model, by what they are."""
    url, values = f"http://{address}:{variables['mlflow_node_port']}", secret("mlflow-service")
    features, classes = load_iris(return_X_y=True, as_frame=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MLFLOW_TRACKING_USERNAME", values["username"])
        patched.setenv("MLFLOW_TRACKING_PASSWORD", values["password"])
        patched.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        mlflow.set_tracking_uri(url)
        client, experiment = MlflowClient(), mlflow.set_experiment(MODEL)
        made = {}
        for name, strength in (("present", 1.0), ("better", 0.5), ("skewed", 0.5)):
            model = LogisticRegression(C=strength, max_iter=500).fit(features, classes)
            common: dict[str, Any] = {
                "name": "model",
                "registered_model_name": MODEL,
                "input_example": features.iloc[::25],
                "signature": infer_signature(features, model.predict(features)),
                "pip_requirements": ["mlflow", "scikit-learn"],
            }
            with mlflow.start_run(run_name=name):
                if name == "skewed":
                    info = mlflow.pyfunc.log_model(python_model=skewed(model), **common)
                else:
                    info = mlflow.sklearn.log_model(model, **common)
            made[name] = str(info.registered_model_version)
        client.set_registered_model_alias(MODEL, "champion", made["present"])
        yield made
        client.delete_registered_model(MODEL)
        client.delete_experiment(experiment.experiment_id)


@pytest.fixture(scope="module")
def served(versions: dict[str, str], environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """The same, once the present version is served."""
    status, printed = run(environment, "deploy-model")
    assert status == 0, printed
    yield versions
    status, printed = run(environment, "undeploy-model")
    assert status == 0, printed


@pytest.fixture(scope="module")
def ask(address: str, variables: dict[str, Any]) -> Iterator[Ask]:
    """Send requests to the edge by TLS, and count the answers by the version that gave them."""
    host = f"{MODEL}.mlops.internal"
    authority = str(Path(os.environ["MLOPS_PLATFORM_REPORTS"]) / "latest" / "platform-ca.crt")
    body = {
        "parameters": {"content_type": "pd"},
        "inputs": [
            {"name": name, "shape": [1, 1], "datatype": "FP64", "data": [value]}
            for name, value in zip(load_iris().feature_names, (5.1, 3.5, 1.4, 0.2), strict=True)
        ],
    }
    port = variables["gateway_https_node_port"]
    pool = urllib3.HTTPSConnectionPool(
        address, port, server_hostname=host, assert_hostname=host, ca_certs=authority, retries=False
    )

    def count(requests: int) -> Counter[str]:
        found: Counter[str] = Counter()
        for _ in range(requests):
            answer = pool.request("POST", f"/v2/models/{MODEL}/infer", json=body, headers={"Host": host}, timeout=60)
            assert answer.status == 200, answer.data
            assert answer.json()["outputs"][0]["data"] == [0]  # a setosa, for every good version
            found[answer.json()["model_version"]] += 1
        return found

    with pool:
        yield count


def state(cluster: Cluster) -> dict[str, Any]:
    """The release that the InferenceService says is under way; empty where none is."""
    service = cluster.get("serving.kserve.io/v1beta1", "InferenceService", MODEL, NAMESPACE)
    assert service
    found: dict[str, Any] = json.loads(service["metadata"]["annotations"].get(ANNOTATION, "{}"))
    return found


def test_the_next_run_finishes_a_release_that_was_killed(
    served: dict[str, str], environment: dict[str, str], cluster: Cluster, ask: Ask
) -> None:
    assert ask(20) == {served["present"]: 20}
    wanted = {"version": served["better"], **QUICK}
    process = subprocess.Popen(
        command("release-model", **wanted), cwd=ROOT, env=environment, start_new_session=True, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + RUN_SECONDS
    while state(cluster).get("percent") != 50:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    status, printed = run(environment, "deploy-model")
    assert status != 0
    assert "a release of the model release-test is under way" in printed

    status, printed = run(environment, "release-model", **wanted)
    assert status == 0, printed
    assert "goes on with the release" in printed
    assert f"alias champion still leads to version {served['present']}" in printed
    assert state(cluster) == {}
    assert ask(60) == {served["better"]: 60}


def test_a_version_that_predicts_otherwise_where_it_is_served_is_taken_back(
    served: dict[str, str], environment: dict[str, str], cluster: Cluster, ask: Ask
) -> None:
    before = ask(60)
    status, printed = run(environment, "release-model", version=served["skewed"], **QUICK)
    assert status != 0
    assert (
        f"version {served['skewed']} of the model {MODEL} was not released: version {served['skewed']} at 0 %"
        in printed
    )
    assert "check predictions: 20 of 20 answers are not what their version predicts" in printed
    assert state(cluster) == {}
    assert ask(60) == before
