"""What the service counts of itself, for Prometheus. Every label has a bounded number of values."""

from __future__ import annotations

from observed.metrics import SECONDS, ModelMetrics
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector


class Metrics:
    """The metrics of one application, in a registry of their own; `models` are those that every served model has."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "model_api_requests", "Requests answered, by route and status.", ["route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "model_api_request_seconds", "Time from a request's first byte to its answer.", ["route"], buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.models = ModelMetrics(self.registry)
        self._loads = Counter(
            "model_api_loads", "Attempts to load a model, by result.", ["result"], registry=self.registry
        )
        self._model = Gauge(
            "model_api_model_info", "1 for the model that is served.", ["model", "version", "alias", "run_id"],
            registry=self.registry,
        )  # fmt: skip
        self._current = Gauge(
            "model_api_model_current", "1 where the model that is asked for is served, 0 where it cannot be.",
            registry=self.registry,
        )  # fmt: skip
        for result in ("loaded", "failed"):
            self._loads.labels(result)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """A request to `route` (its template, so that their number is bounded) was answered."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def tried(self, *, loaded: bool) -> None:
        """A model was loaded, or could not be."""
        self._loads.labels("loaded" if loaded else "failed").inc()

    def serve(self, model: str, version: str, alias: str, run_id: str) -> None:
        """This model is served now, and no other."""
        self._model.clear()
        self._model.labels(model, version, alias, run_id).set(1)

    def current(self, is_current: bool) -> None:
        """Whether what is served is what is asked for."""
        self._current.set(is_current)
