"""The verbs where there is nothing to talk to, or nothing to do: what they say, what they return, what they touch."""

from __future__ import annotations

import base64
import datetime
import html
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs" / "report.schema.json").read_text(encoding="utf-8"))
KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: nowhere
contexts: [{name: nowhere, context: {cluster: nowhere, user: nobody}}]
clusters: [{name: nowhere, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: nobody, user: {}}]
"""


class Runner:
    """Runs a verb as the Makefile does, with a cache and reports of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "temporary").mkdir()
        self.kubeconfig(KUBECONFIG)

    def __call__(self, verb: str, *options: str, inventory: str = "existing") -> tuple[int, str]:
        """The exit status and the output of a verb."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PLATFORM_"))}
        environment = kept | {
            "KUBECONFIG": str(self.folder / "kubeconfig"),
            "MLOPS_PLATFORM_CACHE": str(self.folder / "cache"),
            "MLOPS_PLATFORM_REPORTS": str(self.folder / "reports"),
            "TMPDIR": str(self.folder / "temporary"),
        }
        command = [sys.executable, str(ROOT / "tools" / "verbs.py"), verb, "--inventory", inventory]
        command += ["--", *options] if options else []
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        return done.returncode, done.stdout

    def kubeconfig(self, text: str) -> None:
        """Write the kubeconfig that the verbs use."""
        (self.folder / "kubeconfig").write_text(text, encoding="utf-8")

    def report(self) -> dict[str, Any]:
        """The newest report, which is what its schema says."""
        path = self.folder / "reports" / "latest" / "report.json"
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator(SCHEMA).validate(found)
        errors = ElementTree.parse(path.with_name("junit.xml")).findall("testsuite/testcase/error")  # noqa: S314  (ours)
        assert len(errors) == len(found["failures"])
        page = path.with_name("report.html").read_text(encoding="utf-8")
        assert all(html.escape(item["next_step"].partition("`")[0]) in page for item in found["failures"])
        return found


@pytest.fixture
def run(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def inventory(folder: Path, text: str) -> str:
    """An inventory with one more line behind that of the component mlflow."""
    path = folder / "inventory"
    path.mkdir()
    hosts = (ROOT / "inventories" / "existing" / "hosts.yml").read_text(encoding="utf-8")
    (path / "hosts.yml").write_text(hosts.replace("        mlflow:\n", f"        mlflow:\n{text}"), encoding="utf-8")
    return str(path)


def test_validate_without_a_cluster_could_not_check(run: Runner) -> None:
    status, output = run("validate")
    assert status == 2, output
    report = run.report()
    assert (report["verb"], report["status"], report["changed"]) == ("validate", "failed", 0)
    assert "http://127.0.0.1:9 cannot be reached" in report["failures"][0]["message"]
    assert "validate: failed, 0 changed, 0 of 0 checks healthy" in output


def test_keys_of_a_kubeconfig_are_not_left_in_temporary_files(run: Runner, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nobody")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = base64.b64encode(certificate.public_bytes(pem)).decode()
    user = f"{{client-certificate-data: {public}, client-key-data: {base64.b64encode(secret).decode()}}}"
    run.kubeconfig(KUBECONFIG.replace("user: {}", f"user: {user}").replace("http:", "https:"))
    status, output = run("validate")
    assert status == 2, output
    assert "https://127.0.0.1:9 cannot be reached" in output
    assert [
        path for path in (tmp_path / "temporary").rglob("*") if path.is_file() and secret in path.read_bytes()
    ] == []


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("        mlfow:\n", "inventory: unknown component 'mlfow'; did you mean mlflow?"),
        (
            "          mlflow_port: many\n",
            "hosts.yml:{line}: mlflow_port is 'many': this is text; allowed is a whole number",
        ),
        (
            "          mlflow_replica: 2\n",
            "hosts.yml:{line}: mlflow_replica: the role mlflow has no such variable; did you mean mlflow_replicas?",
        ),
    ],
    ids=["component", "type", "variable"],
)
def test_a_mistake_in_the_inventory_is_said_at_once(run: Runner, tmp_path: Path, lines: str, message: str) -> None:
    path = inventory(tmp_path, lines)
    line = (Path(path) / "hosts.yml").read_text(encoding="utf-8").splitlines().index(lines.rstrip()) + 1
    status, output = run("site", inventory=path)
    assert status != 0
    assert "1 problem, nothing was touched" in output
    assert message.format(line=line) in output
    assert run.report()["status"] == "failed"


def test_a_missing_requirement_is_named_with_what_may_stand_instead(run: Runner, tmp_path: Path) -> None:
    path = inventory(tmp_path, "")
    hosts = tmp_path / "inventory" / "hosts.yml"
    hosts.write_text(hosts.read_text(encoding="utf-8").replace("        minio:\n", ""), encoding="utf-8")
    status, output = run("site", inventory=path)
    assert status != 0
    assert "mlflow requires minio, which is not in the group components" in output
    assert "set mlflow_s3_endpoint_url to an external endpoint" in output
