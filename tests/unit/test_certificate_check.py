"""The checks of cert-manager against an API that issues, refuses or is silent, with certificates that are real."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from ansible_collections.mlops.platform.plugins.module_utils import certificates
from ansible_collections.mlops.platform.plugins.module_utils.checks.admission import WebhookCheck
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access, CheckFailed, Service
from ansible_collections.mlops.platform.plugins.module_utils.checks.certificate import CertificateCheck, problem
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster, Resource
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Object = dict[str, Any]
Objects = list[Object]
SPACE = "cert-manager"


class Authority:
    """A certificate authority."""

    def __init__(self, name: str = "ca") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = self._builder(self.name, self.key.public_key(), days=1)
        builder = builder.add_extension(x509.BasicConstraints(True, None), True).add_extension(usage, True)
        self.certificate = builder.sign(self.key, hashes.SHA256())

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, days: float) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        mine = x509.SubjectKeyIdentifier.from_public_key(key)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject).issuer_name(self.name).public_key(key).serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2)).not_valid_after(now + timedelta(days=days))
            .add_extension(mine, False).add_extension(issuer, False)
        )  # fmt: skip

    def issue(self, host: str, days: float = 0.5) -> tuple[str, str]:
        """A certificate for a host and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(x509.Name([]), key.public_key(), days)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), True)
        builder = builder.add_extension(x509.BasicConstraints(False, None), True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        pem = builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
        return pem, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


OURS, OTHER = Authority(), Authority()


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (OURS.issue, ""),
        (lambda host: OURS.issue("bank.example.org"), "does not verify for shop.example.org"),
        (OTHER.issue, "does not verify"),
        (lambda host: OURS.issue(host, days=-1), "does not verify"),
        (lambda host: (OURS.issue(host)[0], OURS.issue(host)[1]), "its key is another one's"),
    ],
)
def test_what_a_certificate_must_be(make: Callable[[str], tuple[str, str]], word: str) -> None:
    found = problem(*make("shop.example.org"), OURS.pem, "shop.example.org")
    assert bool(found) == bool(word)
    assert word in found


@dataclass
class Api:
    """A cluster with cert-manager: `says` are the conditions of new Certificates, `issues` makes their Secret."""

    issuer: Object | None = field(default_factory=lambda: {"spec": {"ca": {"secretName": "platform-ca"}}})
    says: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: {"Ready": {"status": "True"}})
    of_request: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    issues: Callable[[str], tuple[str, str]] = OURS.issue
    refusal: str = ""
    secrets: dict[str, dict[str, str]] = field(default_factory=lambda: {"platform-ca": {"ca.crt": OURS.pem}})
    left: list[Object] = field(default_factory=list)
    made: list[Object] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)

    def resource(self, api_version: str, kind: str) -> Resource:
        return Resource(api_version, kind, f"{kind.lower()}s", kind != "ClusterIssuer")

    def request(self, method: str, path: str, *, body: Object) -> Object:
        if self.refusal:
            raise ApiError(self.refusal, 500)
        name = body["metadata"]["name"]
        self.secrets[name] = dict(zip(("tls.crt", "tls.key"), self.issues(body["spec"]["dnsNames"][0]), strict=True))
        self.made.append(body)
        return body

    def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> Object | None:
        if kind == "ClusterIssuer":
            return self.issuer
        return {"metadata": {"uid": "1", "namespace": SPACE}, "status": {"conditions": conditions(self.says)}}

    def list(self, api_version: str, kind: str, namespace: str) -> list[Object]:
        owners = [{"uid": "1"}]
        return [{"metadata": {"ownerReferences": owners}, "status": {"conditions": conditions(self.of_request)}}]

    def list_metadata(self, resource: Resource, namespace: str, selector: str) -> Objects:
        assert selector == "mlops.platform/probe=certificate"
        return self.left if resource.kind == "Secret" else []

    def secret(self, name: str, namespace: str) -> dict[str, str] | None:
        return self.secrets.get(name)

    def delete(self, api_version: str, kind: str, name: str, namespace: str) -> bool:
        self.deleted.append(f"{kind} {name}")
        return True

    def watch(self, *_: object) -> Iterator[Object]:
        time.sleep(0.05)
        yield {}


def conditions(given: Mapping[str, Mapping[str, str]]) -> list[dict[str, str]]:
    return [{"type": kind, **values} for kind, values in given.items()]


def run(api: Api, seconds: float = 1.5) -> tuple[object, object]:
    access = Access(cast(Cluster, api), cast(Forwards, None), SPACE, deadline=time.monotonic() + seconds)
    return CertificateCheck("certificate", Service("cert-manager-webhook", 443), "platform-ca").run(access)


def test_a_certificate_is_made_verified_and_removed() -> None:
    api = Api()
    observed, _ = run(api)
    (made,) = api.made
    name = made["metadata"]["name"]
    assert cast(Object, observed)["verified"] == f"{name}.cert-manager.svc"
    assert made["spec"]["issuerRef"]["name"] == "platform-ca"
    assert api.deleted == [f"Certificate {name}", f"Secret {name}"]


