"""What preflight refuses, through the playbooks themselves, before anything is asked of a cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from inventory_mutations import BASES, SEED, Broken, Site, mutations

ROOT = Path(__file__).resolve().parents[2]
COUNT = 3


class Api:
    """A server on the loopback device that remembers who came, and answers as a cluster that lets nobody in."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        requests = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                requests.append(self.path)
                self.send_response(401)
                self.end_headers()
                self.wfile.write(b'{"kind": "Status", "message": "Unauthorized"}')

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api()
    yield server
    server.close()


def kubeconfig(folder: Path, url: str) -> Path:
    """A kubeconfig that leads to a URL."""
    path = folder / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "clusters": [{"name": "here", "cluster": {"server": url}}],
        "users": [{"name": "me", "user": {"token": "secret-token"}}],
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def run(verb: str, inventory: Path, folder: Path, config: Path, *options: str) -> tuple[int, str]:
    """The exit status and the output of a verb of the Makefile."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PLATFORM_"))}
    environment = kept | {
        "KUBECONFIG": str(config),
        "MLOPS_PLATFORM_CACHE": str(folder / "cache"),
        "MLOPS_PLATFORM_REPORTS": str(folder / "reports"),
    }
    command = [sys.executable, str(ROOT / "tools" / "verbs.py"), verb, "--inventory", str(inventory)]
    command += ["--", *options] if options else []
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> list[Broken]:
    return list(mutations(SEED, COUNT, tmp_path_factory.mktemp("broken")))


@pytest.mark.parametrize("number", range(COUNT))
def test_a_broken_inventory_is_refused_before_anything_is_asked(
    number: int, broken: list[Broken], tmp_path: Path, api: Api
) -> None:
    case = broken[number]
    print(f"MUTATION_SEED={SEED}, number {number}: {case}")
    config = kubeconfig(tmp_path, api.url)
    status, output = run("site", case.path, tmp_path, config, "-e", f"platform_kubeconfig={config}")
    assert status == 2, output
    assert case.names in output.replace("\n", "")
    assert "nothing was touched" in output
    assert "Traceback" not in output
    assert api.requests == []
    report = json.loads((tmp_path / "reports" / "latest" / "report.json").read_text(encoding="utf-8"))
    assert (report["status"], report["components"]) == ("failed", [])


def test_all_problems_are_said_at_once(tmp_path: Path, api: Api) -> None:
    site = Site(next(base for base in BASES if base.name == "existing"), tmp_path)
    site.set("mlflow", {"mlflow_replicas": 0, "mlflow_prot": 1, "mlflow_namespace": "ML"})
    site.set("minio", {"minio_storage_size": "5GB"})
    site.write()
    status, output = run("preflight", site.path, tmp_path, kubeconfig(tmp_path, api.url))
    assert status == 2
    assert "4 problems, nothing was touched" in output
    assert api.requests == []
    joined = " ".join(output.split())
    for said in (
        "mlflow_replicas is 0: allowed is a number, 1 or more",
        "mlflow_prot: the role mlflow has no such variable; did you mean mlflow_port?",
        "mlflow_namespace is 'ML': allowed is a DNS label",
        "minio_storage_size is '5GB': allowed is a size, a Kubernetes quantity such as 512Mi or 20Gi; did you mean 5G?",
    ):
        assert said in joined


def test_a_cluster_that_lets_nobody_in_is_one_clear_line(tmp_path: Path, api: Api) -> None:
    status, output = run("preflight", ROOT / "inventories" / "existing", tmp_path, kubeconfig(tmp_path, api.url))
    assert status == 2, output
    joined = " ".join(output.split())
    assert "1 problem, nothing was touched: - platform_kubeconfig: " in joined
    assert "refused its credentials (Unauthorized): log in again" in joined
    assert "Traceback" not in output
    assert "secret-token" not in output
    assert api.requests
