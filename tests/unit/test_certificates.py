"""Authorities that a site declares: read from text or file, refused where they would not work."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import certifi
import pytest
from ansible_collections.mlops.platform.plugins.module_utils.certificates import expiring, read, trusted
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

KEY = ec.generate_private_key(ec.SECP256R1())
PEM = serialization.Encoding.PEM
PRIVATE = KEY.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


def authority(name: str, begin: float = -1, end: float = 365) -> str:
    """A self-signed certificate, valid from and to so many days from now."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(subject, subject, KEY.public_key(), x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=begin))
        .not_valid_after(now + datetime.timedelta(days=end))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(KEY, hashes.SHA256())
    )
    return made.public_bytes(PEM).decode()


def test_text_and_file_give_the_same(tmp_path: Path) -> None:
    text = authority("one") + authority("two")
    (tmp_path / "ca.pem").write_text(f"# comments are left out\n{text}", encoding="utf-8")
    assert read(text) == read(str(tmp_path / "ca.pem")) == text


def test_nothing_is_nothing() -> None:
    assert read("") == read(" \n") == ""
    assert expiring("") == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("/nowhere/ca.pem", "the file /nowhere/ca.pem cannot be read: No such file or directory"),
        ("two\nlines", "no certificate in it"),
        (authority("fine") + PRIVATE, "block 2 is a PRIVATE KEY"),
        ("-----BEGIN CERTIFICATE-----\nbm90IG9uZQ==\n-----END CERTIFICATE-----", "block 1 is no certificate"),
        (authority("old", -10, -1), "the certificate of CN=old expired on "),
        (authority("early", 1, 10), "the certificate of CN=early is not valid before "),
    ],
    ids=["file", "no PEM", "private key", "not a certificate", "expired", "not yet"],
)
def test_what_would_not_work_is_refused_without_repeating_it(value: str, message: str) -> None:
    with pytest.raises(PlatformError, match=message) as caught:
        read(value)
    assert str(caught.value).startswith("platform_ca_certificates: ")
    assert PRIVATE.splitlines()[1] not in str(caught.value)


def test_what_ends_soon_is_a_warning() -> None:
    assert expiring(authority("long")) == []
    (warning,) = expiring(authority("long") + authority("short", end=10))
    assert "CN=short expires on " in warning


def test_clients_trust_the_public_authorities_too() -> None:
    with trusted(authority("own")) as path:
        context = ssl.create_default_context(cafile=path)
        public = ssl.create_default_context(cafile=certifi.where())
        assert context.cert_store_stats()["x509_ca"] == public.cert_store_stats()["x509_ca"] + 1
    assert not Path(path).exists()
