"""Programs that tests run on this machine, and what they wait for."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests
import yaml
from programs import built_program

Running = contextlib.AbstractContextManager[subprocess.Popen[bytes]]


def until(
    look: Callable[[], Any], seconds: float = 120, passing: tuple[type[Exception], ...] = (requests.ConnectionError,)
) -> Any:
    """What `look` finds when it finds something; `passing` is what it may raise until then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(*passing):
            if found := look():
                return found
        time.sleep(0.05)
    raise AssertionError(f"nothing found within {seconds} s")


def statuses_around_idling(port: int, path: str, seconds: float = 7) -> list[int]:
    """The statuses of two requests on one connection, before and after it was idle; Uvicorn's own patience is 5 s."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.auto_open = 0  # never another one in its place
    connection.connect()
    statuses = []
    with contextlib.closing(connection):
        for idle in (0, seconds):
            time.sleep(idle)
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
    return statuses


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def program(*command: str, log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs; it is ended at the end."""
    with log.open("ab") as stream:
        child = subprocess.Popen(
            command, stdout=stream, stderr=stream, start_new_session=True, env={**os.environ, **environment}
        )
        try:
            yield child
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def python(
    *arguments: str, log: Path, **environment: str
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """A program in Python that runs."""
    return program(sys.executable, *arguments, log=log, PYTHONWARNINGS="ignore", **environment)


@contextlib.contextmanager
def mlflow_server(folder: Path) -> Iterator[int]:
    """The port of an MLflow server with nothing in its registry, which keeps everything in `folder`."""
    port = free_port()
    arguments = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    arguments += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/files"]
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with python(*arguments, log=folder / "log", **settings):
        until(lambda: requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok, 240)
        yield port


@contextlib.contextmanager
def prometheus_server(folder: Path, port: int, *jobs: dict[str, Any], interval: str = "1s") -> Iterator[None]:
    """A Prometheus that `make rules` has built; it does some jobs each `interval`, and keeps everything in `folder`."""
    settings = {"global": {"scrape_interval": interval, "scrape_timeout": interval}, "scrape_configs": jobs}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    arguments = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    arguments += [f"--web.listen-address=127.0.0.1:{port}"]
    with program(str(built_program("prometheus-server")), *arguments, log=folder / "prometheus.log"):
        until(lambda: requests.get(f"http://127.0.0.1:{port}/-/ready", timeout=5).ok)
        yield
