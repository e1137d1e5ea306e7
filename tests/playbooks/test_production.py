"""The inventory `production` as its owner uses it: with a vault, and with an authority that ends soon."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
SECRETS = ("vaulted-in-a-file", "vaulted-in-a-line")


def run(*command: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run one of Ansible's programs from the checkout."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PLATFORM_"))}
    environment = kept | {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "KUBECONFIG": str(folder / "none"),
        "MLOPS_PLATFORM_REPORTS": str(folder / "reports"),
    }
    program, *arguments = map(str, command)
    return subprocess.run(
        [BIN / program, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def production(tmp_path: Path) -> Path:
    """The inventory with a vault: one file that is encrypted whole, one with an encrypted line."""
    site = tmp_path / "production"
    shutil.copytree(ROOT / "inventories" / "production", site)
    (tmp_path / "password").write_text("open sesame", encoding="utf-8")
    password = f"--vault-password-file={tmp_path / 'password'}"
    vault = site / "group_vars" / "platform" / "vault.yml"
    uri = f"postgresql://mlflow:{SECRETS[0]}@db.example.org/mlflow?sslmode=verify-full"
    vault.write_text(
        f"vault_mlflow_backend_store_uri: {uri}\nvault_platform_image_registry_username: puller\n", encoding="utf-8"
    )
    assert run("ansible-vault", "encrypt", password, vault, folder=tmp_path).returncode == 0
    name = "vault_platform_image_registry_password"
    line = run("ansible-vault", "encrypt_string", password, SECRETS[1], "--name", name, folder=tmp_path).stdout
    (site / "group_vars" / "platform" / "registry.yml").write_text(line, encoding="utf-8")
    assert not [path for path in site.rglob("*.yml") if any(word in path.read_text("utf-8") for word in SECRETS)]
    return site


def test_what_is_in_a_vault_becomes_secrets_and_is_shown_nowhere(production: Path, tmp_path: Path) -> None:
    done = run(
        "ansible-playbook", "tests/golden/specs.yml", "-i", production, "--limit=mlflow", "-vvv", "--diff",
        f"--vault-password-file={tmp_path / 'password'}", "-e", f"component_render_directory={tmp_path}",
        folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    (login,) = [
        secret["values"]
        for secret in json.loads((tmp_path / "mlflow.json").read_text(encoding="utf-8"))["secrets"]
        if secret["name"] == "mlflow-backend-store"
    ]
    assert (login["username"], login["password"]) == ("mlflow", SECRETS[0])
    rendered = (tmp_path / "mlflow.yml").read_text(encoding="utf-8")
    assert "name: mlflow-registry" in rendered
    assert [word for word in SECRETS if word in rendered] == []
    report = "".join(path.read_text("utf-8") for path in (tmp_path / "reports").rglob("*.*") if path.is_file())
    assert [word for word in SECRETS if word in report] == []


def test_an_authority_that_ends_soon_is_a_warning(production: Path, tmp_path: Path) -> None:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "old")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=10))
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    done = run(
        "ansible-playbook", "playbooks/preflight.yml", "-i", production, "-e",
        f"platform_ca_certificates={tmp_path / 'ca.pem'}", f"--vault-password-file={tmp_path / 'password'}",
        folder=tmp_path,
    )  # fmt: skip
    said = " ".join((done.stdout + done.stderr).split())
    assert f"the certificate of CN=old expires on {now + datetime.timedelta(days=10):%Y-%m-%d}" in said
