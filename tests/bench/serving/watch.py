"""What happens meanwhile: the pods that are ready, and who has the processors."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster
from ansible_collections.mlops.platform.plugins.module_utils.rollout import conditions

EVERY_SECONDS = 1.0
Ready = Mapping[str, int]


def ready_pods(cluster: Cluster, namespace: str, selector: str) -> list[str]:
    """The addresses of the pods that are ready and stay."""
    return [
        pod["status"]["podIP"]
        for pod in cluster.list("v1", "Pod", namespace, selector)
        if conditions(pod).get("Ready", {}).get("status") == "True" and not pod["metadata"].get("deletionTimestamp")
    ]


def busy_seconds() -> float:
    """Seconds that all processors of this machine together have worked since it was started (proc(5), stat)."""
    fields = [int(text) for text in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / 100


class Watch:
    """Notes every second how many pods each service has. Use as a context manager."""

    def __init__(self, counts: Callable[[], Ready]) -> None:
        self._counts = counts
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._started = time.monotonic()
        self.seen: list[tuple[float, Ready]] = []

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._started

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(10)

    def ready(self, service: str) -> int:
        """The pods that a service had when it was last looked at."""
        return self.seen[-1][1].get(service, 0) if self.seen else 0

    def _follow(self) -> None:
        while True:
            with contextlib.suppress(ApiError):  # a busy server: the next look is a second away
                self.seen.append((round(self.now, 1), self._counts()))
            if self._over.wait(EVERY_SECONDS):
                return


def changes(seen: Iterable[tuple[float, Ready]], service: str) -> list[tuple[float, int]]:
    """When the number of a service's pods became another: (seconds, number), the first look included."""
    found: list[tuple[float, int]] = []
    for moment, counts in seen:
        number = counts.get(service, 0)
        if not found or found[-1][1] != number:
            found.append((moment, number))
    return found
