"""The check of drift: the Job that it makes of the CronJob, and what it reads of its end."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.checks.drift import _ended, _job, _place


def said(name: str, secret: str, key: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


CRON_JOB: dict[str, Any] = {
    "metadata": {"name": "drift", "namespace": "models"},
    "spec": {"jobTemplate": {"spec": {"backoffLimit": 1, "template": {"spec": {"containers": [{
        "name": "compare",
        "env": [
            {"name": "MODEL_DRIFT_SHARE", "value": "0.5"},
            said("MODEL_DRIFT_ACCESS_KEY", "minio-drift", "access-key"),
            said("MODEL_DRIFT_SECRET_KEY", "minio-drift", "secret-key"),
            said("MODEL_DRIFT_REFERENCE_ACCESS_KEY", "minio-models", "access-key"),
            said("MODEL_DRIFT_REFERENCE_SECRET_KEY", "minio-models", "secret-key"),
        ],
    }]}}}}},
}  # fmt: skip


def test_the_job_compares_one_model_whose_reference_lies_beside_its_log() -> None:
    job = _job(CRON_JOB, "drift-probe-1", ".trial-1")
    assert (job["metadata"]["namespace"], job["spec"]["backoffLimit"]) == ("models", 0)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    given = {item["name"]: item.get("value") or item["valueFrom"]["secretKeyRef"]["name"] for item in container["env"]}
    assert given == {
        "MODEL_DRIFT_SHARE": "0.5", "MODEL_DRIFT_ONLY": ".trial-1",
        "MODEL_DRIFT_ACCESS_KEY": "minio-drift", "MODEL_DRIFT_SECRET_KEY": "minio-drift",
        "MODEL_DRIFT_REFERENCE_ACCESS_KEY": "minio-drift", "MODEL_DRIFT_REFERENCE_SECRET_KEY": "minio-drift",
    }  # fmt: skip
    assert CRON_JOB["spec"]["jobTemplate"]["spec"]["backoffLimit"] == 1


@pytest.mark.parametrize(
    ("job", "ended"),
    [
        (None, "it is gone"),
        ({}, None),
        ({"status": {"conditions": [{"type": "SuccessCriteriaMet", "status": "True"}]}}, None),
        ({"status": {"conditions": [{"type": "Complete", "status": "True"}]}}, ""),
        ({"status": {"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]}},
         "DeadlineExceeded"),
    ],
)  # fmt: skip
def test_the_end_of_a_job(job: Any, ended: str | None) -> None:
    assert _ended(job) == ended


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("s3://inputs", ("inputs", ".trial-1/")), ("s3://inputs/", ("inputs", ".trial-1/")),
        ("s3://company/teams/ml/", ("company", "teams/ml/.trial-1/")),
    ],
)  # fmt: skip
def test_where_a_model_lies(uri: str, place: tuple[str, str]) -> None:
    assert _place(uri, ".trial-1") == place
