# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificate authorities, a site's and the platform's own: read, checked, handed to the clients of this machine."""

from __future__ import annotations

import datetime
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import certifi
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from cryptography import x509

CERT_MANAGER_API = "cert-manager.io/v1"
VARIABLE = "platform_ca_certificates"
SOON = datetime.timedelta(days=30)
BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----", re.DOTALL)


def read(value: str) -> str:
    """The certificates that `value` gives, as PEM text or as the path of a PEM file; "" for "".

    Comments between them are left out. Raises PlatformError for a file that cannot be read, for what is no
    certificate (a private key above all), and for certificates that are not valid now.
    """
    return "".join(f"{block}\n" for block, _ in _certificates(value))


def expiring(value: str, now: datetime.datetime | None = None) -> list[str]:
    """A warning for each certificate that ends within 30 days. Raises what `read` raises."""
    moment = now or datetime.datetime.now(datetime.UTC)
    return [
        f"{VARIABLE}: {_name(found)} expires on {found.not_valid_after_utc:%Y-%m-%d}"
        for _, found in _certificates(value, moment)
        if found.not_valid_after_utc - moment < SOON
    ]


def authority(cluster: Cluster, issuer: str, namespace: str) -> str:
    """The certificate (PEM) of the authority from which a ClusterIssuer of cert-manager issues; nothing of its key.

    `namespace` is cert-manager's, where the Secrets of ClusterIssuers are. Raises PlatformError where there is no such
    issuer, it issues from no Secret, or there is no certificate in that.
    """
    found = cluster.get(CERT_MANAGER_API, "ClusterIssuer", issuer)
    name = ((found or {}).get("spec", {}).get("ca") or {}).get("secretName")
    if not name:
        raise PlatformError(f"ClusterIssuer {issuer} {'has no authority of its own' if found else 'does not exist'}")
    values = cluster.secret(name, namespace) or {}
    block = BLOCK.search(values.get("ca.crt") or values.get("tls.crt") or "")
    try:
        x509.load_pem_x509_certificate(block[0].encode() if block else b"")
    except ValueError as error:
        raise PlatformError(f"Secret {namespace}/{name} of ClusterIssuer {issuer} has no certificate") from error
    return f"{block[0]}\n" if block else ""


@contextmanager
def trusted(certificates: str) -> Iterator[str]:
    """The path of a file with the public authorities and the PEM text `certificates`; removed at the end."""
    with tempfile.NamedTemporaryFile("w", prefix="mlops-platform-", suffix=".pem") as file:
        file.write(Path(certifi.where()).read_text(encoding="utf-8") + "\n" + certificates)
        file.flush()
        yield file.name


def _certificates(value: str, now: datetime.datetime | None = None) -> list[tuple[str, x509.Certificate]]:
    if not value.strip():
        return []
    moment = now or datetime.datetime.now(datetime.UTC)
    found: list[tuple[str, x509.Certificate]] = []
    for number, block in enumerate(BLOCK.finditer(_text(value)), 1):
        if block[1] != "CERTIFICATE":
            raise PlatformError(f"{VARIABLE}: block {number} is a {block[1]}; only CERTIFICATE blocks are allowed")
        try:
            certificate = x509.load_pem_x509_certificate(block[0].encode())
        except ValueError as error:
            raise PlatformError(f"{VARIABLE}: block {number} is no certificate: {error}") from error
        if certificate.not_valid_after_utc < moment:
            raise PlatformError(
                f"{VARIABLE}: {_name(certificate)} expired on {certificate.not_valid_after_utc:%Y-%m-%d}; "
                "give the authority's new certificate"
            )
        if certificate.not_valid_before_utc > moment:
            raise PlatformError(
                f"{VARIABLE}: {_name(certificate)} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"
            )
        found.append((block[0], certificate))
    if not found:
        raise PlatformError(f"{VARIABLE}: no certificate in it; PEM text has -----BEGIN CERTIFICATE----- lines")
    return found


def _text(value: str) -> str:
    if "-----BEGIN" in value or "\n" in value.strip():
        return value
    path = Path(value.strip()).expanduser()
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise PlatformError(
            f"{VARIABLE}: the file {path} cannot be read: {reason}; give PEM text or the path of a PEM file"
        ) from error


def _name(certificate: x509.Certificate) -> str:
    return f"the certificate of {certificate.subject.rfc4514_string() or 'nobody'}"
