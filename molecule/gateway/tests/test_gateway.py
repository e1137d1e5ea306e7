"""The edge as people outside meet it: by the node's ports, with TLS that they verify and names that they look up."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests
from cryptography import x509
from mlflow import MlflowClient

if TYPE_CHECKING:
    from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster, Object

Secret = Callable[[str], dict[str, str]]
DOMAIN = "mlops.internal"
OWN = "edge-test"
pytestmark = pytest.mark.usefixtures("names")
LIMIT = 5


@pytest.fixture(scope="module")
def authority() -> str:
    """The file with the certificate of the platform's authority, which stands beside the report."""
    return str(Path(os.environ["MLOPS_PLATFORM_REPORTS"]) / "latest" / "platform-ca.crt")


@pytest.fixture(scope="module")
def port(variables: dict[str, Any]) -> int:
    """The node's port for HTTPS."""
    found: int = variables["gateway_https_node_port"]
    return found


def handshake(address: str, port: int, host: str, context: ssl.SSLContext) -> x509.Certificate:
    """The certificate that the edge shows for a host."""
    with (
        socket.create_connection((address, port), timeout=10) as connection,
        context.wrap_socket(connection, server_hostname=host) as secure,
    ):
        found = secure.getpeercert(binary_form=True)
    assert found
    return x509.load_der_x509_certificate(found)


def test_the_certificate_is_for_the_domain_and_verified_by_the_authority(
    address: str, port: int, authority: str
) -> None:
    shown = handshake(address, port, f"mlflow.{DOMAIN}", ssl.create_default_context(cafile=authority))
    alternatives = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(alternatives.get_values_for_type(x509.DNSName)) == {DOMAIN, f"*.{DOMAIN}"}
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer certificate"):
        handshake(address, port, f"mlflow.{DOMAIN}", ssl.create_default_context())


def test_old_tls_is_refused(address: str, port: int, authority: str) -> None:
    context = ssl.create_default_context(cafile=authority)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    handshake(address, port, DOMAIN, context)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1_1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        handshake(address, port, DOMAIN, context)


@pytest.mark.parametrize("host", [f"mlflow.{DOMAIN}", f"anything.{DOMAIN}", DOMAIN])
def test_plain_http_leads_to_https(variables: dict[str, Any], port: int, host: str) -> None:
    url = f"http://{host}:{variables['gateway_http_node_port']}/health?a=b"
    answer = requests.get(url, timeout=10, allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (301, f"https://{host}:{port}/health?a=b")


def test_whoever_follows_the_redirect_arrives(variables: dict[str, Any], authority: str) -> None:
    url = f"http://mlflow.{DOMAIN}:{variables['gateway_http_node_port']}/health"
    answer = requests.get(url, timeout=10, verify=authority)
    assert (answer.status_code, answer.text) == (200, "OK")


@pytest.mark.parametrize("host", [f"nobody.{DOMAIN}", f"a.mlflow.{DOMAIN}", "mlflow.example.org"])
def test_an_unknown_host_gets_404(address: str, port: int, authority: str, host: str) -> None:
    url = f"https://mlflow.{DOMAIN}:{port}/health"  # the name in TLS is a known one
    answer = requests.get(url, timeout=10, verify=authority, headers={"Host": host})
    assert (answer.status_code, answer.text) == (404, "")


def test_mlflow_as_a_client_uses_it(
    port: int, authority: str, secret: Secret, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    login = secret("mlflow-service")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", login["username"])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", login["password"])
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", authority)
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    url = f"https://mlflow.{DOMAIN}:{port}"
    client = MlflowClient(tracking_uri=url, registry_uri=url)
    content = secrets.token_bytes(5_000_000)
    (tmp_path / "weights.bin").write_bytes(content)
    experiment = client.create_experiment(f"edge-{secrets.token_hex(4)}")
    try:
        run = client.create_run(experiment).info.run_id
        client.log_metric(run, "accuracy", 0.75)
        client.log_artifact(run, str(tmp_path / "weights.bin"), "model")
        assert client.get_run(run).data.metrics == {"accuracy": 0.75}
        assert Path(client.download_artifacts(run, "model/weights.bin", str(tmp_path))).read_bytes() == content
    finally:
        client.delete_experiment(experiment)


def test_a_wrong_password_is_refused_at_the_edge_too(port: int, authority: str) -> None:
    url = f"https://mlflow.{DOMAIN}:{port}/api/2.0/mlflow/experiments/search?max_results=1"
    assert requests.get(url, auth=("admin", "wrong"), verify=authority, timeout=10).status_code == 401


def test_s3_as_a_client_uses_it(port: int, authority: str, secret: Secret) -> None:
    keys = secret("minio-mlflow")
    s3 = boto3.client(
        "s3", endpoint_url=f"https://s3.{DOMAIN}:{port}", region_name="us-east-1", verify=authority,
        aws_access_key_id=keys["access-key"], aws_secret_access_key=keys["secret-key"],
    )  # fmt: skip
    key, content = f"tests/{secrets.token_hex(8)}", secrets.token_bytes(3_000_000)
    s3.put_object(Bucket="mlflow-artifacts", Key=key, Body=content)
    try:
        assert s3.get_object(Bucket="mlflow-artifacts", Key=key)["Body"].read() == content
    finally:
        s3.delete_object(Bucket="mlflow-artifacts", Key=key)


def test_the_console_is_served(port: int, authority: str) -> None:
    answer = requests.get(f"https://minio.{DOMAIN}:{port}/login", verify=authority, timeout=10)
    assert "<title>MinIO Console</title>" in answer.text


def test_answers_say_how_much_one_may_ask(port: int, authority: str) -> None:
    answer = requests.get(f"https://mlflow.{DOMAIN}:{port}/health", verify=authority, timeout=10)
    assert answer.headers["x-ratelimit-limit"].startswith("1000")


# The limit, on a host of our own with a limit that a test can reach: it counts for that route alone.

SERVER = "import http.server as s; s.HTTPServer(('', 8080), s.SimpleHTTPRequestHandler).serve_forever()"
CLIENT = f"""
import http.client, json, socket, ssl
context = ssl.create_default_context(cadata=open('/etc/edge/ca.crt').read())
found = []
for _ in range({LIMIT + 3}):
    plain = socket.create_connection(('platform.envoy-gateway-system.svc', 443), 10)
    secure = context.wrap_socket(plain, server_hostname='limited.{DOMAIN}')
    client = http.client.HTTPConnection('limited.{DOMAIN}')
    client.sock = secure
    client.request('GET', '/')
    found.append(client.getresponse().status)
    client.close()
print(json.dumps(found))
"""


def pod(name: str, image: str, program: str) -> Object:
    """A pod of our own that runs a program in Python."""
    security = {
        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True,
        "runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    container = {
        "name": "main", "image": image, "command": ["python3", "-c", program], "workingDir": "/tmp",
        "securityContext": security, "volumeMounts": [{"name": "authority", "mountPath": "/etc/edge"}],
    }  # fmt: skip
    volume = {"name": "authority", "configMap": {"name": "authority"}}
    spec = {
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [volume],
        "automountServiceAccountToken": False,
    }
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": OWN, "labels": {"app": name}}, "spec": spec,
    }  # fmt: skip


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Return when a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain"
        time.sleep(0.25)


