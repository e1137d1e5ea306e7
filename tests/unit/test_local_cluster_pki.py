"""Certificates of the local cluster: chains, names, renewal, and what never changes."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster import pki
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
YEAR = timedelta(days=365)
MONTH = timedelta(days=30)
SERVER = pki.Identity("cluster-ca", "kube-apiserver", server_names=("kubernetes", "10.96.0.1"))
ADMIN = pki.Identity("cluster-ca", "admin", organization="administrators")


def ensure(
    directory: Path, now: datetime = NOW, server: pki.Identity = SERVER, *, dry_run: bool = False
) -> dict[str, str]:
    return pki.ensure_pki(
        directory,
        ["cluster-ca", "etcd-ca"],
        {"server": server, "admin": ADMIN},
        cluster="test",
        now=now,
        valid=YEAR,
        renew=MONTH,
        dry_run=dry_run,
    )


def pair(directory: Path, name: str) -> pki.Pair:
    found = pki.read_pair(directory / f"{name}.pem")
    assert found is not None
    return found


def test_first_run_writes_everything_closed_to_others(tmp_path: Path) -> None:
    assert set(ensure(tmp_path)) == {
        "cluster-ca.pem",
        "cluster-ca.crt",
        "etcd-ca.pem",
        "etcd-ca.crt",
        "server.pem",
        "admin.pem",
        "service-account.pem",
        "encryption.yml",
    }
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o777 == (0o644 if path.suffix == ".crt" else 0o600)


def test_public_authority_file_holds_no_key(tmp_path: Path) -> None:
    ensure(tmp_path)
    assert b"PRIVATE" not in (tmp_path / "cluster-ca.crt").read_bytes()


def test_second_run_changes_nothing(tmp_path: Path) -> None:
    ensure(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert ensure(tmp_path) == {}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_dry_run_says_what_is_missing_and_writes_nothing(tmp_path: Path) -> None:
    assert "server.pem" in ensure(tmp_path / "pki", dry_run=True)
    assert not (tmp_path / "pki").exists()


def test_certificates_chain_to_their_own_authority_only(tmp_path: Path) -> None:
    ensure(tmp_path)
    certificate = pair(tmp_path, "server").certificate
    certificate.verify_directly_issued_by(pair(tmp_path, "cluster-ca").certificate)
    with pytest.raises(ValueError, match="does not match"):
        certificate.verify_directly_issued_by(pair(tmp_path, "etcd-ca").certificate)


def test_server_names_and_purposes(tmp_path: Path) -> None:
    ensure(tmp_path)
    extensions = pair(tmp_path, "server").certificate.extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["kubernetes"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.96.0.1"]
    assert ExtendedKeyUsageOID.SERVER_AUTH in extensions.get_extension_for_class(x509.ExtendedKeyUsage).value

    client = pair(tmp_path, "admin").certificate
    assert list(client.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ]
    assert client.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "administrators"
    assert not client.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_only_the_certificate_whose_names_changed_is_replaced(tmp_path: Path) -> None:
    ensure(tmp_path)
    moved = pki.Identity("cluster-ca", "kube-apiserver", server_names=("kubernetes", "10.96.0.2"))
    assert ensure(tmp_path, server=moved) == {"server.pem": "other names"}


@pytest.mark.parametrize(
    ("days", "expected"), [(334, {}), (336, {"server.pem": "expires soon", "admin.pem": "expires soon"})]
)
def test_renewal_a_month_before_the_end(tmp_path: Path, days: int, expected: dict[str, str]) -> None:
    ensure(tmp_path)
    assert ensure(tmp_path, NOW + timedelta(days=days)) == expected


def test_a_new_authority_replaces_what_the_old_one_signed(tmp_path: Path) -> None:
    ensure(tmp_path)
    (tmp_path / "cluster-ca.pem").unlink()
    written = ensure(tmp_path)
    assert written["server.pem"] == "another authority"
    assert "etcd-ca.pem" not in written


def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    ensure(tmp_path)
    (tmp_path / "admin.pem").write_text("half a fi")
    assert ensure(tmp_path) == {"admin.pem": "missing"}


def test_a_certificate_with_another_key_is_replaced(tmp_path: Path) -> None:
    ensure(tmp_path)
    mixed = pair(tmp_path, "server").key_pem + pair(tmp_path, "admin").certificate_pem
    (tmp_path / "admin.pem").write_bytes(mixed)
    assert ensure(tmp_path) == {"admin.pem": "missing"}


def test_encryption_key_is_long_enough_and_kept(tmp_path: Path) -> None:
    ensure(tmp_path)
    text = (tmp_path / "encryption.yml").read_bytes()
    document = yaml.safe_load(text)
    [rule] = document["resources"]
    assert rule["resources"] == ["secrets"]
    key = base64.b64decode(rule["providers"][0]["secretbox"]["keys"][0]["secret"])
    assert len(key) == 32
    assert rule["providers"][-1] == {"identity": {}}
    ensure(tmp_path, NOW + timedelta(days=3000))
    assert (tmp_path / "encryption.yml").read_bytes() == text


def test_signing_key_is_in_the_form_that_gives_its_public_half(tmp_path: Path) -> None:
    ensure(tmp_path)
    text = (tmp_path / "service-account.pem").read_bytes()
    assert text.startswith(b"-----BEGIN EC PRIVATE KEY-----")
    serialization.load_pem_private_key(text, password=None)


def test_kubeconfig_carries_all_it_needs(tmp_path: Path) -> None:
    ensure(tmp_path)
    authority = (tmp_path / "cluster-ca.crt").read_bytes()
    text = pki.kubeconfig(
        pair(tmp_path, "admin"), authority, server="https://10.95.0.1:6443", cluster="test", user="admin"
    )
    document = yaml.safe_load(text)
    assert document["current-context"] == "test"
    cluster = document["clusters"][0]["cluster"]
    assert cluster["server"] == "https://10.95.0.1:6443"
    assert base64.b64decode(cluster["certificate-authority-data"]) == authority
    user = document["users"][0]["user"]
    assert set(user) == {"client-certificate-data", "client-key-data"}
