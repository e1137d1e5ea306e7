"""What goes wrong with the edge, and with the routes that lead from it."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Iterator
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Service
from ansible_collections.mlops.platform.plugins.module_utils.checks.edge import EdgeCheck
from ansible_collections.mlops.platform.plugins.module_utils.gateway import API
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from faults.faults import Fault, Inject, unguarded
from faults.platform import STRANGER, Platform, until

ANSWERS = "answers by TLS"
PROXIES = "platform-proxies"
DOMAIN = "mlops.internal"
ANSWER = {"group": "gateway.envoyproxy.io", "kind": "HTTPRouteFilter", "name": "platform"}
WELCOME = {"type": "ExtensionRef", "extensionRef": ANSWER}


def edit(platform: Platform, kind: str, name: str, spec: dict[str, Any]) -> None:
    """Change the specification of an object of the Gateway API as somebody else."""
    path = platform.cluster.resource(API, kind).path(platform.namespace, name)
    merge = "application/merge-patch+json"
    platform.cluster.request("PATCH", path, query={"fieldManager": STRANGER}, body={"spec": spec}, content_type=merge)


def answered(platform: Platform, host: str, *, plain: bool = False) -> int:
    """The status that a host answers with at the edge now."""
    edge = EdgeCheck(
        "look", Service("platform", 443, platform.at("gateway").namespace), f"{host}{DOMAIN}",
        plain=plain, issuer="platform-ca", issuer_namespace="cert-manager",
    )  # fmt: skip
    with platform.at("gateway").access() as access, edge.connections(access) as pool:
        headers = {"Host": edge.host, "Connection": "close"}
        return int(pool.request("GET", "/", headers=headers, redirect=False).status)


def route(component: str, name: str, host: str, status: int, *, plain: bool = False, **rule: Any) -> Inject:
    """Somebody edits a component's route, so that its host answers with another status."""

    def inject(platform: Platform) -> Iterator[None]:
        edit(platform.at(component), "HTTPRoute", name, {"rules": [rule]})
        until(lambda: answered(platform, host, plain=plain) == status)
        yield

    return inject


def console_route_deleted(platform: Platform) -> Iterator[None]:
    """Somebody deletes the route of MinIO's console."""
    here = platform.at("minio")
    assert here.cluster.delete(API, "HTTPRoute", "minio-console", here.namespace)
    until(lambda: answered(platform, "minio.") == 404)
    yield


def every_host_taken(platform: Platform) -> Iterator[None]:
    """Somebody makes a route that answers for any host."""
    here = platform.at("gateway")
    here.cluster.apply(
        {
            "apiVersion": API,
            "kind": "HTTPRoute",
            "metadata": {"name": "stranger", "namespace": here.namespace},
            "spec": {"parentRefs": [{"name": "platform", "sectionName": "https"}], "rules": [{"filters": [WELCOME]}]},
        }
    )
    until(lambda: answered(platform, "nobody.") == 200)
    yield
    here.cluster.delete(API, "HTTPRoute", "stranger", here.namespace)


def scaled_to_nothing(*names: str) -> Inject:
    """Somebody scales Deployments of the gateway to 0, the controller first: it would put the proxies back."""

    def inject(platform: Platform) -> Iterator[None]:
        here = platform.at("gateway")
        for name in names:
            here.scale("Deployment", name, 0)
            until(lambda: not running(here, name))  # noqa: B023  (asked before the next one's turn)
        yield

    return inject


def running(platform: Platform, name: str) -> bool:
    """Whether a Deployment has pods."""
    pods = platform.cluster.list("v1", "Pod", platform.namespace)
    return any(pod["metadata"]["name"].startswith(f"{name}-") for pod in pods)


def certificate_expired(platform: Platform) -> Iterator[None]:
    """Somebody puts a certificate in the edge's place that ended yesterday."""
    here = platform.at("gateway")
    found = here.cluster.get(API, "Gateway", "platform", here.namespace)
    assert found
    listeners = found["spec"]["listeners"]
    for listener in listeners:
        if "tls" in listener:
            listener["tls"]["certificateRefs"] = [{"name": "expired"}]
    certificate, key = expired()
    data = {name: base64.b64encode(text).decode() for name, text in (("tls.crt", certificate), ("tls.key", key))}
    here.cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": "expired", "namespace": here.namespace},
            "data": data,
        }
    )
    edit(here, "Gateway", "platform", {"listeners": listeners})
    yield
    here.cluster.delete("v1", "Secret", "expired", here.namespace)


def expired() -> tuple[bytes, bytes]:
    """A certificate that ended yesterday, and its key, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "yesterday")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=2))
        .not_valid_after(now - datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("*.mlops.internal")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.Encoding.PEM
    private = key.private_bytes(form, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(form), private


FAULTS: tuple[Fault, ...] = (
    Fault(
        "a route answers for every host",
        "gateway", "unknown hosts are refused", "nobody.* answered 200", every_host_taken,
    ),
    Fault(
        "plain HTTP is answered",
        "gateway", "plain HTTP is redirected", "not redirected to HTTPS, but answered 200",
        route("gateway", "redirect", "", 200, plain=True, filters=[WELCOME]),
    ),
    Fault(
        "the route leads to a Service that is not there",
        "mlflow", "edge", "HTTPRoute .*/mlflow is not ResolvedRefs: BackendNotFound.*nowhere",
        route("mlflow", "mlflow", "mlflow.", 500, backendRefs=[{"name": "nowhere", "port": 5000}]),
    ),
    Fault(
        "the route leads to a port that the Service does not have",
        "minio", "edge", "HTTPRoute .*/minio is not ResolvedRefs.*9999",
        route("minio", "minio", "s3.", 500, backendRefs=[{"name": "minio", "port": 9999}]),
    ),
    Fault(
        "the route of the console is deleted",
        "minio", "console at the edge", "HTTPRoute .*/minio-console does not exist",
        console_route_deleted,
    ),
    Fault(
        "the certificate has expired",
        "gateway", ANSWERS, "listener https of Gateway .* is not ResolvedRefs: .*expired", certificate_expired,
        alone=True,
    ),
    Fault(
        "controller and proxies are scaled to 0",
        "gateway", "rollout", "scaled to 0 replicas", scaled_to_nothing("envoy-gateway", PROXIES),
        others=(("mlflow", "edge", "leads nowhere: no pod has its selector|no pod is ready behind Service"),),
        alone=True,
    ),
    unguarded("gateway"),
)  # fmt: skip