@pytest.fixture
def limited(cluster: Cluster, authority: str) -> Iterator[Callable[[str], list[int]]]:
    """Has a pod ask a host with a small limit again and again; returns the statuses that it got."""
    mlflow = cluster.get("apps/v1", "Deployment", "mlflow", "mlops")
    policy = cluster.get("gateway.envoyproxy.io/v1alpha1", "BackendTrafficPolicy", "platform", "envoy-gateway-system")
    assert mlflow
    assert policy
    image = mlflow["spec"]["template"]["spec"]["containers"][0]["image"]
    rules = policy["spec"]["rateLimit"]["local"]["rules"]
    for rule in rules:
        rule["limit"] = {"requests": LIMIT, "unit": "Hour"}
    target = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "limited"}
    parent = {"name": "platform", "namespace": "envoy-gateway-system", "sectionName": "https"}
    metadata = {"name": "limited", "namespace": OWN}
    manifests: list[Object] = [
        {"apiVersion": "v1", "kind": "Namespace",
         "metadata": {"name": OWN, "labels": {"app.kubernetes.io/part-of": "mlops-platform"}}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "authority", "namespace": OWN},
         "data": {"ca.crt": Path(authority).read_text(encoding="utf-8")}},
        pod("server", image, SERVER),
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata,
         "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]}},
        {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata,
         "spec": {"parentRefs": [parent], "hostnames": [f"limited.{DOMAIN}"],
                  "rules": [{"backendRefs": [{"name": "limited", "port": 80}]}]}},
        {"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "BackendTrafficPolicy", "metadata": metadata,
         "spec": {"targetRefs": [target], "rateLimit": {"type": "Local", "local": {"rules": rules}}}},
    ]  # fmt: skip

    def ended(name: str) -> bool:
        found = cluster.get("v1", "Pod", name, OWN)
        return bool(found) and (found or {})["status"].get("phase") in ("Succeeded", "Failed")

    def ask(name: str) -> list[int]:
        cluster.apply(pod(name, image, CLIENT))
        until(lambda: ended(name))
        found = cluster.get("v1", "Pod", name, OWN)
        assert found
        answers: list[int] = json.loads(cluster.last_lines(found, "main")[-1])
        return answers

    def served() -> bool:
        with contextlib.suppress(requests.RequestException):
            url = f"https://limited.{DOMAIN}:30443/"
            return (
                requests.head(url, verify=authority, timeout=5)
                .headers.get("x-ratelimit-limit", "")
                .startswith(f"{LIMIT}")
            )
        return False

    try:
        for manifest in manifests:
            cluster.apply(manifest)
        until(served)
        yield ask
    finally:
        cluster.delete("v1", "Namespace", OWN)


def test_who_asks_too_often_gets_429_and_others_do_not(limited: Callable[[str], list[int]]) -> None:
    assert limited("first") == [200] * LIMIT + [429] * 3
    assert limited("second") == [200] * LIMIT + [429] * 3


def test_the_report_says_the_same(checks: Callable[[str], dict[str, Any]]) -> None:
    assert checks("gateway") == {
        "rollout": True,
        "answers by TLS": True,
        "unknown hosts are refused": True,
        "plain HTTP is redirected": True,
    }


def test_the_report_shows_where_the_edge_is(report: dict[str, Any], address: str, port: int) -> None:
    access = [line for part in report["components"] for line in part["access"]]
    assert f"Edge: https://{DOMAIN}:{port}" in access
    (line,) = [line for line in access if line.startswith("Edge without DNS: curl --cacert ")]
    assert line.endswith(f"platform-ca.crt --resolve '*:{port}:{address}' <URL>")
    assert f"MLflow: https://mlflow.{DOMAIN}:{port}  (login: Secret mlops/mlflow-admin)" in access
