"""When an InferenceService counts as served, and what its state says until then."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.manifests import SPEC_HASH
from ansible_collections.mlops.platform.plugins.module_utils.rollout import State, has_crashed, pod_problem, served


def condition(kind: str, status: str, reason: str = "", message: str = "") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


READY = (condition("PredictorReady", "True"), condition("IngressReady", "True"), condition("Ready", "True"))


def service(*conditions: dict[str, str], **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
        "metadata": {"name": "iris", "namespace": "models", "annotations": {SPEC_HASH: "new"}},
        "status": {"conditions": list(conditions), **status},
    }  # fmt: skip


def knative(*conditions: dict[str, str], hashed: str = "new", ready: str = "iris-2", seen: int = 2) -> dict[str, Any]:
    return {
        "kind": "Service",
        "metadata": {"name": "iris-predictor", "generation": 2},
        "spec": {"template": {"metadata": {"annotations": {SPEC_HASH: hashed}}}},
        "status": {
            "observedGeneration": seen, "conditions": list(conditions),
            "latestCreatedRevisionName": "iris-2", "latestReadyRevisionName": ready,
        },
    }  # fmt: skip


def deployment(available: int) -> dict[str, Any]:
    return {
        "kind": "Deployment",
        "metadata": {"name": "iris-predictor", "generation": 1},
        "spec": {"replicas": 1, "template": {"metadata": {"annotations": {SPEC_HASH: "new"}}}},
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": available},
    }


TARGET = "InferenceService models/iris"
WAITING = "KServe has not seen the change yet"
FAILED = "Revision iris-2 failed: exit code 1"


@pytest.mark.parametrize(
    ("found", "made", "expected"),
    [
        (service(*READY), knative(condition("Ready", "True")),
         State(TARGET, True, "Service iris-predictor is ready")),
        (service(*READY), deployment(1), State(TARGET, True, "Deployment iris-predictor is ready")),
        (service(), None, State(TARGET, False, WAITING)),
        # What is ready is what was before the change.
        (service(*READY), knative(condition("Ready", "True"), hashed="old"), State(TARGET, False, WAITING)),
        (service(*READY), knative(condition("Ready", "True"), seen=1),
         State(TARGET, False, "revision iris-2 is not ready")),
        (service(*READY), knative(condition("Ready", "True"), ready="iris-1"),
         State(TARGET, False, "revision iris-2 is not ready")),
        (service(*READY), deployment(0), State(TARGET, False, "0 of 1 available, 1 updated")),
        (service(condition("Ready", "Unknown")), knative(condition("Ready", "Unknown")),
         State(TARGET, False, "revision iris-2 is not ready")),
    ],
)  # fmt: skip
def test_it_is_served_when_its_newest_revision_is(found: Any, made: Any, expected: State) -> None:
    assert served(found, made) == expected


INVALID = {
    "transitionStatus": "InvalidSpec",
    "lastFailureInfo": {"reason": "NoSupportingRuntime", "message": "No runtime found to support it"},
}


@pytest.mark.parametrize(
    ("found", "made", "suspicion"),
    [
        (service(modelStatus=INVALID), None, "NoSupportingRuntime: No runtime found to support it"),
        (service(condition("PredictorReady", "False", "ReconcileFailed", "admission webhook denied it")), None,
         "admission webhook denied it"),
        (service(), knative(condition("ConfigurationsReady", "False", "RevisionFailed", FAILED)), FAILED),
        (service(condition("IngressReady", "False", "NoIngress", "no such class")),
         knative(condition("Ready", "True")), "NoIngress: no such class"),
    ],
)  # fmt: skip
def test_what_stays_wrong_is_final(found: Any, made: Any, suspicion: str) -> None:
    state = served(found, made)
    assert (state.ready, state.failure, state.suspicion) == (False, None, suspicion)


@pytest.mark.parametrize(("labels", "final"), [({}, False), ({"serving.kserve.io/inferenceservice": "iris"}, True)])
def test_a_model_that_crashed_twice_will_crash_again(labels: dict[str, str], final: bool) -> None:
    state = {
        "name": "storage-initializer", "restartCount": 1, "ready": False,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 1}},
    }  # fmt: skip
    found = pod_problem({"metadata": {"name": "iris", "labels": labels}, "status": {"initContainerStatuses": [state]}})
    assert found is not None
    assert found.final == final


@pytest.mark.parametrize(
    ("state", "last", "crashed"),
    [
        ({"running": {}}, {}, False),
        ({"terminated": {"exitCode": 0}}, {}, False),
        ({"terminated": {"exitCode": 1}}, {}, True),
        ({"running": {}}, {"terminated": {"exitCode": 1}}, True),
        ({"waiting": {"reason": "CrashLoopBackOff"}}, {"terminated": {"exitCode": 137}}, True),
    ],
)
def test_a_container_that_ended_with_an_error_has_crashed(
    state: dict[str, Any], last: dict[str, Any], crashed: bool
) -> None:
    status = {"name": "main", "state": state, "lastState": last}
    assert has_crashed({"status": {"containerStatuses": [status]}}) == crashed
