# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates: authorities, one identity per program, kubeconfigs and the keys that only the API server reads.

A key and its certificate stand in one PEM file, so that one rename replaces both. Authorities have a
second file, `<name>.crt`, that holds the certificate alone and may be handed out.
"""

from __future__ import annotations

import base64
import ipaddress
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import yaml
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.files import write_file
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS = 3650
CLOCK_SKEW = timedelta(hours=1)
ENCRYPTION_KEY_BYTES = 32  # secretbox takes exactly 32 bytes


@dataclass(frozen=True)
class Pair:
    """A private key with its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def certificate_pem(self) -> bytes:
        """The certificate alone."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key alone."""
        return key_pem(self.key)

    @property
    def pem(self) -> bytes:
        """The key and the certificate."""
        return self.key_pem + self.certificate_pem


@dataclass(frozen=True)
class Identity:
    """Who a program is: a client name, and the names under which it serves (none: it only is a client)."""

    authority: str
    common_name: str
    organization: str = ""
    server_names: tuple[str, ...] = ()


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The private key as PEM, in the form from which the API server also takes the public half of its signing key."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def read_pair(path: Path) -> Pair | None:
    """The pair in the PEM file `path`, or None where the file is missing or unreadable as one."""
    try:
        text = path.read_bytes()
        key = serialization.load_pem_private_key(text, password=None)
        certificate = x509.load_pem_x509_certificate(text)
    except (OSError, ValueError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        return None
    return Pair(key, certificate)


def new_authority(name: str, now: datetime) -> Pair:
    """A self-signed authority called `name`."""
    key = new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        _builder(subject, subject, key, now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Pair(key, builder.sign(key, hashes.SHA256()))


def issue(identity: Identity, authority: Pair, now: datetime, valid: timedelta) -> Pair:
    """A new pair for `identity`, signed by `authority`."""
    key = new_key()
    builder = (
        _builder(_subject(identity), authority.certificate.subject, key, now, valid.total_seconds() / 86400)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_purposes(identity)), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    if identity.server_names:
        names = x509.SubjectAlternativeName([_general_name(name) for name in identity.server_names])
        builder = builder.add_extension(names, critical=False)
    return Pair(key, builder.sign(authority.key, hashes.SHA256()))


def why_replace(pair: Pair | None, identity: Identity, authority: Pair, now: datetime, renew: timedelta) -> str | None:
    """Why the pair of an identity cannot stay, or None when it can."""
    if pair is None:
        return "missing"
    certificate = pair.certificate
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return "another authority"
    if certificate.subject != _subject(identity):
        return "another subject"
    if _server_names(certificate) != {str(_general_name(name).value) for name in identity.server_names}:
        return "other names"
    if certificate.not_valid_after_utc - now < renew:
        return "expires soon"
    return None


def ensure_pki(
    directory: Path,
    authorities: Sequence[str],
    identities: Mapping[str, Identity],
    *,
    cluster: str,
    now: datetime,
    valid: timedelta,
    renew: timedelta,
    pairs: Path | None = None,
    dry_run: bool = False,
) -> dict[str, str]:
    """Make every authority, identity and key file in `directory`; return what was written and why.

    Files: `<authority>.pem` (key and certificate), `<authority>.crt`, `<identity>.pem` (in `pairs` if that is given),
    `service-account.pem` (signs tokens), `encryption.yml` (encrypts Secrets at rest). The last two are made once and
    kept for ever.
    """
    written: dict[str, str] = {}
    issuers: dict[str, Pair] = {}
    pairs = pairs or directory

    def store(name: str, content: bytes, why: str, mode: int = 0o600, folder: Path = directory) -> None:
        if write_file(folder / name, content, mode=mode, dry_run=dry_run):
            written[name] = why

    for name in authorities:
        pair = read_pair(directory / f"{name}.pem")
        why = "unchanged"
        if pair is None or pair.certificate.not_valid_after_utc - now < renew:
            why = "missing" if pair is None else "expires soon"
            pair = new_authority(f"{cluster} {name}", now)
            store(f"{name}.pem", pair.pem, why)
        issuers[name] = pair
        store(f"{name}.crt", pair.certificate_pem, why, mode=0o644)

    for name, identity in identities.items():
        authority = issuers[identity.authority]
        reason = why_replace(read_pair(pairs / f"{name}.pem"), identity, authority, now, renew)
        if reason:
            store(f"{name}.pem", issue(identity, authority, now, valid).pem, reason, folder=pairs)

    if not (directory / "service-account.pem").exists():
        store("service-account.pem", key_pem(new_key()), "missing")
    if not (directory / "encryption.yml").exists():
        store("encryption.yml", encryption_configuration(secrets.token_bytes(ENCRYPTION_KEY_BYTES)), "missing")
    return written


def encryption_configuration(key: bytes) -> bytes:
    """The API server's configuration that encrypts Secrets with `key` before they reach etcd."""
    secretbox = {"keys": [{"name": "key1", "secret": base64.b64encode(key).decode()}]}
    document = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": [{"secretbox": secretbox}, {"identity": {}}]}],
    }
    return yaml.safe_dump(document, sort_keys=False).encode()


def kubeconfig(pair: Pair, authority_pem: bytes, *, server: str, cluster: str, user: str) -> bytes:
    """A kubeconfig that carries all it needs, so that it can be copied elsewhere."""

    def encoded(data: bytes) -> str:
        return base64.b64encode(data).decode()

    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": cluster,
        "clusters": [
            {
                "name": cluster,
                "cluster": {"server": server, "certificate-authority-data": encoded(authority_pem)},
            }
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": encoded(pair.certificate_pem),
                    "client-key-data": encoded(pair.key_pem),
                },
            }
        ],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
    }
    return yaml.safe_dump(document, sort_keys=False).encode()


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: float
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
    )


def _subject(identity: Identity) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, identity.common_name)]
    if identity.organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, identity.organization))
    return x509.Name(attributes)


def _purposes(identity: Identity) -> list[x509.ObjectIdentifier]:
    server = [ExtendedKeyUsageOID.SERVER_AUTH] if identity.server_names else []
    return [*server, ExtendedKeyUsageOID.CLIENT_AUTH]


def _general_name(name: str) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _server_names(certificate: x509.Certificate) -> set[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in extension.value}


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
