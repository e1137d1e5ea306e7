"""cert-manager as somebody who needs a certificate: it is issued in a namespace of their own, and clients trust it."""

from __future__ import annotations

import base64
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.certificates import authority
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster
from ansible_collections.mlops.platform.plugins.module_utils.rollout import conditions
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

API = "cert-manager.io/v1"
COLLECTED_SECONDS = 60
NAMESPACE = "cert-manager"
ISSUER = "platform-ca"
HOST = "shop.example.org"
SECONDS = 60


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace that is nobody else's."""
    name = f"cert-manager-test-{secrets.token_hex(3)}"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    cluster.delete("v1", "Namespace", name)


@pytest.fixture(scope="module")
def ca_file(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of the platform's authority, as a client has it."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    path.write_text(authority(cluster, ISSUER, NAMESPACE), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def issued(cluster: Cluster, namespace: str) -> dict[str, str]:
    """The Secret of a Certificate that a user applies."""
    certificate = {
        "apiVersion": API,
        "kind": "Certificate",
        "metadata": {"name": "shop", "namespace": namespace},
        "spec": {
            "secretName": "shop-tls",
            "dnsNames": [HOST],
            "issuerRef": {"name": ISSUER, "kind": "ClusterIssuer"},
        },
    }
    cluster.apply(certificate)
    await_ready(cluster, "Certificate", "shop", namespace)
    found = cluster.secret("shop-tls", namespace)
    assert found is not None
    return found


def await_ready(cluster: Cluster, kind: str, name: str, namespace: str | None) -> None:
    """Return when a resource of cert-manager is Ready; fail with its last word after a minute."""
    deadline = time.monotonic() + SECONDS
    while True:
        found = cluster.get(API, kind, name, namespace) or {}
        ready = conditions(found).get("Ready", {})
        if ready.get("status") == "True":
            return
        assert time.monotonic() < deadline, f"{kind} {name}: {ready.get('message')}"
        time.sleep(0.2)


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> None:
    """A TLS connection from a client to a server on this machine. Raises what the client raises."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            try:
                with connection, server.wrap_socket(connection, server_side=True):
                    pass
            except (ssl.SSLError, OSError):
                pass  # what the client makes of it is what counts

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with (
                socket.create_connection(listener.getsockname()) as connection,
                client.wrap_socket(connection, server_hostname=host),
            ):
                pass
        finally:
            thread.join()


@pytest.fixture
def server(issued: dict[str, str], tmp_path: Path) -> ssl.SSLContext:
    """A server with the certificate that was issued."""
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).write_text(issued[name], encoding="utf-8")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    return context


def test_a_client_that_trusts_the_platform_trusts_the_certificate(server: ssl.SSLContext, ca_file: Path) -> None:
    handshake(server, ssl.create_default_context(cafile=str(ca_file)), HOST)


def test_it_is_good_for_no_other_name(server: ssl.SSLContext, ca_file: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(server, ssl.create_default_context(cafile=str(ca_file)), "bank.example.org")


def test_a_client_that_does_not_know_the_platform_refuses_it(server: ssl.SSLContext) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
        handshake(server, ssl.create_default_context(), HOST)


def test_the_authority_signs_itself_and_its_key_is_nobody_else_s(cluster: Cluster, issued: dict[str, str]) -> None:
    pem = authority(cluster, ISSUER, NAMESPACE)
    assert "PRIVATE" not in pem
    found = x509.load_pem_x509_certificate(pem.encode())
    key = found.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    found.verify_directly_issued_by(found)
    assert found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert (found.not_valid_after_utc - found.not_valid_before_utc).days == 3650
    own = x509.load_pem_x509_certificate(issued["tls.crt"].encode())
    assert not own.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert own.public_key() != key
    assert issued["ca.crt"].strip() == pem.strip()


def test_a_secret_that_is_lost_is_issued_again(cluster: Cluster, namespace: str, issued: dict[str, str]) -> None:
    assert cluster.delete("v1", "Secret", "shop-tls", namespace)
    deadline = time.monotonic() + SECONDS
    while not (again := cluster.secret("shop-tls", namespace)):
        assert time.monotonic() < deadline, "the Secret was not issued again"
        time.sleep(0.2)
    assert again["tls.crt"] != issued["tls.crt"]


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ({}, "at least one issuer must be configured"),
        ({"ca": {"secretName": ""}}, "spec.ca.secretName"),
    ],
)
def test_nonsense_is_refused_before_it_is_stored(
    cluster: Cluster, namespace: str, spec: dict[str, Any], word: str
) -> None:
    issuer = {"apiVersion": API, "kind": "Issuer", "metadata": {"name": "none", "namespace": namespace}, "spec": spec}
    with pytest.raises(ApiError, match="denied the request") as caught:
        cluster.apply(issuer)
    assert word in str(caught.value)


def test_every_check_was_healthy_and_left_nothing(cluster: Cluster, checks: Callable[[str], dict[str, Any]]) -> None:
    assert checks("cert_manager") == {"rollout": True, "webhook": True, "certificate": True}

    def left() -> list[str]:
        return [
            item["metadata"]["name"]
            for kind in ((API, "Certificate"), (API, "CertificateRequest"), ("v1", "Secret"))
            for item in cluster.list(*kind, NAMESPACE)
            if "probe" in item["metadata"]["name"]
        ]

    # What a Certificate owned is collected by the cluster, soon after.
    deadline = time.monotonic() + COLLECTED_SECONDS
    while left() and time.monotonic() < deadline:
        time.sleep(0.5)
    assert left() == []


def test_the_key_of_the_authority_is_in_no_manifest(cluster: Cluster) -> None:
    """The Secret is cert-manager's own, with what it made."""
    found = cluster.get("v1", "Secret", "platform-ca", NAMESPACE)
    assert found is not None
    assert "mlops.platform/component" not in found["metadata"].get("labels", {})
    assert base64.b64decode(found["data"]["tls.key"]).startswith(b"-----BEGIN EC PRIVATE KEY")
