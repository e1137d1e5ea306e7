"""Experiments as their user runs them, with real requests: one that is slow, one that is equal, one that is better."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import mlflow
import numpy as np
import pytest
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster
from mlflow import MlflowClient
from mlflow.models import infer_signature
from mlflow.pyfunc.model import PythonModel
from served_model import ServedModel, begin_experiment, registry
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

MODEL = "experiment-test"
QUICK = {
    "release_steps": [50, 100],
    "release_requests": 60,
    # Only what is slow on purpose is slow by it, however busy the machine is.
    "release_latency_allowed_ms": 2500,
    "experiment_alpha": 0.2,
    "experiment_rate": 20.0,
    "experiment_seconds": 18,
    "experiment_error_margin": 0.1,
    "experiment_feedback_margin": 0.1,
}
SLEEPS = 1.2
# So seldom that a model that sleeps keeps up with its requests: it is slow, not overrun. The champion is measured for
# so long that a busy moment is not taken for its speed; SLEEPS is beyond the histogram's bound of 1 s.
SLOW = {
    "release_requests": 300,
    "release_latency_allowed_ms": 250,
    "release_latency_ratio": 1.0,
    "experiment_alpha": 0.5,
    "experiment_rate": 1.25,
    "experiment_seconds": 104,
}
Secret = Callable[[str], dict[str, str]]
Ask = Callable[[int], Counter[str]]


def played(model: Any, seconds: float, classes: int) -> Any:
    """A model that knows some of the classes, and that takes its time where it is served."""

    class Played(PythonModel):  # in here, so that it is stored with the model
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            if seconds and "MLSERVER_MODEL_NAME" in os.environ:
                time.sleep(seconds)
            return np.minimum(model.predict(model_input), classes - 1)

    return Played()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    """The model that is experimented with, with one pod a version: none ends and takes along what it has counted."""
    return ServedModel(MODEL, tmp_path_factory.mktemp("reports"), {"kserve_max_replicas": 1})


@pytest.fixture(scope="module")
def client(address: str, variables: dict[str, Any], secret: Secret) -> Iterator[MlflowClient]:
    """The platform's MLflow, without what the tests left there."""
    with registry(address, variables["mlflow_node_port"], secret("mlflow-service")) as found:
        yield found
        found.delete_registered_model(MODEL)
        for name in (MODEL, f"{MODEL}-experiments"):
            experiment = found.get_experiment_by_name(name)
            if experiment and experiment.lifecycle_stage == "active":
                found.delete_experiment(experiment.experiment_id)


@pytest.fixture(scope="module")
def served(client: MlflowClient, model: ServedModel) -> Iterator[dict[str, str]]:
    """The versions of the model by what they are, once the champion is served; it knows two of three classes."""
    features, classes = load_iris(return_X_y=True, as_frame=True)
    trained = LogisticRegression(max_iter=500).fit(features, classes)
    begin_experiment(client, MODEL)
    made = {}
    for name, seconds, known in (("champion", 0.0, 2), ("slow", SLEEPS, 2), ("equal", 0.0, 2), ("better", 0.0, 3)):
        with mlflow.start_run(run_name=name):
            rows = {"columns": features.columns.tolist(), "data": features.iloc[::5].to_numpy().tolist()}
            mlflow.log_dict({"rows": rows, "labels": classes.iloc[::5].tolist()}, "held_out.json")
            info = mlflow.pyfunc.log_model(
                name="model",
                python_model=played(trained, seconds, known),
                registered_model_name=MODEL,
                signature=infer_signature(features, trained.predict(features)),
                pip_requirements=["mlflow", "scikit-learn"],
            )
        made[name] = str(info.registered_model_version)
        client.set_registered_model_alias(MODEL, name, made[name])
    with model.served():
        yield made


