"""A program: one endpoint behind which two versions of a model answer, as a split of requests makes it.

`two_versions.py <port> <model> <JSON>`: for each version its `share` of the requests, the `right` part of the rows that
it predicts well, the part of its requests that fail (`errors`), and the seconds that it takes. It counts what it does
as the platform's model server does, and says so at /metrics.
"""

from __future__ import annotations

import json
import random
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import REGISTRY, Counter, Histogram, generate_latest

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10)
LABELS = ("model", "model_version")
DURATION = Histogram("model_request_duration_seconds", "of requests", (*LABELS, "code"), buckets=BOUNDS)
FEEDBACK = Counter("model_feedback_total", "of clients", (*LABELS, "outcome"))
ROWS = 200


def label(row: int) -> int:
    """What is right for a row."""
    return row % 3


def predicted(row: int, right: float) -> int:
    """What a version predicts that is right about a part of the rows; always the same."""
    return label(row) if random.Random(row).random() < right else (label(row) + 1) % 3  # noqa: S311


class Handler(BaseHTTPRequestHandler):
    """Answers as a model server does."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    model = ""
    versions: dict[str, dict[str, float]]

    def do_GET(self) -> None:
        """What Prometheus asks for."""
        self._answer(200, generate_latest(REGISTRY), "text/plain; version=0.0.4")

    def do_POST(self) -> None:
        """A prediction, or feedback on some."""
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/feedback"):
            for outcome in ("good", "bad"):
                FEEDBACK.labels(self.model, content["model_version"], outcome).inc(content[outcome])
            self._answer(200, b"{}")
            return
        shares = [about["share"] for about in self.versions.values()]
        (version,) = random.choices(list(self.versions), shares)  # noqa: S311
        about, started = self.versions[version], time.perf_counter()
        time.sleep(about["seconds"])
        status, found = 200, self._predict(version, content)
        if random.random() < about["errors"]:  # noqa: S311
            status, found = 500, {"error": "injected"}
        DURATION.labels(self.model, version, str(status)).observe(time.perf_counter() - started)
        self._answer(status, json.dumps(found).encode())

    def _predict(self, version: str, content: dict[str, Any]) -> dict[str, Any]:
        rows = content["inputs"][0]["data"]
        data = [predicted(row, self.versions[version]["right"]) for row in rows]
        output = {"name": "output-1", "shape": [len(rows)], "datatype": "INT64", "data": data}
        return {"model_name": self.model, "model_version": version, "outputs": [output]}

    def _answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing: it is a load."""


def main() -> None:
    """Answer until the end."""
    Handler.model, Handler.versions = sys.argv[2], json.loads(sys.argv[3])
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = True
    server.serve_forever()


if __name__ == "__main__":
    main()
