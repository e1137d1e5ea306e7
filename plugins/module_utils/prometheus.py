# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of Prometheus's HTTP API (https://prometheus.io/docs/prometheus/latest/querying/api/)."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import urllib3
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

SECONDS = 30
"""Time for one answer: a quarter of what Prometheus itself gives a query (--query.timeout) is long for a panel."""
CONNECTIONS = 8
"""Connections that are kept open where many threads ask."""
UNITS = {"h": 3600, "m": 60, "s": 1}
LONGEST_SAID = 200
"""Characters of an answer that is none of Prometheus's which a message shows."""


class PrometheusError(PlatformError):
    """An answer of Prometheus that is a refusal; `status` is that of HTTP."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Sample:
    """One value of an expression: its labels (the name of a metric is `__name__`), `time` in Unix seconds."""

    labels: Mapping[str, str]
    value: float
    time: float


@dataclass(frozen=True)
class Series:
    """The values of an expression over a time: `points` are pairs of Unix seconds and value, oldest first."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Target:
    """What Prometheus scrapes: `health` is up, down or unknown (not scraped yet), `scraped` in Unix seconds or 0.

    `interval` are the seconds between two scrapes.
    """

    labels: Mapping[str, str]
    url: str
    pool: str
    health: str
    error: str
    scraped: float
    interval: float


