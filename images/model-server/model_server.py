"""MLServer, with one difference: it keeps a connection that is idle for longer than the proxies before it do.

Uvicorn closes an idle connection after five seconds. A proxy that sends a request on it in the same moment is reset,
may not send a POST again, and answers 502. Go's client, which Knative's proxy uses, lets go of its connections itself
after 90 seconds (`IdleConnTimeout` of `http.DefaultTransport`).
"""

from __future__ import annotations

import uvicorn
from mlserver import server
from mlserver.cli import main
from mlserver.rest import RESTServer

IDLE_SECONDS = 120


class PatientServer(RESTServer):  # type: ignore[misc]
    """The server of HTTP requests."""

    def _get_config(self) -> uvicorn.Config:
        config: uvicorn.Config = super()._get_config()
        config.timeout_keep_alive = IDLE_SECONDS
        return config


if __name__ == "__main__":
    server.RESTServer = PatientServer
    main()
