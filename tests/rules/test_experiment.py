"""Experiments with a real Prometheus and a real MLflow server; one program plays the two versions behind the edge."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
import requests
from ansible_collections.mlops.platform.plugins.module_utils import events
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import LOOPBACK, Access, Service
from ansible_collections.mlops.platform.plugins.module_utils.checks.inference import InferenceCheck
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.experiments.decision import Demand
from ansible_collections.mlops.platform.plugins.module_utils.experiments.gate import Experiment
from ansible_collections.mlops.platform.plugins.module_utils.experiments.settings import Settings
from ansible_collections.mlops.platform.plugins.module_utils.models import inference_service
from ansible_collections.mlops.platform.plugins.module_utils.models.deploy import Record
from ansible_collections.mlops.platform.plugins.module_utils.models.inference_service import Serving
from ansible_collections.mlops.platform.plugins.module_utils.models.lifecycle import Model
from ansible_collections.mlops.platform.plugins.module_utils.models.predict import Reference
from ansible_collections.mlops.platform.plugins.module_utils.models.registry import ModelVersion
from ansible_collections.mlops.platform.plugins.module_utils.models.release import Release, Rules, StepFailed
from ansible_collections.mlops.platform.plugins.module_utils.models.releasing import Versions
from mlflow import MlflowClient
from mlflow.entities import Run
from programs import ROOT, load_program
from running import free_port, mlflow_server, program, prometheus_server, until

ROWS = 200
PLAYED = ROOT / "tests" / "rules" / "two_versions.py"
two_versions = load_program("tests/rules/two_versions.py")
CHAMPION, CANDIDATE = "1", "2"
SETTINGS = Settings(rate=50.0, seconds=14.0, alpha=0.001, error_margin=0.1, feedback_margin=0.1)
"""Many requests in a short time, of which chance makes a wrong decision only once in a thousand runs."""
RULES = Rules(steps=(50, 100), latency_allowed_ms=9000, timeout_seconds=60)
"""Nothing is slow by them, however busy the machine is."""
SLOW = replace(RULES, latency_allowed_ms=2500)
"""Only what is slow on purpose is slow by them."""
GOOD = {"share": 0.5, "right": 0.8, "errors": 0.0, "seconds": 0.002}


@dataclass
class Ports:
    """In place of ports that are forwarded to a cluster: those of programs of this machine, by the Service's name."""

    known: Mapping[str, int]

    def port(self, namespace: str, name: str, port: int) -> int:
        return self.known[name]

    def trouble(self, namespace: str, name: str, port: int) -> None:
        return None


class Secrets:
    """In place of a cluster: the login of a server that asks for none."""

    def secret(self, name: str, namespace: str) -> dict[str, str]:
        return {"username": "", "password": ""}


@pytest.fixture(scope="module")
def mlflow_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """An MLflow server."""
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as port:
        yield port


@dataclass
class Platform:
    """Where the programs answer, and what a run has said."""

    ports: dict[str, int]
    access: Access
    said: list[str] = field(default_factory=list)

    def experiment(
        self, model: str, demand: Demand = "better", settings: Settings = SETTINGS, rules: Rules = RULES
    ) -> Experiment:
        asked = Model(
            cluster=cast(Any, self.access.cluster),
            record=Record(inference_service.Settings(model)),
            serving=Serving(),
            mlflow=MLFLOW,
            own_server=True,
            authorities="",
            directory=None,
            say=self.said.append,
        )
        prometheus = {"name": "prometheus", "port": 9090, "namespace": "monitoring"}
        return Experiment(asked, settings, rules, prometheus, demand)

    def runs(self, model: str) -> list[Run]:
        """What MLflow has on record, newest first."""
        client = MlflowClient(f"http://{LOOPBACK}:{self.ports['mlflow']}")
        found = client.get_experiment_by_name(f"{model}-experiments")
        return list(client.search_runs([found.experiment_id])) if found else []


MLFLOW = {
    "service": {"name": "mlflow", "port": 5000, "namespace": "mlflow"},
    "credentials": "mlflow/mlflow-service",
    "artifact_root": "s3://mlflow",
}


