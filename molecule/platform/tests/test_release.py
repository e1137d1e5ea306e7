"""A release as its user runs it, and as somebody who kills it; which version answers is asked from outside."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import mlflow
import pytest
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster
from mlflow.models import infer_signature
from mlflow.pyfunc.model import PythonModel
from served_model import NAMESPACE, ServedModel, begin_experiment, registry
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

MODEL = "release-test"
QUICK = {"release_steps": [50, 100], "release_requests": 60}
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
def model(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    """The model that is released."""
    return ServedModel(MODEL, tmp_path_factory.mktemp("reports"))


@pytest.fixture(scope="module")
def versions(address: str, variables: dict[str, Any], secret: Secret) -> Iterator[dict[str, str]]:
    """Registered versions of a model, by what they are."""
    features, classes = load_iris(return_X_y=True, as_frame=True)
    with registry(address, variables["mlflow_node_port"], secret("mlflow-service")) as client:
        experiment, made = begin_experiment(client, MODEL), {}
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
        client.delete_experiment(experiment)


@pytest.fixture(scope="module")
def served(versions: dict[str, str], model: ServedModel) -> Iterator[dict[str, str]]:
    """The same, once the present version is served."""
    with model.served():
        yield versions


@pytest.fixture(scope="module")
def ask(address: str, variables: dict[str, Any], model: ServedModel) -> Ask:
    """Send requests to the edge, and count the answers by the version that gave them."""
    return lambda requests: model.answers(address, variables["gateway_https_node_port"], requests)


def test_the_next_run_finishes_a_release_that_was_killed(
    served: dict[str, str], model: ServedModel, cluster: Cluster, ask: Ask
) -> None:
    assert ask(20) == {served["present"]: 20}
    wanted = {"version": served["better"], **QUICK}
    model.killed(cluster, 50, "release-model", **wanted)
    status, printed = model.run("deploy-model")
    assert status != 0
    assert "a release of the model release-test is under way" in printed

    status, printed = model.run("release-model", **wanted)
    assert status == 0, printed
    assert "goes on with the release" in printed
    assert f"alias champion still leads to version {served['present']}" in printed
    assert model.state(cluster) == {}
    assert ask(60) == {served["better"]: 60}


def test_a_version_that_predicts_otherwise_where_it_is_served_is_taken_back(
    served: dict[str, str], model: ServedModel, cluster: Cluster, ask: Ask
) -> None:
    before = ask(60)
    status, printed = model.run("release-model", version=served["skewed"], **QUICK)
    assert status != 0
    assert (
        f"version {served['skewed']} of the model {MODEL} was not released: version {served['skewed']} at 0 %"
        in printed
    )
    assert "check predictions: 20 of 20 answers are not what their version predicts" in printed
    assert model.state(cluster) == {}
    assert ask(60) == before


def test_a_model_gets_a_gpu_or_says_who_holds_them(
    served: dict[str, str], model: ServedModel, cluster: Cluster, ask: Ask
) -> None:
    status, printed = model.run("deploy-model", gpu=True)
    assert status == 0, printed
    pods = cluster.list("v1", "Pod", NAMESPACE, f"serving.kserve.io/inferenceservice={MODEL}")
    limits = {pod["metadata"]["name"]: pod["spec"]["containers"][0]["resources"]["limits"] for pod in pods}
    (holder,) = [pod for pod in pods if limits[pod["metadata"]["name"]].get("nvidia.com/gpu") == "1"]
    assert holder["spec"]["nodeSelector"]["workload-type"] == "inference"
    assert "nvidia.com/gpu" in {item.get("key") for item in holder["spec"]["tolerations"]}
    assert ask(20) == {served["present"]: 20}

    status, printed = model.run("deploy-model", gpu=True, min_replicas=3, max_replicas=3)
    assert status != 0
    said = "it needs 3 times 1 nvidia.com/gpu; 1 of 2 are free on node1, held by"
    assert f"{MODEL} was not deployed, nothing was touched: {said} {NAMESPACE}/{holder['metadata']['name']}" in printed
    assert ask(20) == {served["present"]: 20}
