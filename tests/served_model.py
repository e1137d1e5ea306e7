"""A model of its own that tests of a cluster serve, release and compare by the playbooks, and ask from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import pytest
import urllib3
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster
from mlflow import MlflowClient
from running import program, until
from sklearn.datasets import load_iris

ROOT = Path(__file__).resolve().parents[1]
PLAYBOOK = Path(sys.prefix) / "bin" / "ansible-playbook"
NAMESPACE = "models"
ANNOTATION = "mlops.platform/release"
RUN_SECONDS = 300


@dataclass(frozen=True)
class ServedModel:
    """A model by its name, with the folder in which the reports of its playbooks are: not those of the scenario.

    `settings` are variables that all its playbooks have.
    """

    name: str
    reports: Path
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Of its playbooks."""
        return {
            **os.environ, "MLOPS_PLATFORM_REPORTS": str(self.reports), "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        }  # fmt: skip

    def command(self, playbook: str, **variables: object) -> list[str]:
        """What runs a playbook for the model."""
        inventory = ROOT / "molecule" / "inventory"
        given = json.dumps({"model": self.name, **self.settings, **variables})
        return [str(PLAYBOOK), str(ROOT / "playbooks" / f"{playbook}.yml"), "-i", str(inventory), "-e", given]

    def run(self, playbook: str, **variables: object) -> tuple[int, str]:
        """The exit status of a playbook for the model, and what it printed, in one line."""
        done = subprocess.run(
            self.command(playbook, **variables),
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    @contextmanager
    def served(self) -> Iterator[None]:
        """Served, by the alias champion, and removed at the end."""
        status, printed = self.run("deploy-model")
        assert status == 0, printed
        yield
        status, printed = self.run("undeploy-model")
        assert status == 0, printed

    def killed(self, cluster: Cluster, percent: int, playbook: str, **variables: object) -> None:
        """Run a playbook for the model, and kill it once a new version has some of a hundred requests."""
        log = self.reports / "killed.log"
        with program(*self.command(playbook, **variables), log=log, **self.environment) as process:

            def reached() -> bool:
                assert process.poll() is None, log.read_text(encoding="utf-8")
                return self.state(cluster).get("percent") == percent

            until(reached, RUN_SECONDS)

    def report(self) -> dict[str, Any]:
        """The report of the last playbook that ended."""
        found: dict[str, Any] = json.loads((self.reports / "latest" / "report.json").read_text(encoding="utf-8"))
        return found

    def state(self, cluster: Cluster) -> dict[str, Any]:
        """The release that the InferenceService says is under way; empty where none is."""
        service = cluster.get("serving.kserve.io/v1beta1", "InferenceService", self.name, NAMESPACE)
        assert service
        found: dict[str, Any] = json.loads(service["metadata"]["annotations"].get(ANNOTATION, "{}"))
        return found

    def answers(self, address: str, port: int, requests: int) -> Counter[str]:
        """How many of some requests, sent to the edge by TLS, each version answers."""
        host = f"{self.name}.mlops.internal"
        authority = str(Path(os.environ["MLOPS_PLATFORM_REPORTS"]) / "latest" / "platform-ca.crt")
        body = {
            "parameters": {"content_type": "pd"},
            "inputs": [
                {"name": name, "shape": [1, 1], "datatype": "FP64", "data": [value]}
                for name, value in zip(load_iris().feature_names, (5.1, 3.5, 1.4, 0.2), strict=True)
            ],
        }
        found: Counter[str] = Counter()
        with urllib3.HTTPSConnectionPool(
            address, port, server_hostname=host, assert_hostname=host, ca_certs=authority, retries=False
        ) as pool:
            path, headers = f"/v2/models/{self.name}/infer", {"Host": host}
            for _ in range(requests):
                answer = pool.request("POST", path, json=body, headers=headers, timeout=60)
                assert answer.status == 200, answer.data
                assert answer.json()["outputs"][0]["data"] == [0]  # a setosa, for every good version
                found[answer.json()["model_version"]] += 1
        return found


def begin_experiment(client: MlflowClient, name: str) -> str:
    """Make an experiment the one that runs are logged in, though an earlier test deleted it; returns its id."""
    found = client.get_experiment_by_name(name)
    if found and found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(mlflow.set_experiment(name).experiment_id)


@contextmanager
def registry(address: str, port: int, login: Mapping[str, str]) -> Iterator[MlflowClient]:
    """The platform's MLflow, as its users have it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MLFLOW_TRACKING_USERNAME", login["username"])
        patched.setenv("MLFLOW_TRACKING_PASSWORD", login["password"])
        patched.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        mlflow.set_tracking_uri(f"http://{address}:{port}")
        yield MlflowClient()
