# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TCP access to Services through the API server, for any client library, from wherever the controller is."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

CHUNK_BYTES = 65536
Key = tuple[str, str, int]
"""Namespace and name of a Service, and one of its ports."""


class NobodyReady(PlatformError):
    """No pod behind a Service is ready now; one may be soon."""


class PodRefused(PlatformError):
    """A ready pod behind a Service does not take connections at the port to which the Service leads."""


class Forwards:
    """Listeners on the loopback address whose connections end at a ready pod behind a Service.

    Use as a context manager: all listeners are closed at its end.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._listeners: dict[Key, socket.socket] = {}
        self._troubles: dict[Key, PlatformError] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for listener in self._listeners.values():
            listener.close()

    def trouble(self, namespace: str, service: str, port: int) -> PlatformError | None:
        """Why the last connection to a Service did not come about; None where nothing is known against it."""
        return self._troubles.get((namespace, service, port))

    def port(self, namespace: str, service: str, port: int) -> int:
        """The local port that leads to `port` of a Service. Raises PlatformError where no pod is ready behind it."""
        self.endpoint(namespace, service, port)
        with self._lock:
            key = (namespace, service, port)
            if key not in self._listeners:
                listener = socket.create_server(("127.0.0.1", 0))
                self._listeners[key] = listener
                threading.Thread(target=self._serve, args=(listener, *key), daemon=True).start()
            local: int = self._listeners[key].getsockname()[1]
        return local

    def endpoint(self, namespace: str, service: str, port: int) -> tuple[str, int]:
        """The name of a ready pod behind a Service, and the port it listens on."""
        found = self._cluster.get("v1", "Service", service, namespace)
        if found is None:
            raise PlatformError(f"Service {namespace}/{service} does not exist")
        entry = next((item for item in found["spec"]["ports"] if item["port"] == port), None)
        if entry is None:
            ports = ", ".join(str(item["port"]) for item in found["spec"]["ports"])
            raise PlatformError(f"Service {namespace}/{service} has no port {port}, it has {ports}")
        name = entry.get("name")
        ready: list[tuple[str, int]] = []
        for piece in self._cluster.list(
            "discovery.k8s.io/v1", "EndpointSlice", namespace, f"kubernetes.io/service-name={service}"
        ):
            open_ports = piece.get("ports") or []
            target = next((item["port"] for item in open_ports if (item.get("name") or None) == (name or None)), None)
            ready += [
                (endpoint["targetRef"]["name"], target)
                for endpoint in piece.get("endpoints") or []
                if target and (endpoint.get("conditions") or {}).get("ready") and endpoint.get("targetRef")
            ]
        if not ready:
            raise self._unserved(found, entry)
        return random.choice(ready)  # noqa: S311  (nothing secret depends on it)

    def _unserved(self, service: Mapping[str, Any], port: Mapping[str, Any]) -> PlatformError:
        """Why a Service has no pod to offer: where its own selector or port is to blame, waiting does not help."""
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        selector = ",".join(f"{key}={value}" for key, value in (service["spec"].get("selector") or {}).items())
        pods = self._cluster.list("v1", "Pod", namespace, selector)
        if not pods:
            return PlatformError(f"Service {namespace}/{name} leads nowhere: no pod has its selector {selector}")
        names = {
            item.get("name") for pod in pods for each in pod["spec"]["containers"] for item in each.get("ports") or []
        }
        target = port.get("targetPort")
        if isinstance(target, str) and target not in names:
            return PlatformError(f"Service {namespace}/{name} leads nowhere: its pods have no port named {target!r}")
        return NobodyReady(f"no pod is ready behind Service {namespace}/{name}")

    def _serve(self, listener: socket.socket, namespace: str, service: str, port: int) -> None:
        while True:
            try:
                local, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(local, namespace, service, port), daemon=True).start()

    def _connect(self, local: socket.socket, namespace: str, service: str, port: int) -> None:
        with contextlib.closing(local):
            key = (namespace, service, port)
            try:
                pod, target = self.endpoint(namespace, service, port)
                tunnel = self._cluster.tunnel(namespace, pod, target)
            except PlatformError as error:
                self._troubles[key] = error  # the client sees no more than a closed connection
                return

            def note() -> None:
                if "connection refused" in tunnel.error():
                    place = f"port {target} of pod {pod}, where Service {namespace}/{service} port {port} leads"
                    self._troubles[key] = PodRefused(f"{place}: connection refused")
                else:
                    self._troubles.pop(key, None)

            back = threading.Thread(target=_pump, args=(tunnel.connection, local, note), daemon=True)
            back.start()
            _pump(local, tunnel.connection)
            back.join()


def _pump(source: Any, sink: Any, at_end: Callable[[], None] = lambda: None) -> None:
    """Copy bytes until the source ends, call `at_end`, then end the sink."""
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK_BYTES):
            sink.sendall(data)
    at_end()
    for end in (sink, source):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
