"""How OpenShift is told from plain Kubernetes, against servers that answer as both do."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.mlops.platform.plugins.module_utils import openshift

VERSION = {"groupVersion": "route.openshift.io/v1", "version": "v1"}
GROUP = {"name": "route.openshift.io", "versions": [VERSION], "preferredVersion": VERSION}
ROUTES = {"name": "routes", "kind": "Route", "namespaced": True, "singularName": "route", "verbs": ["get", "list"]}
COMMON: dict[str, Any] = {
    "/version": {"major": "1", "minor": "36"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": []},
}
SERVERS: dict[str, dict[str, Any]] = {
    "kubernetes": {"/apis": {"kind": "APIGroupList", "groups": []}},
    "openshift": {
        "/apis": {"kind": "APIGroupList", "groups": [GROUP]},
        "/apis/route.openshift.io/v1": {
            "kind": "APIResourceList", "groupVersion": "route.openshift.io/v1", "resources": [ROUTES],
        },
    },
    "another kind of that group": {
        "/apis": {"kind": "APIGroupList", "groups": [GROUP]},
        "/apis/route.openshift.io/v1": {
            "kind": "APIResourceList", "groupVersion": "route.openshift.io/v1", "resources": [],
        },
    },
}  # fmt: skip


@pytest.fixture
def kubeconfig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The kubeconfig of a server that knows what it is asked for in SERVERS."""
    known = COMMON | SERVERS[request.param]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(known.get(self.path.split("?")[0], {"message": "not found"})).encode()
            self.send_response(200 if self.path.split("?")[0] in known else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    cluster = {"server": f"http://127.0.0.1:{server.server_port}"}
    path = tmp_path / "kubeconfig"
    path.write_text(
        yaml.safe_dump(
            {
                "clusters": [{"name": "c", "cluster": cluster}],
                "users": [{"name": "u", "user": {}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        ),
        encoding="utf-8",
    )
    yield str(path)
    server.shutdown()


@pytest.mark.parametrize(
    ("kubeconfig", "expected"),
    [("kubernetes", False), ("openshift", True), ("another kind of that group", False)],
    indirect=["kubeconfig"],
)
def test_a_cluster_with_routes_is_openshift(kubeconfig: str, expected: bool) -> None:
    assert openshift.is_openshift(kubeconfig) is expected


def test_a_cluster_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert not openshift.is_openshift(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("kubeconfig", "imported"), [("kubernetes", False), ("openshift", True)], indirect=["kubeconfig"]
)
def test_plain_kubernetes_needs_nothing_of_openshift(kubeconfig: str, imported: bool) -> None:
    program = (
        "import sys, collection_names\n"
        "from ansible_collections.mlops.platform.plugins.module_utils.openshift import is_openshift\n"
        f"is_openshift({kubeconfig!r})\n"
        "print('openshift' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).parents[1])  # fmt: skip
    assert done.stdout.strip() == str(imported)
