"""MinIO as its consumer, as a stranger, and after its pod was deleted."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError

if TYPE_CHECKING:
    from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster
    from types_boto3_s3.client import S3Client

BUCKETS = ["datasets", "drift-reports", "experiments", "mlflow-artifacts", "model-inputs", "models"]
OWN = "mlflow-artifacts"
NAMESPACE = "mlops"


@pytest.fixture(scope="module")
def endpoint(address: str, variables: dict[str, Any]) -> str:
    """The URL of the S3 API."""
    return f"http://{address}:{variables['minio_api_node_port']}"


def client(endpoint: str, credentials: dict[str, str] | None) -> S3Client:
    """An S3 client of a Secret's user, or of nobody."""
    made: S3Client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=credentials["access-key"] if credentials else None,
        aws_secret_access_key=credentials["secret-key"] if credentials else None,
        region_name="us-east-1",
        config=Config(
            signature_version=None if credentials else UNSIGNED,
            retries={"total_max_attempts": 1},
            connect_timeout=5,
            s3={"addressing_style": "path"},
        ),
    )
    return made


@pytest.fixture(scope="module")
def root(endpoint: str, secret: Callable[[str], dict[str, str]]) -> S3Client:
    """The administrator's client."""
    return client(endpoint, secret("minio-root"))


@pytest.fixture(scope="module")
def consumer(endpoint: str, secret: Callable[[str], dict[str, str]]) -> S3Client:
    """The client of the consumer `mlflow`."""
    return client(endpoint, secret("minio-mlflow"))


@pytest.fixture
def stored(consumer: S3Client) -> Iterator[tuple[str, bytes]]:
    """The key and the bytes of an object that the consumer wrote; it is deleted again."""
    key, content = f"tests/{secrets.token_hex(8)}", secrets.token_bytes(1 << 20)
    consumer.put_object(Bucket=OWN, Key=key, Body=content)
    yield key, content
    consumer.delete_object(Bucket=OWN, Key=key)


def refusal(call: Callable[[], object]) -> str:
    """The code with which a call is refused."""
    with pytest.raises(ClientError) as caught:
        call()
    code: str = caught.value.response["Error"]["Code"]
    return code


def test_the_buckets_are_there(root: S3Client) -> None:
    assert sorted(bucket["Name"] for bucket in root.list_buckets()["Buckets"]) == BUCKETS


def test_the_consumer_reads_what_it_wrote(consumer: S3Client, stored: tuple[str, bytes]) -> None:
    key, content = stored
    assert consumer.get_object(Bucket=OWN, Key=key)["Body"].read() == content
    listed = consumer.list_objects_v2(Bucket=OWN, Prefix=key)["Contents"]
    assert [(item["Key"], item["Size"]) for item in listed] == [(key, len(content))]


def test_a_deleted_object_is_gone(consumer: S3Client) -> None:
    key = f"tests/{secrets.token_hex(8)}"
    consumer.put_object(Bucket=OWN, Key=key, Body=b"x")
    consumer.delete_object(Bucket=OWN, Key=key)
    assert refusal(lambda: consumer.get_object(Bucket=OWN, Key=key)) == "NoSuchKey"


@pytest.mark.parametrize("bucket", [name for name in BUCKETS if name != OWN])
def test_the_consumer_is_refused_elsewhere(consumer: S3Client, bucket: str) -> None:
    assert refusal(lambda: consumer.put_object(Bucket=bucket, Key="x", Body=b"x")) == "AccessDenied"
    assert refusal(lambda: consumer.get_object(Bucket=bucket, Key="x")) == "AccessDenied"
    assert refusal(lambda: consumer.list_objects_v2(Bucket=bucket)) == "AccessDenied"