@contextlib.contextmanager
def platform(
    folder: Path, mlflow: int, model: str, candidate: Mapping[str, float], *, scraped: bool = True
) -> Iterator[Platform]:
    """A Prometheus that scrapes a champion and a candidate each half second."""
    ports = {"mlflow": mlflow, "prometheus": free_port(), "model": free_port()}
    target = {"targets": [f"{LOOPBACK}:{ports['model']}"], "labels": {"namespace": "models", "component": "models"}}
    job = {"job_name": "models", "honor_labels": True, "static_configs": [target]}
    jobs = [job] if scraped else []
    played = json.dumps({CHAMPION: GOOD, CANDIDATE: {**GOOD, **candidate}})
    with (
        program(sys.executable, str(PLAYED), str(ports["model"]), model, played, log=folder / "model.log"),
        prometheus_server(folder, ports["prometheus"], *jobs, interval="500ms"),
    ):
        until(lambda: requests.get(f"http://{LOOPBACK}:{ports['model']}/metrics", timeout=5).ok)
        yield Platform(ports, Access(cast(Any, Secrets()), cast(Any, Ports(ports)), "models"))


def versions(model: str, candidate: float, *, labelled: bool = True) -> Versions:
    """What both versions predict themselves, as the program does."""

    def own(right: float) -> Reference:
        rows = list(range(ROWS))
        column = {"name": "row", "shape": [ROWS, 1], "datatype": "INT64", "data": rows}
        data = [two_versions.predicted(row, right) for row in rows]
        output = {"name": "output-1", "shape": [ROWS], "datatype": "INT64", "data": data}
        request = {"parameters": {"content_type": "pd"}, "inputs": [column]}
        known = [two_versions.label(row) for row in rows] if labelled else []
        return Reference(request, [output], ROWS, "held_out.json of the run", known)

    def known(number: str) -> ModelVersion:
        return ModelVersion(model, number, "", f"run-{number}", "", "s3://", "", {}, None, "", {})

    predicted = {CHAMPION: own(GOOD["right"]), CANDIDATE: own(candidate)}
    return Versions({number: known(number) for number in predicted}, predicted, [])


STATE = Release(CHAMPION, "iris-predictor-00001", CANDIDATE, percent=50, baseline_seconds=0.01)


@contextlib.contextmanager
def opened(found: Platform, gate: Experiment, model: str, known: Versions) -> Iterator[None]:
    """A gate that is ready."""
    check = InferenceCheck("infers", Service("model", 80), model, model, model, CHAMPION, MLFLOW)
    with gate.opened(found.access, known, CHAMPION, CANDIDATE, check):
        yield


def decided(found: Platform, model: str, right: float, rules: Rules = RULES) -> dict[str, Any]:
    """What an experiment decides; a release goes on only where the candidate is promoted."""
    gate, problem = found.experiment(model, rules=rules), ""
    with opened(found, gate, model, versions(model, right)):
        try:
            gate.prove(STATE)
        except StepFailed as error:
            problem = str(error)
    assert gate.document, problem
    expected = f"version 2 at 50 %: {gate.document['outcome']}: {gate.document['reason']}"
    assert problem == ("" if gate.document["outcome"] == "promote" else expected)
    return gate.document


def verdicts(document: Mapping[str, Any]) -> dict[str, str]:
    return {item["name"]: item["verdict"] for item in document["measures"]}


