"""The drift of models as their makers see it: rows and a reference in, a report and metrics out."""

from __future__ import annotations

import io
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster
from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards
from botocore.exceptions import ClientError
from sklearn.datasets import load_iris

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

NAMESPACE = "models"
SECONDS = 240
FLOWERS = load_iris(as_frame=True).data
Login = Callable[[str], "S3Client"]


@pytest.fixture(scope="module")
def login(address: str, variables: dict[str, Any], secret: Callable[[str], dict[str, str]]) -> Login:
    """The storage as the user of a Secret."""

    def made(name: str) -> S3Client:
        keys = secret(name)
        client: S3Client = boto3.client(
            "s3", endpoint_url=f"http://{address}:{variables['minio_api_node_port']}", region_name="us-east-1",
            aws_access_key_id=keys["access-key"], aws_secret_access_key=keys["secret-key"],
        )  # fmt: skip
        return client

    return made


def parquet(table: Any) -> bytes:
    stream = io.BytesIO()
    table.to_parquet(stream)
    return stream.getvalue()


@pytest.fixture(scope="module")
def compared(cluster: Cluster, login: Login) -> Iterator[dict[str, str]]:
    """Two models and what they were given: flowers like those of the training, larger ones, and too few."""
    names = {what: f"tests-{what}-{secrets.token_hex(3)}" for what in ("steady", "moved", "few")}
    given = {
        "steady": FLOWERS.sample(300, replace=True, random_state=7),
        "moved": FLOWERS.sample(300, replace=True, random_state=7) + 2,
        "few": FLOWERS.head(5),
    }
    reference = f"tests/{secrets.token_hex(4)}/reference.parquet"
    login("minio-mlflow").put_object(Bucket="mlflow-artifacts", Key=reference, Body=parquet(FLOWERS))
    now = datetime.now(UTC)
    written = login("minio-model-inputs")
    for what, name in names.items():
        about = {
            "model": name, "version": "1", "reference": f"s3://mlflow-artifacts/{reference}",
            "started": now.isoformat(timespec="seconds"),
        }  # fmt: skip
        rows = parquet(given[what].assign(_prediction=0))
        written.put_object(Bucket="model-inputs", Key=f"{name}/1/{now:%Y-%m-%d}/1.parquet", Body=rows)
        written.put_object(Bucket="model-inputs", Key=f"{name}/1/model.json", Body=json.dumps(about).encode())
    job = f"drift-tests-{secrets.token_hex(3)}"
    made = cluster.get("batch/v1", "CronJob", "drift", NAMESPACE)
    assert made is not None
    spec = made["spec"]["jobTemplate"]["spec"]
    cluster.apply(
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": job, "namespace": NAMESPACE}, "spec": spec}
    )
    try:
        end = time.monotonic() + SECONDS
        while not ((cluster.get("batch/v1", "Job", job, NAMESPACE) or {}).get("status") or {}).get("succeeded"):
            assert time.monotonic() < end, "the Job has not ended"
            time.sleep(1)
        yield names
    finally:
        cluster.delete("batch/v1", "Job", job, NAMESPACE)
        own = login("minio-drift")
        for bucket in ("model-inputs", "drift-reports"):
            for name in names.values():
                for item in own.list_objects_v2(Bucket=bucket, Prefix=f"{name}/").get("Contents", []):
                    own.delete_object(Bucket=bucket, Key=item["Key"])
        login("minio-mlflow").delete_object(Bucket="mlflow-artifacts", Key=reference)


def test_all_is_proven_and_a_second_run_changes_nothing(checks: Callable[[str], dict[str, bool]]) -> None:
    assert checks("drift")["exporter"]


def test_the_report_says_what_drifted(login: Login, compared: dict[str, str]) -> None:
    own = login("minio-drift")

    def latest(name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            own.get_object(Bucket="drift-reports", Key=f"{name}/1/latest.json")["Body"].read()
        )
        return found

    moved = latest(compared["moved"])
    assert (moved["status"], moved["detected"], moved["share"]) == ("compared", True, 1.0)
    assert set(moved["features"]) == set(FLOWERS.columns)
    page = own.get_object(
        Bucket="drift-reports", Key=f"{compared['moved']}/1/{moved['report']}/report.html"
    )["Body"].read()  # fmt: skip
    assert b"petal width (cm)" in page
    assert latest(compared["steady"])["detected"] is False
    few = latest(compared["few"])
    assert (few["status"], "5 rows in 24 h; at least 100" in few["reason"]) == ("too_few_rows", True)


def test_prometheus_is_told(forwards: Forwards, compared: dict[str, str]) -> None:
    url = f"http://127.0.0.1:{forwards.port(NAMESPACE, 'drift', 9100)}/metrics"
    end = time.monotonic() + SECONDS
    while compared["few"] not in (text := requests.get(url, timeout=10).text):
        assert time.monotonic() < end, "the exporter does not know the reports"
        time.sleep(2)
    value = {what: re.search(rf'^model_drift_detected{{model="{name}",.*}} (\S+)$', text, re.MULTILINE)
             for what, name in compared.items()}  # fmt: skip
    assert {what: found and float(found[1]) for what, found in value.items()} == {"moved": 1, "steady": 0, "few": None}


def test_a_model_writes_its_log_and_reads_none(login: Login) -> None:
    model = login("minio-model-inputs")
    with pytest.raises(ClientError, match="AccessDenied"):
        model.list_objects_v2(Bucket="model-inputs")
    with pytest.raises(ClientError, match="AccessDenied"):
        model.put_object(Bucket="drift-reports", Key="x", Body=b"")
