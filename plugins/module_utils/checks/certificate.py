# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate that cert-manager issues from an authority of the cluster."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from ansible_collections.mlops.platform.plugins.module_utils import certificates
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import (
    PROBE_LABEL,
    Access,
    Check,
    CheckFailed,
    abandoned,
    expect,
)
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster, Object
from ansible_collections.mlops.platform.plugins.module_utils.rollout import conditions, owned
from ansible_collections.mlops.platform.plugins.module_utils.waiting import Waker
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

KIND = "certificate"
LAST_SECONDS = 1.0
"""Time before the deadline in which a failure is put into words."""
DURATION = "1h"
"""The shortest validity that cert-manager gives."""
ENDED = ("Failed", "Denied")
"""The reasons of a request that is not gone on with
(https://cert-manager.io/docs/usage/certificaterequest/#conditions)."""
API = certificates.CERT_MANAGER_API


@dataclass(frozen=True)
class CertificateCheck(Check):
    """A new Certificate of the ClusterIssuer `issuer` gets Ready and is what it should be; then it is removed.

    Its chain verifies against the issuer's authority for the name that was asked for, and its key is the
    certificate's. It is made in the namespace in which the issuer's Secret is.
    """

    issuer: str

    @property
    def target(self) -> str:
        return f"ClusterIssuer {self.issuer}"

    def run(self, access: Access) -> tuple[object, object]:
        cluster, space = access.cluster, access.namespace
        self._is_ready(cluster)
        authority = certificates.authority(cluster, self.issuer, space)
        _remove_left(cluster, space)
        name, started = f"certificate-probe-{secrets.token_hex(4)}", time.monotonic()
        host = f"{name}.{space}.svc"
        path = cluster.resource(API, "Certificate").path(space)
        cluster.request("POST", path, body=self._manifest(name, space, host))
        try:
            self._await_ready(access, name)
            seconds = time.monotonic() - started
            chain, key = access.secret(name, "tls.crt", "tls.key")
            expect(problem(chain, key, authority, host), "", "the certificate is not what was asked for")
        finally:
            _remove(cluster, name, space)
        return {"ready_seconds": round(seconds, 1), "verified": host}, f"a certificate that {self.issuer} vouches for"

    def _is_ready(self, cluster: Cluster) -> None:
        found = cluster.get(API, "ClusterIssuer", self.issuer)
        if found is None:
            raise CheckFailed(f"ClusterIssuer {self.issuer} does not exist", "absent", "Ready")
        ready = conditions(found).get("Ready", {})
        if ready.get("status") == "False":
            raise CheckFailed(f"ClusterIssuer {self.issuer} is not Ready: {ready.get('message')}", "not Ready", "Ready")

    def _manifest(self, name: str, namespace: str, host: str) -> Object:
        labels = {PROBE_LABEL: KIND}
        return {
            "apiVersion": API,
            "kind": "Certificate",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {
                "secretName": name,
                "secretTemplate": {"labels": labels},
                "dnsNames": [host],
                "duration": DURATION,
                "privateKey": {"algorithm": "ECDSA", "size": 256},
                "issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": self.issuer},
            },
        }

    def _await_ready(self, access: Access, name: str) -> None:
        """Return when the Certificate is Ready. Raises CheckFailed with what keeps it from that at the deadline."""
        cluster, space = access.cluster, access.namespace
        paths = {cluster.resource(API, "Certificate").path(space)}
        with Waker(cluster, paths, f"{PROBE_LABEL}={KIND}") as waker:
            while True:
                found = cluster.get(API, "Certificate", name, space) or {"metadata": {}}
                if conditions(found).get("Ready", {}).get("status") == "True":
                    return
                left = access.left - LAST_SECONDS
                said, final = _last_word(cluster, found)
                if final or left <= 0:
                    self._is_ready(cluster)
                    nobody = "cert-manager's controller has said nothing of it"
                    observed = "not Ready" if said else None
                    raise CheckFailed(f"Certificate {name} is not Ready: {said or nobody}", observed, "Ready")
                waker.wait(min(2.0, left))


def _last_word(cluster: Cluster, certificate: Object) -> tuple[str, bool]:
    """What cert-manager says of a Certificate that is not Ready, "" for nothing, and whether that is final."""
    metadata = certificate["metadata"]
    requests = cluster.list(API, "CertificateRequest", metadata.get("namespace"))
    for item in [*owned(requests, metadata.get("uid", "")), certificate]:
        for condition in conditions(item).values():
            if condition.get("status") == "False" and condition.get("message"):
                return str(condition["message"]), condition.get("reason") in ENDED
    return "", False


def problem(chain: str, key: str, authority: str, host: str) -> str:
    """What is wrong with a certificate (PEM, its own first) of an authority for a host, and its key; "" for nothing."""
    own, *between = x509.load_pem_x509_certificates(chain.encode())
    trusted = x509.load_pem_x509_certificates(authority.encode())
    try:
        verifier = PolicyBuilder().store(Store(trusted)).build_server_verifier(x509.DNSName(host))
        verifier.verify(own, between)
    except VerificationError as error:
        return f"it does not verify for {host}: {error}"
    same = load_pem_private_key(key.encode(), None).public_key() == own.public_key()
    return "" if same else "its key is another one's"


def _remove_left(cluster: Cluster, namespace: str) -> None:
    """Remove what runs left that were killed."""
    for kind in (API, "Certificate"), ("v1", "Secret"):
        for item in cluster.list_metadata(cluster.resource(*kind), namespace, f"{PROBE_LABEL}={KIND}"):
            if abandoned(item):
                _remove(cluster, item["metadata"]["name"], namespace)


def _remove(cluster: Cluster, name: str, namespace: str) -> None:
    """Remove a Certificate, and then its Secret: the other way round a new one would be issued."""
    cluster.delete(API, "Certificate", name, namespace)
    cluster.delete("v1", "Secret", name, namespace)
