"""The newest reports as metrics: a Job is gone when Prometheus asks, so this program answers for it."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from model_drift.settings import Settings
from model_drift.storage import Storage

LOG = logging.getLogger("model_drift")
STATUSES = ("compared", "too_few_rows", "no_reference", "failed")
SECONDS = 60.0
"""How often the reports are looked for: there is a new one once an hour."""
MOST_FEATURES = 50


class Drift(Collector):
    """Metrics of what the newest reports come to."""

    def __init__(self) -> None:
        self.summaries: list[dict[str, Any]] = []
        self.read_at = 0.0

    def describe(self) -> list[Metric]:
        """Nothing yet: a registry asks when something is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """A sample for each version, and those of its features where it was compared."""
        labels = ["model", "model_version"]

        def family(name: str, said: str, *more: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"model_drift_{name}", said, labels=[*labels, *more])

        detected = family("detected", "1 where so many features have drifted that the model has.")
        share = family("share", "The share of features that have drifted.")
        score = family("score", "Evidently's score of a feature.", "feature", "method")
        drifted = family("feature_drifted", "1 where a feature has drifted.", "feature")
        rows = family("rows", "Rows that were compared.", "data")
        status = family("status", "1 for what became of the newest comparison.", "status")
        moment = family("last_run_timestamp_seconds", "When the newest comparison was made.")
        for item in list(self.summaries):
            key = [item["model"], item["version"]]
            moment.add_metric(key, item["moment"])
            for name in STATUSES:
                status.add_metric([*key, name], item["status"] == name)
            for name, number in item["rows"].items():
                rows.add_metric([*key, name], number)
            if "share" in item:
                detected.add_metric(key, item["detected"])
                share.add_metric(key, item["share"])
            worst = sorted(item.get("features", {}).items(), key=lambda pair: not pair[1]["drifted"])
            for feature, found in worst[:MOST_FEATURES]:
                score.add_metric([*key, feature, found["method"]], found["score"])
                drifted.add_metric([*key, feature], found["drifted"])
        yield from (detected, share, score, drifted, rows, status, moment)
        read = GaugeMetricFamily("model_drift_read_timestamp_seconds", "When the reports were last read from S3.")
        read.add_metric([], self.read_at)
        yield read

    def read(self, storage: Storage) -> None:
        """Look at the newest reports. What cannot be read leaves what was read before."""
        try:
            self.summaries = list(storage.latest())
            self.read_at = time.time()
        except (OSError, ValueError, KeyError) as error:
            LOG.error("the reports cannot be read: %s", " ".join(str(error).split())[:300])


def serve(settings: Settings) -> None:
    """Answer Prometheus until SIGTERM."""
    over = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: over.set())
    storage, drift, registry = Storage(settings), Drift(), CollectorRegistry()
    registry.register(drift)
    server, thread = start_http_server(settings.port, registry=registry)
    while True:
        drift.read(storage)
        if over.wait(SECONDS):
            break
    server.shutdown()
    thread.join()
