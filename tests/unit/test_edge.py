"""What the check of the edge sees, by real connections to a server with TLS, and how it tells causes."""

from __future__ import annotations

import datetime
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
from ansible_collections.mlops.platform.plugins.module_utils import certificates, gateway
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access, CheckFailed, Service
from ansible_collections.mlops.platform.plugins.module_utils.checks.edge import EdgeCheck
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster, Object
from ansible_collections.mlops.platform.plugins.module_utils.component import Component
from ansible_collections.mlops.platform.plugins.module_utils.configure import gateway as step
from ansible_collections.mlops.platform.plugins.module_utils.configure.gateway import GatewayStep
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards, NobodyReady
from ansible_collections.mlops.platform.plugins.module_utils.health import access_lines
from ansible_collections.mlops.platform.plugins.module_utils.waiting import NotReady
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOST = "web.example.org"
GOOD = [{"type": "Accepted", "status": "True"}, {"type": "Programmed", "status": "True"}]


def condition(kind: str, reason: str, message: str) -> dict[str, str]:
    return {"type": kind, "status": "False", "reason": reason, "message": message}


def gateway_object(**status: Any) -> Object:
    listeners = [{"name": "http", "protocol": "HTTP", "port": 80}, {"name": "https", "protocol": "HTTPS", "port": 443}]
    return {
        "apiVersion": gateway.API,
        "metadata": {"name": "platform", "namespace": "edge"},
        "spec": {"listeners": listeners},
        "status": {"conditions": GOOD, **status},
    }


def route_object(*conditions: Mapping[str, object], taken: bool = True) -> Object:
    parents = [{"parentRef": {"name": "platform"}, "conditions": list(conditions)}] if taken else []
    return {"apiVersion": gateway.API, "metadata": {"name": "web", "namespace": "ml"}, "status": {"parents": parents}}


SERVICE: Object = {
    "metadata": {"name": "platform", "namespace": "edge"},
    "spec": {"type": "NodePort", "ports": [{"port": 443, "nodePort": 30443}]},
}


def node(address: str, ready: str = "True") -> Object:
    """A node with an address; one that says nothing is `Unknown`."""
    conditions = [{"type": "Ready", "status": ready}]
    return {"status": {"addresses": [{"type": "InternalIP", "address": address}], "conditions": conditions}}


@dataclass
class Stub:
    """A cluster that has what it was given, and whose Services all lead to `port` of this machine."""

    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    services: list[Object] = field(default_factory=lambda: [SERVICE])
    ports: dict[int, int] = field(default_factory=dict)
    refusal: PlatformError | None = None

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object | None:
        return self.objects.get((kind, name))

    def list(self, api_version: str, kind: str, namespace: str | None = None, selector: str = "") -> list[Object]:
        if kind == "Node":
            return [node("192.0.2.8", ready="Unknown"), node("192.0.2.9")]
        return self.services if "owning-gateway-name=platform" in selector else []

    def port(self, namespace: str, service: str, port: int) -> int:
        if self.refusal:
            raise self.refusal
        return self.ports[port]

    def trouble(self, namespace: str, service: str, port: int) -> PlatformError | None:
        return None

    def access(self) -> Access:
        return Access(cast(Cluster, self), cast(Forwards, self), "ml")


def certificate(
    name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None, days: int = 1
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A certificate for a host, or of an authority, which nobody has issued."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=10))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer:
        known = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer[1].public_key())
        builder = builder.add_extension(known, critical=False)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def pem(found: x509.Certificate) -> str:
    return found.public_bytes(serialization.Encoding.PEM).decode()


AUTHORITY = certificate("An authority", None)


class Handler(BaseHTTPRequestHandler):
    """Answers with the host that it was asked for, and redirects plain requests."""

    def do_GET(self) -> None:
        host = self.headers["Host"]
        plain = not isinstance(self.connection, ssl.SSLSocket)
        status = {"/redirected": 301, "/missing": 404, "/": 301 if plain else 200}.get(self.path, 200)
        self.send_response(status)
        if status == 301:
            self.send_header("Location", f"https://{host}:30443{self.path}")
        self.end_headers()
        self.wfile.write(f"this is {host}".encode())

    def log_message(self, *_: object) -> None:
        pass


