"""Whether workloads have become what they must be, told from what the API server says of them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.rollout import (
    CRASHES_UNTIL_FINAL,
    Problem,
    State,
    current_pods,
    is_deserted,
    pod_problem,
    state,
)


def condition(kind: str, status: str = "True", **fields: str) -> dict[str, str]:
    return {"type": kind, "status": status, **fields}


def live(kind: str, *, generation: int = 2, spec: Any = None, **status: Any) -> dict[str, Any]:
    """An object as the API server returns it; `status` has its fields."""
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "web", "namespace": "ml", "generation": generation, "uid": "w"},
        "spec": {"replicas": 2} if spec is None else spec,
        "status": status,
    }


def operated(*, seen: int = 2, reconciled: str = "True", available: str = "True") -> dict[str, Any]:
    said: dict[str, Any] = {"Reconciled": reconciled, "Available": available}
    why = {
        "Reconciled": {"reason": "ReconciliationFailed", "message": "no such StorageClass"},
        "Available": {"reason": "NoPodReady", "message": ""},
    }
    conditions = [{"type": name, "status": said[name], "observedGeneration": seen, **why[name]} for name in said]
    return live("Prometheus", conditions=conditions)


def deployment(**status: Any) -> dict[str, Any]:
    return live("Deployment", **{"observedGeneration": 2, **status})


SCALED = [{"manager": "kubectl", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_scaled_to_nothing_by_somebody_else_is_a_failure(kind: str) -> None:
    obj = live(kind, spec={"replicas": 0}, observedGeneration=2)
    assert state(obj).ready
    obj["metadata"]["managedFields"] = SCALED
    assert (state(obj).ready, state(obj).failure) == (False, "is scaled to 0 replicas, by kubectl")
    obj["metadata"]["managedFields"] = [*SCALED, {**SCALED[0], "manager": "mlops.platform"}]
    assert state(obj).ready


UNSEEN = "the change has not been seen by its controller yet"
READY = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}


@pytest.mark.parametrize(
    ("obj", "ready", "message"),
    [
        # Deployments
        (deployment(**READY), True, "2 of 2 available, 2 updated"),
        (deployment(**READY | {"availableReplicas": 1}), False, "1 of 2 available, 2 updated"),
        (deployment(**READY | {"updatedReplicas": 1}), False, "2 of 2 available, 1 updated"),
        (deployment(**READY | {"replicas": 3}), False, "2 of 2 available, 2 updated"),  # an old pod is still there
        (live("Deployment", **READY), False, "2 of 2 available, 2 updated"),  # no controller has seen it yet
        (live("Deployment", observedGeneration=1, **READY), False, UNSEEN),
        (live("Deployment", spec={"replicas": 0}, observedGeneration=2), True, "0 of 0 available, 0 updated"),
        (live("Deployment"), False, "0 of 2 available, 0 updated"),
        # StatefulSets
        (
            live("StatefulSet", observedGeneration=2, readyReplicas=2, updatedReplicas=2, updateRevision="b"),
            True,
            "2 of 2 ready, 2 updated",
        ),
        (
            live("StatefulSet", observedGeneration=2, readyReplicas=2, currentRevision="a", updateRevision="b"),
            False,
            "2 of 2 ready, 0 updated",
        ),
        (
            live("StatefulSet", observedGeneration=2, readyReplicas=2, currentRevision="b", updateRevision="b"),
            True,
            "2 of 2 ready, 0 updated",
        ),
        (
            live("StatefulSet", observedGeneration=2, readyReplicas=1, updatedReplicas=2),
            False,
            "1 of 2 ready, 2 updated",
        ),
        # DaemonSets
        (
            live(
                "DaemonSet", observedGeneration=2, desiredNumberScheduled=1, numberAvailable=1, updatedNumberScheduled=1
            ),
            True,
            "1 of 1 available, 1 updated",
        ),
        (
            live(
                "DaemonSet", observedGeneration=2, desiredNumberScheduled=3, numberAvailable=3, updatedNumberScheduled=1
            ),
            False,
            "3 of 3 available, 1 updated",
        ),
        # Jobs
        (live("Job", conditions=[condition("Complete")]), True, "complete"),
        (live("Job", active=1), False, "running"),
        # What is judged by a condition
        (live("CustomResourceDefinition", conditions=[condition("Established")]), True, "Established"),
        (live("CustomResourceDefinition"), False, "not Established: no word yet"),
        (
            live("APIService", conditions=[condition("Available", "False", message="no pod")]),
            False,
            "not Available: no pod",
        ),
        # What the operator of Prometheus looks after says which generation it speaks of
        (operated(), True, "Available"),
        (operated(seen=1), False, "the operator has not seen the change yet"),
        (live("Alertmanager"), False, "the operator has not seen the change yet"),
        (operated(available="False"), False, "not Available: NoPodReady"),
        # What is there is ready
        (live("Service"), True, "exists"),
    ],
)
def test_state_of_each_kind(obj: dict[str, Any], ready: bool, message: str) -> None:
    assert state(obj) == State(f"{obj['kind']} ml/web", ready, message, None)


@pytest.mark.parametrize(
    ("obj", "failure"),
    [
        (
            deployment(conditions=[condition("ReplicaFailure", message="pods is forbidden: violates PodSecurity")]),
            "pods is forbidden: violates PodSecurity",
        ),
        (
            deployment(
                conditions=[condition("Progressing", "False", reason="ProgressDeadlineExceeded", message="late")]
            ),
            "late",
        ),
        (
            live("Job", conditions=[condition("Failed", reason="BackoffLimitExceeded", message="4 times")]),
            "BackoffLimitExceeded: 4 times",
        ),
    ],
    ids=["ReplicaFailure", "ProgressDeadlineExceeded", "failed Job"],
)
def test_what_waiting_does_not_help_is_a_failure(obj: dict[str, Any], failure: str) -> None:
    found = state(obj)
    assert (found.ready, found.failure) == (False, failure)


def test_what_an_operator_cannot_make_of_an_object_is_final_if_it_lasts() -> None:
    found = state(operated(reconciled="False"))
    assert found.suspicion == found.message == "not Reconciled: ReconciliationFailed: no such StorageClass"
    assert (found.ready, found.failure) == (False, None)


def test_a_ready_deployment_has_not_failed_whatever_it_once_said() -> None:
    old = condition("Progressing", "False", reason="ProgressDeadlineExceeded", message="late")
    assert state(deployment(conditions=[old], **READY)).failure is None


def pod(*containers: dict[str, Any], phase: str = "Pending", **fields: Any) -> dict[str, Any]:
    """A pod with the statuses of its containers; `fields` go into its metadata."""
    conditions = fields.pop("conditions", [])
    return {
        "metadata": {"name": "web-0", **fields},
        "status": {"phase": phase, "conditions": conditions, "containerStatuses": list(containers)},
    }


def waiting(reason: str, message: str = "said why", restarts: int = 0) -> dict[str, Any]:
    return {
        "name": "main",
        "ready": False,
        "restartCount": restarts,
        "state": {"waiting": {"reason": reason, "message": message}},
        "lastState": {"terminated": {"exitCode": 2, "reason": "Error"}},
    }


@pytest.mark.parametrize(
    ("reason", "final"),
    [
        ("ImagePullBackOff", True),
        ("InvalidImageName", True),
        ("ErrImageNeverPull", True),
        ("CreateContainerConfigError", True),
        ("ErrImagePull", False),  # the first failure; ImagePullBackOff follows
    ],
)
def test_a_container_that_cannot_start(reason: str, final: bool) -> None:
    assert pod_problem(pod(waiting(reason))) == Problem(f"pod web-0: container main: {reason}: said why", final)


@pytest.mark.parametrize(
    "message",
    [
        'Back-off pulling image "r/a:1": ErrImagePull: failed to do request: read: connection reset by peer',
        'Back-off pulling image "r/a:1": ErrImagePull: unexpected status from GET request: 503 Service Unavailable',
        'Back-off pulling image "r/a:1": ErrImagePull: failed to copy: httpReadSeeker: unexpected EOF',
        "failed to sync secret cache: timed out waiting for the condition",
    ],
)
def test_what_may_pass_at_the_next_try_is_waited_for(message: str) -> None:
    found = pod_problem(pod(waiting("ImagePullBackOff", message)))
    assert found
    assert (found.final, message in found.message) == (False, True)


@pytest.mark.parametrize("restarts", range(1, CRASHES_UNTIL_FINAL + 2))
def test_a_crash_loop_is_final_only_after_some_crashes(restarts: int) -> None:
    found = pod_problem(pod(waiting("CrashLoopBackOff", restarts=restarts), phase="Running"))
    expected = f"pod web-0: container main crashed {restarts} times (exit code 2, Error)"
    assert found == Problem(expected, restarts >= CRASHES_UNTIL_FINAL, "main")


def test_init_containers_are_looked_at_first() -> None:
    made = pod(waiting("PodInitializing"))
    made["status"]["initContainerStatuses"] = [waiting("ImagePullBackOff") | {"name": "prepare"}]
    assert pod_problem(made) == Problem("pod web-0: container prepare: ImagePullBackOff: said why", True)


def test_a_pod_that_no_node_takes() -> None:
    unschedulable = condition("PodScheduled", "False", message="0/1 nodes are available: insufficient memory")
    expected = "pod web-0 cannot be scheduled: 0/1 nodes are available: insufficient memory"
    assert pod_problem(pod(conditions=[unschedulable])) == Problem(expected, homeless=True)


def test_a_pod_that_is_only_slow() -> None:
    made = pod(waiting("ContainerCreating"), {"name": "side", "ready": True, "state": {"running": {}}})
    assert pod_problem(made) == Problem("pod web-0 is Pending, not ready: main")
    assert pod_problem(pod()) == Problem("pod web-0 is Pending, not ready: no container yet")


@pytest.mark.parametrize(
    "made",
    [
        pod({"name": "main", "ready": True, "state": {"running": {}}}, conditions=[condition("Ready")]),
        pod({"name": "main", "state": {"terminated": {"exitCode": 0}}}, phase="Succeeded"),
        pod(waiting("ImagePullBackOff"), deletionTimestamp="2026-01-01T00:00:00Z"),
    ],
    ids=["ready", "succeeded", "going away"],
)
def test_pods_without_a_problem(made: dict[str, Any]) -> None:
    assert pod_problem(made) is None


def owned_by(uid: str, name: str, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": name, "ownerReferences": [{"uid": uid}], **metadata}}


def test_pods_of_the_newest_revision_of_a_deployment() -> None:
    key = "deployment.kubernetes.io/revision"
    workload = live("Deployment")
    workload["metadata"]["annotations"] = {key: "2"}
    sets = [
        owned_by("w", "old", annotations={key: "1"}),
        owned_by("w", "new", annotations={key: "2"}),
        owned_by("somebody", "other", annotations={key: "2"}),
    ]
    pods = [owned_by("old", "a"), owned_by("new", "b"), owned_by("other", "c"), {"metadata": {"name": "d"}}]
    assert [item["metadata"]["name"] for item in current_pods(workload, pods, sets)] == ["b"]


def test_pods_of_the_newest_revision_of_a_stateful_set() -> None:
    label = "controller-revision-hash"
    pods = [owned_by("w", "a", labels={label: "r1"}), owned_by("w", "b", labels={label: "r2"}), owned_by("x", "c")]

    def found(workload: dict[str, Any]) -> list[str]:
        return [item["metadata"]["name"] for item in current_pods(workload, pods, [])]

    assert found(live("StatefulSet", updateRevision="r2")) == ["b"]
    assert found(live("StatefulSet")) == ["a", "b"]
    assert found(live("DaemonSet")) == ["a", "b"]


def test_a_container_that_has_just_ended_has_crashed_like_one_that_waits() -> None:
    made = pod(waiting("", restarts=CRASHES_UNTIL_FINAL))
    made["status"]["containerStatuses"][0]["state"] = {"terminated": {"exitCode": 1, "reason": "Error"}}
    expected = f"pod web-0: container main crashed {CRASHES_UNTIL_FINAL + 1} times (exit code 1, Error)"
    assert pod_problem(made) == Problem(expected, True, "main")


@pytest.mark.parametrize(
    ("wanted", "available", "deserted"), [(1, 0, True), (2, 1, False), (0, 0, False), (1, 1, False)]
)
def test_a_deployment_is_deserted_where_pods_are_wanted_and_none_is_there(
    wanted: int, available: int, deserted: bool
) -> None:
    assert is_deserted({"spec": {"replicas": wanted}, "status": {"availableReplicas": available}}) is deserted