def test_a_reader_reads_and_does_not_write(endpoint: str, cluster: Cluster, stored: tuple[str, bytes]) -> None:
    key, content = stored
    login = cluster.secret("minio-models", "models")
    assert login
    reader = client(endpoint, login)
    assert reader.get_object(Bucket=OWN, Key=key)["Body"].read() == content
    assert refusal(lambda: reader.put_object(Bucket=OWN, Key=key, Body=b"x")) == "AccessDenied"
    assert refusal(lambda: reader.delete_object(Bucket=OWN, Key=key)) == "AccessDenied"
    assert refusal(lambda: reader.list_objects_v2(Bucket="datasets")) == "AccessDenied"


def test_the_consumer_makes_and_removes_no_buckets(consumer: S3Client) -> None:
    assert refusal(lambda: consumer.create_bucket(Bucket="another")) == "AccessDenied"
    assert refusal(lambda: consumer.delete_bucket(Bucket=OWN)) == "AccessDenied"


def test_strangers_are_refused(
    endpoint: str, secret: Callable[[str], dict[str, str]], stored: tuple[str, bytes]
) -> None:
    key, _ = stored
    wrong = {**secret("minio-mlflow"), "secret-key": "wrong-secret-key"}
    assert refusal(lambda: client(endpoint, wrong).get_object(Bucket=OWN, Key=key)) == "SignatureDoesNotMatch"
    assert refusal(lambda: client(endpoint, None).get_object(Bucket=OWN, Key=key)) == "AccessDenied"
    assert requests.get(f"{endpoint}/{OWN}/{key}", timeout=10).status_code == 403


@pytest.mark.parametrize("credentials", [{"access-key": "minioadmin", "secret-key": "minioadmin"}], ids=["minioadmin"])
def test_there_is_no_default_login(endpoint: str, credentials: dict[str, str]) -> None:
    assert refusal(lambda: client(endpoint, credentials).list_buckets()) == "InvalidAccessKeyId"


def test_the_console_answers(address: str, variables: dict[str, Any]) -> None:
    answer = requests.get(f"http://{address}:{variables['minio_console_node_port']}/login", timeout=10)
    assert answer.status_code == 200
    assert "<title>MinIO Console</title>" in answer.text


def test_objects_outlive_the_pod(cluster: Cluster, consumer: S3Client, stored: tuple[str, bytes]) -> None:
    key, content = stored
    before = cluster.get("v1", "Pod", "minio-0", NAMESPACE)
    assert before is not None
    cluster.delete("v1", "Pod", "minio-0", NAMESPACE)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        pod = cluster.get("v1", "Pod", "minio-0", NAMESPACE)
        try:
            if pod and pod["metadata"]["uid"] != before["metadata"]["uid"]:
                assert consumer.get_object(Bucket=OWN, Key=key)["Body"].read() == content
                return
        except (ClientError, EndpointConnectionError, OSError):
            pass  # the new pod is on its way
        time.sleep(1)
    pytest.fail("the object could not be read from the new pod within two minutes")


def test_the_report_says_the_same(checks: Callable[[str], dict[str, Any]]) -> None:
    assert checks("minio") == {
        "rollout": True,
        "quorum": True,
        "mlflow uses its buckets": True,
        "mlflow is refused elsewhere": True,
        "models uses its buckets": True,
        "models is refused elsewhere": True,
        "model-inputs uses its buckets": True,
        "model-inputs is refused elsewhere": True,
        "drift uses its buckets": True,
        "drift is refused elsewhere": True,
        "console": True,
        "edge": True,
        "console at the edge": True,
    }


def test_prometheus_reads_what_is_counted_and_nothing_that_is_stored(
    endpoint: str, secret: Callable[[str], dict[str, str]]
) -> None:
    login = secret("minio-prometheus")
    url = f"{endpoint}/minio/metrics/v3"
    counted = requests.get(url, headers={"Authorization": f"Bearer {login['token']}"}, timeout=30)
    assert counted.status_code == 200
    assert "minio_cluster_health_drives_count 1" in counted.text
    assert requests.get(url, timeout=30).status_code == 403
    with pytest.raises(ClientError, match="AccessDenied"):
        client(endpoint, login).list_objects_v2(Bucket=OWN)
