"""MLflow on what is not the platform's own: looked at from both ends, and with every wrong thing once."""

from __future__ import annotations

import contextlib
import crypt
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import boto3
import psycopg2
import pytest
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster
from mlflow import MlflowClient

if TYPE_CHECKING:
    from psycopg2.extensions import connection

ROOT = Path(__file__).parents[3]
BYO = ROOT / ".ansible" / "byo"
"""What prepare.yml made."""
REGISTRY_PORT = 5055


@dataclass(frozen=True)
class Run:
    """What a run of the playbook returned and said, everything that it can be asked to say included."""

    status: int
    output: str
    report: dict[str, Any]


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    """What prepare.yml says of the endpoints."""
    found: dict[str, Any] = json.loads((BYO / "facts.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def cluster(facts: dict[str, Any]) -> Cluster:
    """The cluster, as its administrator."""
    return Cluster(facts["kubeconfig"])


@pytest.fixture
def site(tmp_path: Path) -> Callable[..., Run]:
    """Runs a playbook again, with other variables; its reports are its own."""

    def run(playbook: str = "site", **variables: object) -> Run:
        program = Path(sys.executable).parent / "ansible-playbook"
        given = tmp_path / "variables.json"  # a command line is echoed, a file is not
        given.write_text(json.dumps(variables), encoding="utf-8")
        environment = os.environ | {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "MLOPS_PLATFORM_REPORTS": str(tmp_path / "reports"),
        }
        done = subprocess.run(
            [program, f"playbooks/{playbook}.yml", "-i", "molecule/byo/inventory", "-e", f"@{given}", "-vvv", "--diff"],
            env=environment, cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        report = json.loads((tmp_path / "reports" / "latest" / "report.json").read_text(encoding="utf-8"))
        return Run(done.returncode, done.stdout + done.stderr, report)

    return run


@contextlib.contextmanager
def database(facts: dict[str, Any]) -> Iterator[connection]:
    """The database, as its superuser."""
    session = psycopg2.connect(
        host=facts["address"], port=facts["database_port"], dbname="tracking", user="postgres",
        password=facts["superuser_password"], sslmode="verify-full", sslrootcert=str(BYO / "ca.pem"),
    )  # fmt: skip
    session.autocommit = True
    try:
        yield session
    finally:
        session.close()


@pytest.fixture
def s3(facts: dict[str, Any]) -> Any:
    """The S3 service, with the key that MLflow has."""
    return boto3.client(
        "s3", endpoint_url=facts["s3_url"], region_name="us-east-1", verify=str(BYO / "ca.pem"),
        aws_access_key_id=facts["access_key"], aws_secret_access_key=facts["secret_key"],
    )  # fmt: skip


def state(cluster: Cluster, namespace: str) -> dict[str, str]:
    """What must be the same where nothing was touched: versions of Secrets and ConfigMaps, the Deployment's too."""
    found = [*cluster.list("v1", "Secret", namespace), *cluster.list("v1", "ConfigMap", namespace)]
    versions = {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in found}
    deployment = cluster.get("apps/v1", "Deployment", "mlflow", namespace)
    assert deployment
    return versions | {"generation": str(deployment["metadata"]["generation"])}


def pods(cluster: Cluster, namespace: str) -> set[str]:
    """The names of the server's pods that are not going away."""
    found = cluster.list("v1", "Pod", namespace, "app.kubernetes.io/name=mlflow")
    return {item["metadata"]["name"] for item in found if "deletionTimestamp" not in item["metadata"]}


def test_the_report_says_that_the_endpoints_are_proven(checks: Callable[[str], dict[str, Any]]) -> None:
    assert checks("mlflow") == {
        "rollout": True,
        "health": True,
        "version": True,
        "metrics": True,
        "run, model, alias and artifact": True,
        "logins are refused": True,
        "S3 keeps bytes": True,
        "S3 refuses wrong keys": True,
        "database writes and rolls back": True,
        "database refuses wrong passwords": True,
    }


def test_the_platform_keeps_no_data_itself(cluster: Cluster, facts: dict[str, Any]) -> None:
    for version, kind in (("apps/v1", "StatefulSet"), ("v1", "PersistentVolumeClaim")):
        assert cluster.list(version, kind, facts["namespace"]) == []


def test_a_run_lands_in_the_database_and_in_the_bucket(
    cluster: Cluster, facts: dict[str, Any], s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = cluster.secret("mlflow-service", facts["namespace"])
    assert login
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", login["username"])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", login["password"])
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    client = MlflowClient(tracking_uri=f"http://{facts['address']}:{facts['mlflow_port']}")
    content = secrets.token_bytes(100_000)
    (tmp_path / "weights.bin").write_bytes(content)
    experiment = client.create_experiment(f"byo-{secrets.token_hex(4)}")
    run = client.create_run(experiment).info.run_id
    client.log_metric(run, "accuracy", 0.75)
    client.log_artifact(run, str(tmp_path / "weights.bin"))

    with database(facts) as session, session.cursor() as cursor:
        cursor.execute("SELECT key, value FROM metrics WHERE run_uuid = %s", (run,))
        assert cursor.fetchall() == [("accuracy", 0.75)]
    key = f"teams/ml/{experiment}/{run}/artifacts/weights.bin"
    assert s3.get_object(Bucket="company", Key=key)["Body"].read() == content
    client.delete_experiment(experiment)


def test_connections_are_encrypted_and_have_the_parameters_of_the_uri(facts: dict[str, Any]) -> None:
    with database(facts) as session, session.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT ssl, application_name FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
            "WHERE usename = 'ml@company'"
        )
        assert cursor.fetchall() == [(True, "byo")]


def test_validations_leave_nothing_behind(facts: dict[str, Any], s3: Any) -> None:
    with database(facts) as session, session.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'mlops_platform_validation%'")
        assert cursor.fetchall() == [(0,)]
    found = s3.list_objects_v2(Bucket="company", Prefix="teams/ml/.mlops-platform-validation/")
    assert found["KeyCount"] == 0


WRONG = "Wr0ng/Passw0rd"
NOWHERE = "https://127.0.0.1:9"


@pytest.mark.parametrize(
    ("variables", "causes"),
    [
        ({"platform_ca_certificates": str(BYO / "stranger.pem")},
         ["S3 keeps bytes: platform_ca_certificates: ", "database writes and rolls back: platform_ca_certificates: "]),
        ({"mlflow_aws_secret_access_key": WRONG},
         ["mlflow_aws_access_key_id, mlflow_aws_secret_access_key: ", "SignatureDoesNotMatch"]),
        ({"byo_database_password": WRONG}, ["mlflow_backend_store_uri: ", "password authentication failed"]),
        ({"mlflow_artifact_root": "s3://nowhere"}, ["mlflow_artifact_root: ", "NoSuchBucket"]),
        ({"byo_s3_port": 30544}, ["mlflow_s3_endpoint_url: ", "30544"]),
    ],
    ids=["authority", "key", "password", "bucket", "port"],
)  # fmt: skip
def test_a_wrong_value_is_named_and_nothing_is_touched(
    site: Callable[..., Run], cluster: Cluster, facts: dict[str, Any], variables: dict[str, object], causes: list[str]
) -> None:
    before = state(cluster, facts["namespace"])
    run = site(**variables)
    assert run.status != 0
    (failure,) = run.report["failures"]
    assert "mlflow was not touched: " in failure["message"]
    assert [cause for cause in causes if cause not in failure["message"]] == []
    assert state(cluster, facts["namespace"]) == before
    assert WRONG not in run.output
    assert WRONG not in json.dumps(run.report)


def test_a_database_that_is_gone_is_the_first_cause(
    site: Callable[..., Run], cluster: Cluster, facts: dict[str, Any]
) -> None:
    service: dict[str, Any] = {"apiVersion": "v1", "kind": "Service"}
    service |= {"metadata": {"name": "database", "namespace": facts["elsewhere"]}}
    cluster.apply({**service, "spec": {"selector": {"app": "nobody"}}})
    try:
        run = site("validate")
    finally:
        cluster.apply({**service, "spec": {"selector": {"app": "database"}}})
    (failure,) = run.report["failures"]
    assert (run.report["status"], failure["kind"]) == ("unhealthy", "check")
    assert "database writes and rolls back: mlflow_backend_store_uri: " in failure["message"]
    assert failure["next_step"].startswith("Correct the variable that is named")
    (component,) = run.report["components"]
    checks = {check["name"]: check["healthy"] for check in component["checks"]}
    assert (checks["database writes and rolls back"], checks["S3 keeps bytes"]) == (False, True)


def test_what_is_secret_is_in_no_output(site: Callable[..., Run], facts: dict[str, Any]) -> None:
    run = site()
    assert (run.status, run.report["changed"]) == (0, 0), run.output
    password = (BYO / "database").read_text(encoding="utf-8").strip()
    for value in (password, quote(password, safe=""), facts["secret_key"], facts["access_key"]):
        assert value not in run.output
        assert value not in json.dumps(run.report)


def test_a_new_password_reaches_the_pods(site: Callable[..., Run], cluster: Cluster, facts: dict[str, Any]) -> None:
    before = pods(cluster, facts["namespace"])
    password = secrets.token_urlsafe(20)
    with database(facts) as session, session.cursor() as cursor:
        cursor.execute('ALTER ROLE "ml@company" PASSWORD %s', (password,))
    (BYO / "database").write_text(f"{password}\n", encoding="utf-8")
    run = site()
    assert (run.status, run.report["status"]) == (0, "healthy"), run.output
    assert not before & pods(cluster, facts["namespace"])
    assert site().report["changed"] == 0


def test_a_service_of_the_cluster_is_an_endpoint_as_well(site: Callable[..., Run]) -> None:
    """The controller cannot resolve its name, but checks its certificate by it."""
    run = site(byo_address="database.byo-elsewhere.svc", byo_database_port=5432, mlflow_s3_endpoint_url=NOWHERE)
    (failure,) = run.report["failures"]
    assert "mlflow was not touched: S3 keeps bytes: mlflow_s3_endpoint_url: " in failure["message"]
    assert "database" not in failure["message"]


@pytest.fixture
def registry(facts: dict[str, Any], tmp_path: Path) -> Iterator[tuple[str, str, str]]:
    """A registry with a login, in which images have other names: where it is, its user, its password."""
    username, password = "puller", secrets.token_urlsafe(16)
    hashed = crypt.crypt(password, crypt.mksalt(crypt.METHOD_BLOWFISH))  # noqa: S324  (bcrypt, which it must be)
    (tmp_path / "htpasswd").write_text(f"{username}:{hashed}\n", encoding="utf-8")
    there, here = (folder / "docker/registry/v2" for folder in (Path(facts["registry"]), tmp_path / "registry"))
    for image in ("mlflow", "busybox"):
        shutil.copytree(there / "repositories" / image, here / "repositories" / "private" / image)
    (here / "blobs").symlink_to(there / "blobs")
    settings = {
        "version": "0.1",
        "storage": {
            "filesystem": {"rootdirectory": str(tmp_path / "registry")},
            "maintenance": {"readonly": {"enabled": True}},
        },
        "auth": {"htpasswd": {"realm": "private", "path": str(tmp_path / "htpasswd")}},
        "http": {"addr": f"127.0.0.1:{REGISTRY_PORT}"},
    }
    (tmp_path / "config.yml").write_text(json.dumps(settings), encoding="utf-8")
    with (tmp_path / "log").open("w", encoding="utf-8") as log:
        command = ["docker-registry", "serve", str(tmp_path / "config.yml")]
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 20
            while not _answers() and time.monotonic() < deadline:
                assert server.poll() is None, (tmp_path / "log").read_text(encoding="utf-8")
                time.sleep(0.1)
            yield f"localhost:{REGISTRY_PORT}/private", username, password
        finally:
            server.terminate()
            server.wait(10)


def _answers() -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", REGISTRY_PORT)) == 0


def test_a_private_registry_is_pulled_from_with_its_login(
    site: Callable[..., Run], cluster: Cluster, facts: dict[str, Any], registry: tuple[str, str, str]
) -> None:
    place, username, password = registry
    login = {"platform_image_registry": place, "platform_image_registry_username": username}

    before = pods(cluster, facts["namespace"])
    refused = site(**login, platform_image_registry_password=WRONG)
    assert refused.status != 0
    (failure,) = refused.report["failures"]
    assert f"{place}/mlflow" in failure["message"]
    assert pods(cluster, facts["namespace"]) == before, "the server goes on with the image that it has"

    taken = site(**login, platform_image_registry_password=password)
    assert (taken.status, taken.report["status"]) == (0, "healthy"), taken.output
    assert password not in taken.output
    deployment = cluster.get("apps/v1", "Deployment", "mlflow", facts["namespace"])
    assert deployment
    pod = deployment["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "mlflow-registry"}]
    assert pod["containers"][0]["image"].startswith(f"{place}/mlflow:")
    again = site(**login, platform_image_registry_password=password)
    assert (again.status, again.report["changed"]) == (0, 0), again.output