@dataclass(frozen=True)
class Alert:
    """An alert that is pending or firing by its `state`, since `since` (Unix seconds)."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    state: str
    value: float
    since: float

    @property
    def name(self) -> str:
        """The name of its rule."""
        return self.labels["alertname"]


@dataclass(frozen=True)
class Rule:
    """A rule as Prometheus has loaded it from `file`.

    `kind` is alerting or recording, `health` ok, err or unknown (not evaluated yet), `state` that of an alert
    (inactive, pending or firing; empty for a recording rule), `evaluated` in Unix seconds or 0. `alerts` are those
    that it has pending or firing now.
    """

    group: str
    file: str
    name: str
    query: str
    kind: str
    health: str
    error: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    state: str
    evaluated: float
    alerts: tuple[Alert, ...]


class Prometheus:
    """A Prometheus behind a pool of connections; may be used by many threads.

    `pool` leads to where it answers: urllib3.HTTPConnectionPool(*access.address(service)) for one in the cluster.
    `prefix` is the path under which it does, `headers` are sent with each request. All calls raise PrometheusError
    with the expression and Prometheus's own words where it refuses, urllib3.exceptions.HTTPError where it is silent.
    """

    def __init__(
        self, pool: urllib3.HTTPConnectionPool, prefix: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        self._pool = pool
        self._prefix = prefix.rstrip("/")
        self._headers = dict(headers or {})

    @classmethod
    @contextmanager
    def at(cls, url: str, ca_file: str = "") -> Iterator[Self]:
        """The Prometheus at a URL, whose certificate is held against the authorities in `ca_file` or the public ones.

        A login in the URL is sent as basic authentication.
        """
        parts = urlsplit(url)
        trusted = {"ssl_context": ssl.create_default_context(cafile=ca_file or None)} if parts.scheme == "https" else {}
        login = f"{parts.username}:{parts.password or ''}" if parts.username else None
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        with urllib3.connection_from_url(place, maxsize=CONNECTIONS, **trusted) as pool:
            yield cls(pool, parts.path, urllib3.make_headers(basic_auth=login) if login else None)

    def query(self, expr: str, at: float | None = None) -> list[Sample]:
        """The values of a PromQL expression now, or at a time (Unix seconds).

        A scalar is one sample without labels. A range vector gives the newest point of each series. NaN and
        infinities are floats as in Python.
        """
        data = self._ask("query", expr, {"query": expr} | ({} if at is None else {"time": at}))
        if data["resultType"] in ("scalar", "string"):
            return [_sample({}, data["result"])]
        newest = "values" if data["resultType"] == "matrix" else "value"
        found = [(item["metric"], item.get(newest)) for item in data["result"]]
        # What has no plain value is a native histogram: there is no number that it is.
        return [_sample(labels, point[-1] if newest == "values" else point) for labels, point in found if point]

    def query_range(self, expr: str, start: float, end: float, step: float) -> list[Series]:
        """The values of a PromQL expression from `start` to `end` (Unix seconds), one each `step` seconds."""
        data = self._ask("query_range", expr, {"query": expr, "start": start, "end": end, "step": step})
        return [
            Series(item["metric"], tuple((float(time), float(value)) for time, value in item.get("values", ())))
            for item in data["result"]
        ]

    def targets(self) -> list[Target]:
        """What Prometheus scrapes now; what its relabelling dropped is left out."""
        return [
            Target(
                labels=item["labels"],
                url=item["scrapeUrl"],
                pool=item["scrapePool"],
                health=item["health"],
                error=item["lastError"],
                scraped=_seconds(item["lastScrape"]),
                interval=_duration(item["scrapeInterval"]),
            )
            for item in self._ask("targets", "its targets", {"state": "active"})["activeTargets"]
        ]

    def pools(self) -> set[str]:
        """The names of all pools of targets that are configured, also of those without any."""
        return set(self._ask("scrape_pools", "its pools")["scrapePools"])

    def rules(self) -> list[Rule]:
        """All rules of all groups, in their order."""
        return [
            Rule(
                group=group["name"],
                file=group["file"],
                name=item["name"],
                query=item["query"],
                kind=item["type"],
                health=item["health"],
                error=item.get("lastError", ""),
                labels=item.get("labels") or {},
                annotations=item.get("annotations") or {},
                state=item.get("state", ""),
                evaluated=_seconds(item["lastEvaluation"]),
                alerts=tuple(map(_alert, item.get("alerts") or ())),
            )
            for group in self._ask("rules", "its rules")["groups"]
            for item in group["rules"]
        ]

    def alerts(self) -> list[Alert]:
        """The alerts that are pending or firing."""
        return [_alert(item) for item in self._ask("alerts", "its alerts")["alerts"]]

    def _ask(self, what: str, about: str, form: Mapping[str, object] | None = None) -> dict[str, Any]:
        """The data of an answer. Expressions are posted: they may be longer than a URL."""
        path, body, headers = f"{self._prefix}/api/v1/{what}", None, self._headers
        if what.startswith("query"):
            body, headers = urlencode(form or {}), {**headers, "Content-Type": "application/x-www-form-urlencoded"}
        elif form:
            path += f"?{urlencode(form)}"
        method = "POST" if body else "GET"
        answer = self._pool.request(method, path, body=body, headers=headers, timeout=SECONDS, retries=False)
        text = answer.data.decode("utf-8", "replace")
        try:
            found = json.loads(text)
            if found["status"] == "success":
                data: dict[str, Any] = found["data"]
                return data
            said = f"{found['errorType']}: {found['error']}"
        except (ValueError, KeyError, TypeError):
            said = f"no answer of Prometheus's: {' '.join(text.split())[:LONGEST_SAID]}"
        raise PrometheusError(f"Prometheus answered {answer.status} for {about}: {said}", answer.status)


def _sample(labels: Mapping[str, str], point: tuple[float, str]) -> Sample:
    return Sample(labels, float(point[1]), float(point[0]))


def _alert(item: Mapping[str, Any]) -> Alert:
    return Alert(item["labels"], item["annotations"], item["state"], float(item["value"]), _seconds(item["activeAt"]))


def _seconds(when: str) -> float:
    """Unix seconds of a time by RFC 3339; 0 for the year 1, by which Go says never."""
    found = datetime.fromisoformat(when)
    return found.timestamp() if found.year > 1 else 0.0


def _duration(text: str) -> float:
    """Seconds of a duration as Prometheus writes it, for instance 1m30s; one below a second is 0."""
    return sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)([hms])(?!s)", text))
