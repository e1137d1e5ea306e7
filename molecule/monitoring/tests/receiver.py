"""Runs in the cluster: keeps what Alertmanager posts to it, and tells it to who asks."""

import http.server
import json

told: dict[str, list[dict[str, object]]] = {}


class Handler(http.server.BaseHTTPRequestHandler):
    """POST keeps the alerts of a body under its path, GET answers with those that were posted there."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        told.setdefault(self.path, []).extend(body["alerts"])
        self._answer(b"{}")

    def do_GET(self) -> None:
        self._answer(json.dumps(told.get(self.path, [])).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