def test_a_candidate_that_fails_is_rejected_on_record(
    tmp_path: Path, mlflow_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened = tmp_path / "events"
    happened.touch()
    monkeypatch.setenv(events.VARIABLE, str(happened))
    with platform(tmp_path, mlflow_port, "failing", {"errors": 0.3}) as found:
        document = decided(found, "failing", GOOD["right"])
        assert document["outcome"] == "reject"
        assert verdicts(document)["errors"] == "worse"
        errors = next(item for item in document["measures"] if item["name"] == "errors")
        # What Prometheus has counted is what was sent, to the last request.
        assert errors["champion"]["total"] + errors["candidate"]["total"] == document["requests"]
        assert (errors["champion"]["bad"], document["lost"]) == (0, 0)
        assert 0.2 < errors["candidate"]["share"] < 0.4

        (run,) = found.runs("failing")
        assert (run.data.tags["decision"], run.info.status) == ("reject", "FINISHED")
        assert (run.data.params["champion_version"], run.data.params["candidate_version"]) == (CHAMPION, CANDIDATE)
        assert run.data.metrics["errors_difference"] == pytest.approx(errors["difference"])
        client = MlflowClient(f"http://{LOOPBACK}:{mlflow_port}")
        kept = json.loads(Path(client.download_artifacts(run.info.run_id, "decision.json", str(tmp_path))).read_text())
        assert kept["measures"] == document["measures"]
        picture = Path(client.download_artifacts(run.info.run_id, "comparison.svg", str(tmp_path))).read_text()
        assert "plot" not in document  # which Ansible prints with -v
        told = [event["plot"] for event in events.read(happened)[0] if event.get("run_id") == run.info.run_id]
        assert told == [picture]
        assert "failing: version 2 against version 1: reject" in picture

        again = decided(found, "failing", GOOD["right"])
        assert again["look"] == 2
        assert again["confidence"] > document["confidence"]
        assert len(found.runs("failing")) == 2


def test_a_candidate_that_is_slow_is_rejected(tmp_path: Path, mlflow_port: int) -> None:
    with platform(tmp_path, mlflow_port, "slow", {"seconds": 3.0}) as found:
        document = decided(found, "slow", GOOD["right"], SLOW)
    assert document["outcome"] == "reject"
    assert verdicts(document)["latency"] == verdicts(document)["client latency"] == "worse"
    assert document["bound_seconds"] == document["limit_seconds"] == 2.5
    assert 2.5 < document["candidate"]["p95_seconds"] <= 5
    assert document["champion"]["p95_seconds"] < 2.5
    assert document["candidate"]["client_p95_seconds"] > 3


def test_a_candidate_that_predicts_better_is_promoted(tmp_path: Path, mlflow_port: int) -> None:
    with platform(tmp_path, mlflow_port, "better", {"right": 1.0}) as found:
        document = decided(found, "better", 1.0)
    assert document["outcome"] == "promote", document["reason"]
    assert verdicts(document)["feedback"] == "better"
    assert set(verdicts(document).values()) == {"no worse", "better"}
    assert document["needed"] == 0


def test_equal_versions_are_undecided_and_let_a_release_pass(tmp_path: Path, mlflow_port: int) -> None:
    with platform(tmp_path, mlflow_port, "equal", {}) as found:
        document = decided(found, "equal", GOOD["right"])
        assert document["outcome"] == "undecided"
        assert document["needed"] > document["requests"]
        assert f"{document['needed']} requests in all would tell" in document["reason"]
        gate = found.experiment("equal", "no worse", replace(SETTINGS, feedback_margin=0.4))
        with opened(found, gate, "equal", versions("equal", GOOD["right"])):
            gate.prove(STATE)
        assert gate.document
        assert gate.document["outcome"] == "promote"


def test_what_cannot_be_decided_is_refused_before_anything_is_sent(tmp_path: Path, mlflow_port: int) -> None:
    with platform(tmp_path, mlflow_port, "refused", {}) as found:

        def refused(gate: Experiment, known: Versions) -> str:
            with pytest.raises(PlatformError) as caught, opened(found, gate, "refused", known):
                raise AssertionError
            return str(caught.value)

        known = versions("refused", GOOD["right"])
        said = refused(found.experiment("refused"), versions("refused", GOOD["right"], labelled=False))
        assert "the rows of the model refused (held_out.json of the run) have no labels" in said
        said = refused(found.experiment("refused", settings=replace(SETTINGS, seconds=1.0)), known)
        assert "experiment_rate 50 and experiment_seconds 1 make 50 requests" in said
        said = refused(found.experiment("refused"), replace(known, broken=["the input a is gone"]))
        assert "versions 1 and 2 of the model refused cannot be compared" in said
        found.ports["prometheus"] = free_port()
        said = refused(found.experiment("refused"), known)
        assert "Prometheus (prometheus:9090), which an experiment asks, does not answer" in said
        assert found.runs("refused") == []


def test_a_prometheus_that_does_not_count_decides_nothing(tmp_path: Path, mlflow_port: int) -> None:
    """Its models are not scraped: nobody is promoted, nothing is on record."""
    with platform(tmp_path, mlflow_port, "unseen", {"right": 1.0}, scraped=False) as found:
        gate = found.experiment("unseen", rules=replace(RULES, timeout_seconds=3))
        with (
            opened(found, gate, "unseen", versions("unseen", 1.0)),
            pytest.raises(StepFailed, match="came to no decision: before the requests: after 3 s the pods of version"),
        ):
            gate.prove(STATE)
        assert gate.document is None
        assert found.runs("unseen") == []
