# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of Alertmanager's HTTP API, version 2 (https://github.com/prometheus/alertmanager/tree/main/api/v2)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from urllib.parse import urlencode

import urllib3
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

SECONDS = 10
"""Time for one answer."""
ALERTS = "/api/v2/alerts"


class AlertmanagerError(PlatformError):
    """An answer of Alertmanager that is a refusal; `status` is that of HTTP."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Alertmanager:
    """One Alertmanager over one connection: the members of a set tell each other of silences, but not of alerts.

    All calls raise AlertmanagerError where it refuses, urllib3.exceptions.HTTPError where it is silent.
    """

    def __init__(self, pool: urllib3.HTTPConnectionPool) -> None:
        self._pool = pool

    @classmethod
    @contextmanager
    def at(cls, url: str) -> Iterator[Self]:
        """The Alertmanager at a URL."""
        with urllib3.connection_from_url(url, maxsize=1, block=True) as pool:
            yield cls(pool)

    def names(self, **labels: str) -> list[str]:
        """The names of the alerts with some labels that have not ended."""
        filters = [f"{name}={json.dumps(value)}" for name, value in labels.items()]
        found = self._ask("GET", f"{ALERTS}?{urlencode({'filter': filters}, doseq=True)}")
        return [item["labels"]["alertname"] for item in found]

    def send(self, labels: Mapping[str, str], annotations: Mapping[str, str], *, ends_in: float) -> None:
        """Send an alert that began a minute ago and ends in so many seconds, or did where they are negative."""
        now = datetime.now(UTC)
        times = {"startsAt": now - timedelta(seconds=60), "endsAt": now + timedelta(seconds=ends_in)}
        alert = {"labels": labels, "annotations": annotations, **{key: at.isoformat() for key, at in times.items()}}
        self._ask("POST", ALERTS, [alert])

    def _ask(self, method: str, path: str, body: object = None) -> list[dict[str, Any]]:
        answer = self._pool.request(
            method,
            path,
            body=None if body is None else json.dumps(body),
            headers={"Content-Type": "application/json"},
            timeout=SECONDS,
            retries=False,
        )
        text = answer.data.decode("utf-8", "replace")
        if answer.status != 200:
            said = f"Alertmanager answered {answer.status} for {method} {path}: {' '.join(text.split())[:200]}"
            raise AlertmanagerError(said, answer.status)
        found: list[dict[str, Any]] = json.loads(text) if text.strip() else []
        return found
