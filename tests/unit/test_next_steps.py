"""Each cause has the next step that fits it."""

from __future__ import annotations

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.next_steps import (
    CHECK_STEP,
    NEXT_STEPS,
    TASK_STEP,
    next_step,
)


# Messages as the engine, Kubernetes and the services write them.
@pytest.mark.parametrize(
    ("message", "step"),
    [
        ("2 problems, nothing was touched:\n- platform_storage_class is 'x'", "nothing has to be undone"),
        ("mlflow requires minio, which failed: it was not touched", "Mend minio;"),
        ("platform_kubeconfig: k: the Kubernetes API at https://x:1 cannot be reached: timed out", "`make up` starts"),
        ("the cluster runs Kubernetes v1.20.0; supported are 1.33 to 1.37", "supported version"),
        ("pod a: container b: ImagePullBackOff: Back-off pulling image: not found", "`make images`"),
        ("pod a: container b: CreateContainerConfigError: secret \"x\" not found", "Secret, ConfigMap or key"),
        ("pod a: container b crashed 3 times (exit code 137, OOMKilled)", "memory limit in minio_resources"),
        ("pod a: container b crashed 3 times (exit code 1, Error)", "last lines in the evidence"),
        ("pod a cannot be scheduled: 0/1 nodes are available: Insufficient memory.", "lower minio_resources"),
        ("pod a cannot be scheduled: pod has unbound immediate PersistentVolumeClaims", "StorageClass"),
        ('pods "a" is forbidden: violates PodSecurity "restricted:latest": ...', "does not admit such pods"),
        ('pods "a" is forbidden: exceeded quota: small, requested: memory=1Gi', "quota of the namespace"),
        ('services is forbidden: User "u" cannot create resource "services"', "right that the message names"),
        ("XMinioStorageFull: Storage backend has reached its minimum free drive threshold", "volume is full"),
        ("cannot execute INSERT in a read-only transaction", "takes no writes"),
        ('password authentication failed for user "mlflow"', "refuses the login"),
        ("Job ml/x: BackoffLimitExceeded: Job has reached the specified backoff limit", "the next run starts it again"),
        ("a login that must be refused was not: {'no password': 'let in'}", "who must not"),
        ("not refused: datasets: written", "who must not"),
        ("Deployment ml/mlflow: is scaled to 0 replicas, by kubectl", "`make site` puts back"),
        ("Service ml/minio leads nowhere: no pod has its selector a=b", "`make site` puts back"),
        ("Secret ml/mlflow-service does not exist", "`make site` puts back"),
        ("answered 403: Invalid Host header - possible DNS rebinding attack detected", "minio_allowed_hosts"),
        ("minio has not been provisioned in namespace ml", "`make site` first"),
        ("Deployment ml/a is not ready after 300 s: 0 of 1 available", "run the same command again"),
        ("ConnectionRefusedError: [Errno 111] Connection refused", "Nothing answered"),
    ],
)  # fmt: skip
def test_the_step_of_a_cause(message: str, step: str) -> None:
    assert step in next_step(message, "minio", "task")


def test_a_cause_that_nobody_knows() -> None:
    assert next_step("observed 3 instead of 4", "minio", "check") == CHECK_STEP
    assert next_step("minio: the cluster refused the manifests: spec.x: unknown", "minio", "task") == TASK_STEP


def test_no_step_shows_a_place_holder() -> None:
    for pattern, step in NEXT_STEPS:
        assert step.count("{1}") <= pattern.groups
        assert "{" not in step.replace("{host}", "").replace("{1}", "")