@pytest.mark.parametrize(
    ("api", "message"),
    [
        (Api(issuer=None), "ClusterIssuer platform-ca does not exist"),
        (Api(issuer={"spec": {"ca": {"secretName": "platform-ca"}}, "status": {"conditions": conditions(
            {"Ready": {"status": "False", "message": "no key"}})}}), "ClusterIssuer platform-ca is not Ready: no key"),
        (Api(issues=OTHER.issue), "the certificate is not what was asked for"),
        (Api(says={}), "is not Ready: cert-manager's controller has said nothing of it"),
        (Api(says={"Ready": {"status": "False", "message": "not yet"}}), "is not Ready: not yet"),
        (Api(says={}, of_request={"Ready": {"status": "False", "reason": "Failed", "message": "no CA"}}),
         "is not Ready: no CA"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_told_and_nothing_is_left(api: Api, message: str) -> None:
    with pytest.raises(CheckFailed, match=message):
        run(api)
    assert len(api.deleted) == 2 * len(api.made)


def test_a_request_that_failed_is_not_waited_for() -> None:
    started = time.monotonic()
    with pytest.raises(CheckFailed, match="no CA"):
        run(Api(says={}, of_request={"Ready": {"status": "False", "reason": "Failed", "message": "no CA"}}), seconds=30)
    assert time.monotonic() - started < 5


def test_what_a_killed_run_left_is_removed_and_what_runs_beside_is_not() -> None:
    now = datetime.now(UTC)

    def probe(name: str, age: int) -> Object:
        made = (now - timedelta(seconds=age)).isoformat(timespec="seconds").replace("+00:00", "Z")
        return {"metadata": {"name": name, "creationTimestamp": made}}

    api = Api(left=[probe("old", 700), probe("young", 20)])
    run(api)
    assert api.deleted[:2] == ["Certificate old", "Secret old"]
    assert not any("young" in line for line in api.deleted)


def test_the_authority_of_an_issuer_is_its_certificate_alone() -> None:
    for values in ({"ca.crt": OURS.pem}, {"tls.crt": OURS.pem, "tls.key": "secret"}):
        api = Api(secrets={"platform-ca": values})
        assert certificates.authority(cast(Cluster, api), "platform-ca", SPACE) == OURS.pem


@pytest.mark.parametrize(
    ("api", "message"),
    [
        (Api(issuer=None), "ClusterIssuer platform-ca does not exist"),
        (Api(issuer={"spec": {"selfSigned": {}}}), "ClusterIssuer platform-ca has no authority of its own"),
        (Api(secrets={}), "Secret cert-manager/platform-ca of ClusterIssuer platform-ca has no certificate"),
        (Api(secrets={"platform-ca": {"ca.crt": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"}}),
         "has no certificate"),
    ],
)  # fmt: skip
def test_an_authority_that_is_not_there_is_said_so(api: Api, message: str) -> None:
    with pytest.raises(PlatformError, match=message):
        certificates.authority(cast(Cluster, api), "platform-ca", SPACE)


# The webhook

ISSUER = {"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": {"name": "check", "namespace": SPACE}}
GOOD, BAD = {**ISSUER, "spec": {"selfSigned": {}}}, {**ISSUER, "spec": {}}
DENIED = 'admission webhook "webhook.cert-manager.io" denied the request: spec: Required value'


@dataclass
class Admission(Api):
    """An API server that asks a webhook, or does not."""

    answers: Mapping[bool, str] = field(default_factory=lambda: {False: DENIED})
    names: list[str] = field(default_factory=list)

    def request(self, method: str, path: str, *, body: Object, query: Object | None = None) -> Object:
        assert (method, query) == ("POST", {"dryRun": "All"})
        self.names.append(body["metadata"]["name"])
        if refusal := self.answers.get(bool(body["spec"])):
            raise ApiError(refusal, 403)
        return body


def ask(api: Admission) -> tuple[object, object]:
    check = WebhookCheck("webhook", Service("cert-manager-webhook", 443), "webhook.cert-manager.io", GOOD, BAD)
    return check.run(Access(cast(Cluster, api), cast(Forwards, None), SPACE))


def test_a_webhook_takes_what_is_right_and_denies_what_is_wrong() -> None:
    api = Admission()
    ask(api)
    assert len(set(api.names)) == 2


@pytest.mark.parametrize(
    ("answers", "error", "message"),
    [
        ({}, CheckFailed, "the API server does not ask webhook.cert-manager.io"),
        ({True: 'failed calling webhook "webhook.cert-manager.io": no endpoints'}, ApiError, "no endpoints"),
        ({True: DENIED}, ApiError, "denied the request"),
        ({False: "Issuer is invalid: spec: Required value"}, ApiError, "is invalid"),
    ],
)
def test_what_is_no_webhook_s_answer_is_none(answers: Mapping[bool, str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ask(Admission(answers=answers))
