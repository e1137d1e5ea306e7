"""The adapter to the API: requests to an HTTP server that answers as the API server does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster


def discovered(kind: str, plural: str) -> dict[str, Any]:
    """A kind as the API server's discovery has it."""
    return {"resource": plural, "scope": "Namespaced", "responseKind": {"kind": kind}}


class Api:
    """What the server knows, and what it warns of."""

    def __init__(self) -> None:
        self.kinds = {"ConfigMap": "configmaps"}
        self.warnings: list[str] = []
        self.requests: list[str] = []

    def answer(self, method: str, path: str) -> dict[str, Any]:
        self.requests.append(f"{method} {path}")
        if path == "/api":
            resources = [discovered(*kind) for kind in self.kinds.items()]
            return {"items": [{"versions": [{"version": "v1", "resources": resources}]}]}
        return {"items": []} if path == "/apis" else {"metadata": {"name": "settings", "uid": "1"}}


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def cluster(api: Api, tmp_path: Path) -> Iterator[Cluster]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.dumps(api.answer(self.command, self.path)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            for warning in api.warnings:
                self.send_header("Warning", warning)
            self.end_headers()
            self.wfile.write(body)

        def do_PATCH(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Nothing: the tests' output is theirs."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kubeconfig = tmp_path / "kubeconfig"
    entry = {"name": "a", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
    context = {"name": "a", "context": {"cluster": "a", "user": "a"}}
    content = {"clusters": [entry], "contexts": [context], "users": [{"name": "a", "user": {}}], "current-context": "a"}
    kubeconfig.write_text(json.dumps(content))
    yield Cluster(str(kubeconfig))
    server.shutdown()
    server.server_close()


SETTINGS = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "ml"}}


def test_an_object_is_applied_under_our_name_by_one_request(api: Api, cluster: Cluster) -> None:
    assert cluster.apply(SETTINGS)["metadata"]["uid"] == "1"
    assert api.requests == [
        "GET /api",
        "GET /apis",
        "PATCH /api/v1/namespaces/ml/configmaps/settings?fieldManager=mlops.platform&force=true",
    ]


def test_what_the_server_warns_of_is_kept_once(api: Api, cluster: Cluster) -> None:
    api.warnings = ['299 - "would violate PodSecurity \\"restricted:latest\\""', '299 - "v1 Endpoints is deprecated"']
    cluster.apply(SETTINGS)
    cluster.apply(SETTINGS)
    assert cluster.warnings == {'would violate PodSecurity "restricted:latest"', "v1 Endpoints is deprecated"}


def test_a_kind_that_a_definition_brought_meanwhile_is_known(api: Api, cluster: Cluster) -> None:
    with pytest.raises(ApiError, match="the cluster does not know Widget of v1"):
        cluster.resource("v1", "Widget")
    api.kinds["Widget"] = "widgets"
    assert cluster.resource("v1", "Widget").path("ml", "a") == "/api/v1/namespaces/ml/widgets/a"