def serve(days: int, host: str, folder: Path) -> Iterator[int]:
    """The port of a server whose certificate is for `host` and ends in `days`."""
    found, key = certificate(host, AUTHORITY, days)
    path = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(pem(found).encode() + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_port
    server.shutdown()


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[int]:
    """A server with a good certificate."""
    yield from serve(1, HOST, tmp_path)


@pytest.fixture
def plain() -> Iterator[int]:
    """A server without TLS."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_port
    server.shutdown()


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The authority that a ClusterIssuer signs with; another one has none."""

    def authority(_: Cluster, issuer: str, namespace: str) -> str:
        if (issuer, namespace) != ("platform-ca", "cert-manager"):
            raise PlatformError(f"ClusterIssuer {issuer} has no authority of its own")
        return pem(AUTHORITY[0])

    monkeypatch.setattr(certificates, "authority", authority)


CHECK = EdgeCheck("edge", Service("platform", 443, "edge"), HOST, issuer="platform-ca", issuer_namespace="cert-manager")


def stub(port: int = 0, **more: Any) -> Stub:
    return Stub({("Gateway", "platform"): gateway_object(**more)}, ports={443: port, 80: port})


def test_a_host_answers_by_its_own_name_with_a_certificate_of_the_authority(secure: int) -> None:
    assert replace(CHECK, contains=f"this is {HOST}").run(stub(secure).access()) == (200, 200)


def test_another_status_and_another_body_fail(secure: int) -> None:
    with pytest.raises(CheckFailed, match=f"https://{HOST}/missing answered 404: this is {HOST}") as failure:
        replace(CHECK, path="/missing").run(stub(secure).access())
    assert failure.value.observed == 404
    with pytest.raises(CheckFailed, match="answered without 'welcome'"):
        replace(CHECK, contains="welcome").run(stub(secure).access())


def test_no_redirect_is_followed(secure: int) -> None:
    with pytest.raises(CheckFailed, match="answered 301"):
        replace(CHECK, path="/redirected").run(stub(secure).access())


def test_an_authority_that_nobody_trusts_fails(secure: int) -> None:
    for issuer in ("", "acme"):
        with pytest.raises(CheckFailed, match="unable to get local issuer certificate"):
            replace(CHECK, issuer=issuer).run(stub(secure).access())


@pytest.mark.parametrize(
    ("days", "host", "words"), [(-1, HOST, "certificate has expired"), (1, "else.example.org", "doesn't match")]
)
def test_a_certificate_that_is_none_for_the_host_fails(days: int, host: str, words: str, tmp_path: Path) -> None:
    for port in serve(days, host, tmp_path):
        with pytest.raises(CheckFailed, match=words):
            CHECK.run(stub(port).access())


def test_plain_http_must_lead_to_https(plain: int, secure: int) -> None:
    check = replace(CHECK, plain=True, status=301)
    assert check.run(stub(plain).access()) == (f"301 https://{HOST}:30443/", f"301 https://{HOST}")
    with pytest.raises(CheckFailed, match=f"http://{HOST}/x is not redirected to HTTPS, but answered 200"):
        replace(check, path="/x").run(stub(plain).access())


def test_what_the_gateway_complains_of_comes_first(plain: int) -> None:
    broken = {"name": "https", "conditions": [condition("ResolvedRefs", "InvalidCertificateRef", "Secret is expired")]}
    with pytest.raises(CheckFailed) as failure:
        CHECK.run(stub(plain, listeners=[broken]).access())
    said = "listener https of Gateway edge/platform is not ResolvedRefs: InvalidCertificateRef: Secret is expired; "
    assert str(failure.value).startswith(said + f"https://{HOST}/: ")


def of_type(kind: str) -> Object:
    """The Gateway's Service as one of another type."""
    return {**SERVICE, "spec": {**SERVICE["spec"], "type": kind}}


def test_an_answer_does_not_outweigh_an_address_that_is_missing(secure: int) -> None:
    there = stub(secure, conditions=[GOOD[0], condition("Programmed", "AddressNotAssigned", "No addresses")])
    assert CHECK.run(there.access()) == (200, 200)  # people come by the nodes' addresses
    there.services = [of_type("LoadBalancer")]
    said = "Gateway edge/platform is not Programmed: AddressNotAssigned: No addresses"
    with pytest.raises(CheckFailed, match=f"^{said}; https://{HOST}/ answers$"):
        CHECK.run(there.access())


@pytest.mark.parametrize(
    ("route", "words"),
    [
        (None, "HTTPRoute ml/web does not exist; "),
        (route_object(condition("ResolvedRefs", "BackendNotFound", "Service ml/web not found")),
         "HTTPRoute ml/web is not ResolvedRefs: BackendNotFound: Service ml/web not found; "),
    ],
)  # fmt: skip
def test_what_a_route_complains_of_is_told(route: Object | None, words: str, secure: int) -> None:
    there = stub(secure)
    if route:
        there.objects["HTTPRoute", "web"] = route
    with pytest.raises(CheckFailed, match=f"^{words}"):
        replace(CHECK, route="web", path="/missing").run(there.access())


def test_a_route_that_nobody_has_looked_at_is_waited_for(secure: int) -> None:
    there = stub(secure)
    stale = {"type": "Accepted", "status": "True", "observedGeneration": 1}
    changed = route_object(stale)
    changed["metadata"]["generation"] = 2
    for route in (route_object(taken=False), changed):
        there.objects["HTTPRoute", "web"] = route
        with pytest.raises(
            NobodyReady, match=r"^no controller has looked at HTTPRoute ml/web for Gateway edge/platform"
        ):
            replace(CHECK, route="web", path="/missing").run(there.access())


def test_proxies_that_are_not_there_yet_are_waited_for() -> None:
    there = stub(conditions=[condition("Programmed", "NoResources", "Envoy replicas unavailable")])
    there.refusal = NobodyReady("no pod is ready behind Service edge/platform")
    with pytest.raises(NobodyReady, match=r"not Programmed: NoResources: .*; no pod is ready behind"):
        CHECK.run(there.access())


def test_a_gateway_that_is_not_there_is_named() -> None:
    with pytest.raises(PlatformError, match=r"^Gateway edge/platform does not exist$"):
        CHECK.run(Stub().access())


def test_a_gateway_outside_of_the_cluster_is_asked_at_its_address(secure: int) -> None:
    there = stub(addresses=[{"type": "IPAddress", "value": "127.0.0.1"}])
    there.services = []
    there.objects["Gateway", "platform"]["spec"]["listeners"][1]["port"] = secure
    assert CHECK.run(there.access()) == (200, 200)
    there.objects["Gateway", "platform"]["status"]["addresses"] = []
    with pytest.raises(NobodyReady, match="Gateway edge/platform has no address"):
        CHECK.run(there.access())


@pytest.mark.parametrize(
    ("route", "words"),
    [
        (None, "Route ml/web does not exist"),
        ({"status": {}}, "no router has taken Route ml/web"),
        ({"status": {"ingress": [{"host": HOST, "conditions": [
            {"type": "Admitted", "status": "False", "reason": "HostAlreadyClaimed", "message": "taken"}]}]}},
         "no router has taken Route ml/web: HostAlreadyClaimed: taken"),
    ],
)  # fmt: skip
def test_on_openshift_a_route_must_have_been_taken(route: Object | None, words: str) -> None:
    there = Stub({("Route", "web"): route} if route else {})
    with pytest.raises(PlatformError, match=f"^{words}$"):
        replace(CHECK, route="web", openshift=True).run(there.access())


def test_a_router_is_known_by_its_own_name() -> None:
    ingress = {"host": HOST, "routerCanonicalHostname": "router.example.org",
               "conditions": [{"type": "Admitted", "status": "True"}]}  # fmt: skip
    there = Stub({("Route", "web"): {"status": {"ingress": [ingress]}}})
    assert gateway.router(cast(Cluster, there), "web", "ml") == "router.example.org"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("NodePort", ("192.0.2.9", 30443)), ("LoadBalancer", ("192.0.2.1", 443)), ("ClusterIP", ("", 443))],
)
def test_people_find_the_edge_at_its_address_and_port(kind: str, expected: tuple[str, int]) -> None:
    there = stub(addresses=[{"value": "192.0.2.1"}])
    there.services = [of_type(kind)]
    assert gateway.entrance(cast(Cluster, there), "platform", "edge") == expected


