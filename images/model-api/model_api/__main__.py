"""Starts the service with what its environment says: `python3 -m model_api`."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path

from model_api.settings import Settings, SettingsError, prepare

IDLE_SECONDS = 3660
"""Longer than Envoy keeps a connection that is idle (an hour: `idle_timeout` of its HttpProtocolOptions): what sends a
request on a connection in the moment in which the service closes it is reset."""


def main() -> int:
    """Serve until SIGTERM: then what is under way is answered, and the process ends."""
    try:
        settings = Settings.read(os.environ)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    prepare(os.environ, settings.authorities, Path(tempfile.gettempdir()))

    # Imported now: MLflow's client reads the environment when it is.
    import uvicorn

    from model_api.app import create

    uvicorn.run(
        create(settings), host="0.0.0.0", port=settings.port, access_log=False,  # noqa: S104  (a pod's own network)
        log_level="warning", timeout_graceful_shutdown=settings.shutdown_seconds,
        timeout_keep_alive=IDLE_SECONDS,
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