@pytest.fixture(scope="module")
def ask(address: str, variables: dict[str, Any], model: ServedModel) -> Ask:
    """Send requests to the edge, and count the answers by the version that gave them."""
    return lambda requests: model.answers(address, variables["gateway_https_node_port"], requests)


def compared(model: ServedModel, candidate: str, **variables: object) -> dict[str, Any]:
    """What an experiment came to, by its report."""
    status, printed = model.run("experiment-model", candidate=candidate, **{**QUICK, **variables})
    assert status == 0, printed
    report = model.report()
    assert (report["verb"], report["status"]) == ("experiment-model", "healthy")
    (found,) = report["experiments"]
    assert found["plot"].startswith("<svg")
    return dict(found)


def recorded(client: MlflowClient, found: dict[str, Any]) -> None:
    """The decision is on record, with the versions and the numbers that the report has."""
    run = client.get_run(found["record"]["run_id"])
    assert (run.info.status, run.data.tags["decision"]) == ("FINISHED", found["outcome"])
    assert run.data.params["candidate_version"] == found["candidate"]["version"]
    assert run.data.params["champion_version"] == found["champion"]["version"]
    for measure in found["measures"]:
        name = measure["name"].replace(" ", "_")
        assert run.data.metrics[f"{name}_difference"] == pytest.approx(measure["difference"])
    assert {item.path for item in client.list_artifacts(run.info.run_id)} == {"decision.json", "comparison.svg"}


def verdicts(found: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item["verdict"] for item in found["measures"]}


def test_equal_versions_are_undecided_and_the_champion_stays(
    served: dict[str, str], model: ServedModel, cluster: Cluster, ask: Ask, client: MlflowClient
) -> None:
    # Chance takes equal versions for different ones with the probability alpha: hardly ever in a test.
    found = compared(model, "equal", experiment_alpha=0.001, experiment_seconds=30)
    assert found["outcome"] == "undecided", found["reason"]
    assert found["needed"] > found["requests"]
    assert (found["champion"]["version"], found["candidate"]["version"]) == (served["champion"], served["equal"])
    feedback = found["measures"][-1]
    assert feedback["champion"]["total"] + feedback["candidate"]["total"] == found["requests"]
    recorded(client, found)
    assert model.state(cluster) == {}
    assert ask(60) == {served["champion"]: 60}


def test_a_candidate_that_is_slow_is_rejected(
    served: dict[str, str], model: ServedModel, cluster: Cluster, ask: Ask, client: MlflowClient
) -> None:
    found = compared(model, served["slow"], **SLOW)
    assert found["outcome"] == "reject", found["reason"]
    measured = f"limit {found['limit_seconds']} s, bound {found['bound_seconds']} s: {found['measures']}"
    assert verdicts(found)["latency"] == verdicts(found)["client latency"] == "worse", measured
    assert found["candidate"]["p95_seconds"] > 1.0
    recorded(client, found)
    assert model.state(cluster) == {}
    assert ask(60) == {served["champion"]: 60}
    assert client.get_model_version_by_alias(MODEL, "champion").version == served["champion"]


def test_a_candidate_that_predicts_better_is_promoted_by_the_run_after_one_that_was_killed(
    served: dict[str, str], model: ServedModel, cluster: Cluster, ask: Ask, client: MlflowClient
) -> None:
    model.killed(cluster, 50, "experiment-model", candidate="better", **QUICK)

    found = compared(model, "better")
    assert found["outcome"] == "promote", found["reason"]
    assert verdicts(found)["feedback"] == "better"
    assert found["look"] == 1  # nobody has seen what the killed run measured
    recorded(client, found)
    assert model.state(cluster) == {}
    assert ask(60) == {served["better"]: 60}
    assert client.get_model_version_by_alias(MODEL, "champion").version == served["better"]

    status, printed = model.run("experiment-model", candidate="better", **QUICK)
    assert status != 0
    assert f"the alias better is version {served['better']} of the model {MODEL}, which is served already" in printed