def test_how_people_ask_without_a_name_server() -> None:
    assert gateway.url(HOST, 443) == f"https://{HOST}"
    assert gateway.url(HOST, 30443) == f"https://{HOST}:30443"
    assert gateway.curl("192.0.2.1", 30443, "ca.crt") == "curl --cacert ca.crt --resolve '*:30443:192.0.2.1'"
    assert gateway.curl("192.0.2.1", 443, "") == "curl --resolve '*:443:192.0.2.1'"


COMPONENT = Component.parse(
    {
        "name": "gateway",
        "version": "1",
        "namespace": "edge",
        "access": [
            {"name": "Edge", "host": HOST, "service": {"name": "platform", "port": 443}, "issuer": "platform-ca"},
            {
                "name": "Web",
                "host": HOST,
                "service": {"name": "platform", "port": 443},
                "openshift": True,
                "secret": "s",
            },
        ],
    }
)


def test_the_end_of_a_run_shows_where_the_edge_is() -> None:
    assert access_lines(cast(Cluster, stub()), COMPONENT, "ca.crt") == [
        f"Edge: https://{HOST}:30443",
        "Edge without DNS: curl --cacert ca.crt --resolve '*:30443:192.0.2.9' <URL>",
        f"Web: https://{HOST}  (login: Secret edge/s)",
    ]


STEP = GatewayStep(Service("platform", 443, "edge"), "gateway")


def test_a_gateway_that_gets_no_address_in_time_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "READY_SECONDS", -1.0)
    there = stub(conditions=[GOOD[0], condition("Programmed", "AddressNotAssigned", "No addresses")])
    assert STEP.apply(there.access(), check_mode=False) == []  # it is at the nodes' ports
    there.services = [of_type("LoadBalancer")]
    with pytest.raises(NotReady, match="Gateway edge/platform is not Programmed: AddressNotAssigned"):
        STEP.apply(there.access(), check_mode=False)
