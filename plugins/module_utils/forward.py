# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TCP access to Services through the API server, for any client library, from wherever the controller is."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from types import TracebackType
from typing import Any, Self

from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

CHUNK_BYTES = 65536


class Forwards:
    """Listeners on the loopback address whose connections end at a ready pod behind a Service.

    Use as a context manager: all listeners are closed at its end.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._listeners: dict[tuple[str, str, int], socket.socket] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for listener in self._listeners.values():
            listener.close()

    def port(self, namespace: str, service: str, port: int) -> int:
        """The local port that leads to `port` of a Service. Raises PlatformError where no pod is ready behind it."""
        self._endpoint(namespace, service, port)
        with self._lock:
            key = (namespace, service, port)
            if key not in self._listeners:
                listener = socket.create_server(("127.0.0.1", 0))
                self._listeners[key] = listener
                threading.Thread(target=self._serve, args=(listener, *key), daemon=True).start()
            local: int = self._listeners[key].getsockname()[1]
        return local

    def _endpoint(self, namespace: str, service: str, port: int) -> tuple[str, int]:
        """A ready pod behind a Service and the port it listens on."""
        found = self._cluster.get("v1", "Service", service, namespace)
        if found is None:
            raise PlatformError(f"Service {namespace}/{service} does not exist")
        name = next((item.get("name") for item in found["spec"]["ports"] if item["port"] == port), False)
        if name is False:
            ports = [item["port"] for item in found["spec"]["ports"]]
            raise PlatformError(f"Service {namespace}/{service} has no port {port}, it has {ports}")
        ready: list[tuple[str, int]] = []
        for piece in self._cluster.list(
            "discovery.k8s.io/v1", "EndpointSlice", namespace, f"kubernetes.io/service-name={service}"
        ):
            ports = piece.get("ports") or []
            target = next((item["port"] for item in ports if (item.get("name") or None) == (name or None)), None)
            ready += [
                (endpoint["targetRef"]["name"], target)
                for endpoint in piece.get("endpoints") or []
                if target and (endpoint.get("conditions") or {}).get("ready") and endpoint.get("targetRef")
            ]
        if not ready:
            raise PlatformError(f"no pod is ready behind Service {namespace}/{service}")
        return random.choice(ready)  # noqa: S311  (nothing secret depends on it)

    def _serve(self, listener: socket.socket, namespace: str, service: str, port: int) -> None:
        while True:
            try:
                local, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(local, namespace, service, port), daemon=True).start()

    def _connect(self, local: socket.socket, namespace: str, service: str, port: int) -> None:
        with contextlib.closing(local):
            try:
                pod, target = self._endpoint(namespace, service, port)
                remote = self._cluster.tunnel(namespace, pod, target)
            except PlatformError:
                return  # the client sees a closed connection, which its own error names
            back = threading.Thread(target=_pump, args=(remote, local), daemon=True)
            back.start()
            _pump(local, remote)
            back.join()


def _pump(source: Any, sink: Any) -> None:
    """Copy bytes until the source ends, then end the sink."""
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK_BYTES):
            sink.sendall(data)
    for end in (sink, source):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
