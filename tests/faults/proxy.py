"""A proxy that changes a byte of every object that it hands on: what a broken cache or a failing disk does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ansible_collections.mlops.platform.plugins.module_utils.manifests import Manifest

if TYPE_CHECKING:
    from faults.platform import Platform

NAME = "corrupting-proxy"
LABELS = {"app.kubernetes.io/name": NAME}
IN_PLACE_OF = {"mlops.platform/component": "minio"}
"""MinIO's policies are the proxy's, too: who may connect to it, and that it may connect to MinIO."""

# Runs in the image of MLflow, which has Python. Requests go on as they came, signatures included.
PROGRAM = """
import http.client, http.server, sys

class Proxy(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def pass_on(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        upstream = http.client.HTTPConnection(sys.argv[1], 9000, timeout=10)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            upstream.putheader(name, value)
        upstream.endheaders(body)
        answer = upstream.getresponse()
        content = bytearray(answer.read())
        if self.command == "GET" and len(content) >= 1024 and answer.getheader("ETag"):
            content[512] ^= 1
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        kept = self.command == "HEAD" and answer.getheader("Content-Length")
        self.send_header("Content-Length", kept or str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = pass_on

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("", 9000), Proxy).serve_forever()
"""


def pod(platform: Platform) -> Manifest:
    """The pod of the proxy, as the level restricted of Pod Security wants it."""
    (minio,) = platform.pods("minio")
    found: Manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "namespace": platform.namespace, "labels": LABELS | IN_PLACE_OF},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}
            },
            "containers": [
                {
                    "name": "proxy",
                    "image": platform.container("mlflow", "Deployment")["image"],
                    "command": ["python3", "-c", PROGRAM, minio["status"]["podIP"]],
                    "ports": [{"name": "api", "containerPort": 9000}],
                    "readinessProbe": {"tcpSocket": {"port": "api"}, "periodSeconds": 1},
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }  # fmt: skip
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def is_ready(platform: Platform) -> bool:
    """Whether the proxy takes connections."""
    found = platform.cluster.get("v1", "Pod", NAME, platform.namespace)
    states: list[dict[str, Any]] = (found or {}).get("status", {}).get("containerStatuses") or []
    return any(state["ready"] for state in states)


def await_endpoint(platform: Platform) -> None:
    """Return when MinIO's Service leads to the proxy and to nothing else."""
    from faults.platform import until

    def leads_there() -> bool:
        slices = platform.cluster.list(
            "discovery.k8s.io/v1", "EndpointSlice", platform.namespace, "kubernetes.io/service-name=minio"
        )
        names = [item["targetRef"]["name"] for piece in slices for item in piece.get("endpoints") or []]
        return names == [NAME]

    until(leads_there)
