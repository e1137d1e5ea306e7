"""Endpoints that are not the platform's own: the words of client libraries lead to the right variable."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Self, cast

import psycopg2
import pytest
from ansible_collections.mlops.platform.plugins.module_utils import health
from ansible_collections.mlops.platform.plugins.module_utils.checks import CHECKS, s3
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import (
    Access,
    Check,
    CheckFailed,
    External,
    Service,
    parse_endpoint,
)
from ansible_collections.mlops.platform.plugins.module_utils.checks.external import explain
from ansible_collections.mlops.platform.plugins.module_utils.checks.s3 import S3RefusedCheck
from ansible_collections.mlops.platform.plugins.module_utils.checks.sql import arguments
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster
from ansible_collections.mlops.platform.plugins.module_utils.component import Component
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards
from botocore.exceptions import ClientError, EndpointConnectionError, SSLError
from botocore.stub import Stubber

S3 = External(
    "https://s3.example.org", "mlflow_s3_endpoint_url", "mlflow_aws_secret_access_key", "mlflow_artifact_root"
)
DATABASE = External("postgresql://db:5432", "mlflow_backend_store_uri")


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "words"}}, "PutObject")


@pytest.mark.parametrize(
    ("endpoint", "error", "blamed"),
    [
        (S3, EndpointConnectionError(endpoint_url=S3.url), "mlflow_s3_endpoint_url"),
        (S3, SSLError(endpoint_url=S3.url, error=OSError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: "
                      "self-signed certificate in certificate chain")), "platform_ca_certificates"),
        (S3, SSLError(endpoint_url=S3.url, error=OSError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: "
                      "Hostname mismatch, certificate is not valid for 's3'")), "mlflow_s3_endpoint_url"),
        (S3, SSLError(endpoint_url=S3.url, error=OSError("[SSL: WRONG_VERSION_NUMBER]")), "mlflow_s3_endpoint_url"),
        (S3, refusal("SignatureDoesNotMatch"), "mlflow_aws_secret_access_key"),
        (S3, refusal("InvalidAccessKeyId"), "mlflow_aws_secret_access_key"),
        (S3, PlatformError("Secret ml/keys does not exist"), "mlflow_aws_secret_access_key"),
        (S3, refusal("NoSuchBucket"), "mlflow_artifact_root"),
        (S3, refusal("AccessDenied"), "mlflow_artifact_root"),
        (DATABASE, psycopg2.OperationalError("SSL error: certificate verify failed"), "platform_ca_certificates"),
        (DATABASE, psycopg2.OperationalError('FATAL: password authentication failed for user "ml"'),
         "mlflow_backend_store_uri"),
        (DATABASE, psycopg2.OperationalError('server certificate for "a" does not match host name "b"'),
         "mlflow_backend_store_uri"),
        (DATABASE, psycopg2.OperationalError('database "ml" does not exist'), "mlflow_backend_store_uri"),
    ],
)  # fmt: skip
def test_a_cause_names_the_variable_and_the_endpoint(endpoint: External, error: Exception, blamed: str) -> None:
    assert explain(endpoint, error).startswith(f"{blamed}: {endpoint.url}: ")


def test_a_reader_passes_over_what_is_deleted_while_it_reads() -> None:
    bucket = {"Bucket": "models"}
    reader = s3.connect(access(), S3, s3.REGION, "key", "secret")
    with Stubber(reader) as answers:
        listed = {"Contents": [{"Key": "of another validation"}, {"Key": "model"}, {"Key": "not asked for"}]}
        answers.add_response("list_objects_v2", listed, bucket | {"Prefix": "", "MaxKeys": s3.LISTED})
        answers.add_client_error("get_object", "NoSuchKey", expected_params=bucket | {"Key": "of another validation"})
        answers.add_response("get_object", {"Body": io.BytesIO(b"m")}, bucket | {"Key": "model"})
        answers.add_client_error("put_object", "AccessDenied")
        s3.read_only(reader, "models")
        answers.assert_no_pending_responses()


def test_a_reader_that_may_not_read_is_told() -> None:
    reader = s3.connect(access(), S3, s3.REGION, "key", "secret")
    with Stubber(reader) as answers:
        answers.add_response("list_objects_v2", {"Contents": [{"Key": "model"}]})
        answers.add_client_error("get_object", "AccessDenied")
        with pytest.raises(ClientError, match=r"AccessDenied.*GetObject"):
            s3.read_only(reader, "models")


def test_an_endpoint_is_in_the_cluster_or_elsewhere() -> None:
    assert parse_endpoint({"name": "web", "port": "80"}, "here") == Service("web", 80)
    assert parse_endpoint({"url": "https://x", "variable": "y"}, "here") == External("https://x", "y")
    with pytest.raises(PlatformError, match="here: service: the key 'variable' is missing"):
        parse_endpoint({"url": "https://x"}, "here")


def access(**secret: str) -> Access:
    """What needs no cluster, because its Secret is declared."""
    return Access(cast("Cluster", None), cast("Forwards", None), "ml", "/ca.pem", {"ml/login": secret})


def test_an_authority_is_named_only_where_it_is_asked_for() -> None:
    place = access(host="db1,db2", port="5432,5433")
    plain = arguments(place, DATABASE, "login", "ml", {"sslmode": "require"})
    assert (plain["host"], plain["port"], plain["dbname"]) == ("db1,db2", "5432,5433", "ml")
    assert "sslrootcert" not in plain
    verified = arguments(place, DATABASE, "login", "ml", {"sslmode": "verify-full", "options": "-c lock_timeout=1s"})
    assert verified["sslrootcert"] == "/ca.pem"
    assert verified["options"] == "-c lock_timeout=1s -c statement_timeout=10s"


@pytest.mark.parametrize(
    ("answers", "healthy"),
    [
        ({"mine": "SignatureDoesNotMatch", "other": "InvalidAccessKeyId"}, True),
        ({"mine": "AccessDenied", "other": "403"}, True),
        ({"mine": "", "other": "InvalidAccessKeyId"}, False),
        ({"mine": "SignatureDoesNotMatch", "other": ""}, False),
        ({"mine": "SlowDown", "other": "InvalidAccessKeyId"}, False),
    ],
    ids=["refused", "refused otherwise", "any secret key", "anybody", "no answer"],
)
def test_keys_that_must_be_refused_are(monkeypatch: pytest.MonkeyPatch, answers: dict[str, str], healthy: bool) -> None:
    class Bucket:
        def __init__(self, code: str) -> None:
            self.code = code

        def list_objects_v2(self, **_: object) -> None:
            if self.code:
                raise refusal(self.code)

    def connect(_access: Access, _service: External, _region: str, key: str, secret: str) -> Bucket:
        assert secret != "right"
        return Bucket(answers["mine" if key == "mine" else "other"])

    monkeypatch.setattr(s3, "connect", connect)
    check = S3RefusedCheck("refuses", S3, ("bucket",), "login")
    place = access(**{"access-key": "mine", "secret-key": "right"})
    with contextlib.nullcontext() if healthy else pytest.raises(CheckFailed, match="was not"):
        check.run(place)


class Ports:
    """Forwards that say what they lead to."""

    def port(self, namespace: str, service: str, port: int) -> int:
        assert (namespace, service) == ("data", "store")
        return 10_000 + port


@pytest.mark.parametrize(
    ("url", "reached"),
    [
        ("http://store.data.svc:9000", "http://127.0.0.1:19000"),
        ("http://store.data.svc.cluster.local", "http://127.0.0.1:10080"),
        ("http://store.data.example.org/", "http://store.data.example.org"),
        ("http://[2001:db8::1]:9000", "http://[2001:db8::1]:9000"),
        # Its certificate is for this name.
        ("https://store.data.svc:9000", "https://store.data.svc:9000"),
    ],
)
def test_a_service_of_the_cluster_is_reached_through_the_api(url: str, reached: str) -> None:
    place = Access(cast("Cluster", None), cast("Forwards", Ports()), "ml")
    assert place.url(External(url, "x")) == reached


def test_a_database_in_the_cluster_keeps_the_name_of_its_certificate() -> None:
    declared = {"ml/login": {"host": "store.data.svc,db2.example.org", "port": "5432"}}
    place = Access(cast("Cluster", None), cast("Forwards", Ports()), "ml", "/ca.pem", declared)
    found = arguments(place, DATABASE, "login", "ml", {})
    assert found["host"] == "store.data.svc,db2.example.org"
    assert (found["hostaddr"], found["port"]) == ("127.0.0.1,", "15432,5432")


@dataclass(frozen=True)
class Broken(Check):
    """A check that never passes."""

    def run(self, access: Access) -> tuple[object, object]:
        raise OSError("no route")


def test_nothing_is_touched_where_an_endpoint_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "EXTERNAL_SECONDS", 0.1)
    monkeypatch.setattr(health, "Forwards", FakeForwards)
    monkeypatch.setitem(CHECKS, "broken", Broken)
    checks = ({"name": "storage", "type": "broken", "service": {"url": "https://x", "variable": "x_url"}},)
    component = Component("web", "1", "ml", checks=checks)
    with pytest.raises(PlatformError, match=r"web was not touched: storage: x_url: https://x: .*no route"):
        health.prove_external(cast("Cluster", None), component, "")
    inside = ({"name": "own", "type": "broken", "service": {"name": "web", "port": 80}},)
    health.prove_external(cast("Cluster", None), Component("web", "1", "ml", checks=inside), "")


class FakeForwards:
    """Forwards of a cluster that is not asked for any."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass
