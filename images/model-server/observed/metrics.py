"""What a model is asked and what it answers, for Prometheus. Every label has a bounded number of values."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client import Counter as Total
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds of the durations: close together where a goal of 100 ms is missed or met."""
VALUES = (
    -1e6, -1e5, -1e4, -1e3, -100.0, -10.0, -1.0, -0.1, 0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0,
    100.0, 250.0, 500.0, 1e3, 1e4, 1e5, 1e6,
)  # fmt: skip
"""Bounds of real-valued predictions: probabilities closely, other numbers by their size."""
MOST_CLASSES = 50
MOST_FEATURES = 50
MOST_VERSIONS = 20
"""Versions of one model whose feedback a process takes: a version is a label, and this one comes from outside."""
LARGEST = 1e100
"""A larger number, like one that is none, counts as missing: its square would make all sums infinite."""
NUMERIC = "biuf"
"""The kinds of NumPy's types that are numbers."""
OTHER = "other"
NUMBER = "number"
SUMS = {
    "positive_sum": "The sum of those above 0.",
    "negative_sum": "The sum of the absolute values of those below 0.",
    "square_sum": "The sum of their squares.",
}
"""What is kept of the values of a feature besides their number; each only grows, so that rate() is right."""


def columns(rows: Any) -> dict[str, np.ndarray]:
    """The columns of some rows, each an array of one value a row.

    A table has its own names. What has more than one value a row and no names for them is numbered (`<name>.0`), as far
    as there are at most MOST_FEATURES; an array of more dimensions, an image say, has no columns.
    """
    if isinstance(rows, pd.DataFrame):
        return {str(name): np.ravel(values.to_numpy()) for name, values in rows.items()}
    if isinstance(rows, pd.Series):
        return {str(rows.name or 0): rows.to_numpy()}
    if isinstance(rows, Mapping):
        parts = {str(name): np.asarray(values) for name, values in rows.items()}
        return {key: values for name, array in parts.items() for key, values in _numbered(array, f"{name}.", name)}
    return dict(_numbered(np.asarray(rows), "", "0"))


def numbers(rows: Any) -> tuple[tuple[str, ...], np.ndarray, dict[str, np.ndarray]]:
    """The numeric columns of some rows: their names, a matrix with a row each; and the columns that are not numeric.

    Taken apart column by column are only rows of which some are no numbers: that costs a hundred times as much.
    """
    if isinstance(rows, pd.DataFrame):
        whole = rows.to_numpy()
        if whole.dtype.kind in NUMERIC:
            return tuple(map(str, rows.columns)), whole, {}
    elif isinstance(rows, np.ndarray) and rows.ndim == 2 and rows.dtype.kind in NUMERIC:
        width = rows.shape[1]
        return (tuple(map(str, range(width))), rows, {}) if width <= MOST_FEATURES else ((), rows, {})
    found = columns(rows)
    kept = {name: values for name, values in found.items() if values.dtype.kind in NUMERIC}
    matrix = np.array([values.astype(float) for values in kept.values()]).T
    return tuple(kept), matrix, {name: values for name, values in found.items() if name not in kept}


def _numbered(array: np.ndarray, prefix: str, single: str) -> Iterator[tuple[str, np.ndarray]]:
    if array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1):
        yield single, array.ravel()
    elif array.ndim == 2 and array.shape[1] <= MOST_FEATURES:
        yield from ((f"{prefix}{number}", array[:, number]) for number in range(array.shape[1]))


class _Version:
    """What is summed up of one version of a model: arrays by feature, numbers by class and by bound."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.numeric: set[str] = set()
        self.totals = np.zeros((2 + len(SUMS), MOST_FEATURES))
        self.predictions: Counter[str] = Counter()
        self.bounds = np.zeros(len(VALUES) + 1)
        self._known: dict[tuple[str, ...], tuple[list[int], list[int]]] = {}

    def given(self, names: tuple[str, ...], matrix: np.ndarray, features: tuple[str, ...]) -> None:
        """Rows of numbers were predicted: a column of the matrix for each name."""
        columns, places = self._known.get(names) or self._place(names, features)
        numbers = matrix.astype(float, copy=False)
        numbers = numbers if len(columns) == len(names) else numbers[:, columns]
        there = np.abs(numbers) < LARGEST
        kept = np.where(there, numbers, 0.0)
        above, count = np.maximum(kept, 0.0).sum(0), there.sum(0)
        self.totals[:, places] += (
            count, len(numbers) - count, above, above - kept.sum(0), np.einsum("ij,ij->j", kept, kept)
        )  # fmt: skip

    def told(self, name: str, values: np.ndarray, features: tuple[str, ...]) -> None:
        """A column of other things than numbers was predicted with."""
        _, places = self._place((name,), features, numeric=False)
        there = len(values) - int(pd.isna(values).sum())
        self.totals[:2, places] += [[there], [len(values) - there]]

    def _place(
        self, names: tuple[str, ...], features: tuple[str, ...], *, numeric: bool = True
    ) -> tuple[list[int], list[int]]:
        """Which of these columns are counted, and where; a name that comes when all places are taken is not."""
        for name in names:
            if name not in self.places and len(self.places) < MOST_FEATURES and (not features or name in features):
                self.places[name] = len(self.places)
        columns = [number for number, name in enumerate(names) if name in self.places]
        places = [self.places[names[number]] for number in columns]
        if numeric:
            self.numeric |= set(names) & set(self.places)
            if len(self._known) < MOST_FEATURES:
                self._known[names] = columns, places
        return columns, places

    def predicted(self, values: np.ndarray) -> None:
        """So many predictions were made: classes, or numbers."""
        if values.dtype.kind == "f":
            self.predictions[NUMBER] += len(values)
            kept = values[np.abs(values) < LARGEST].astype(float)
            self.bounds += np.bincount(np.searchsorted(VALUES, kept), minlength=len(VALUES) + 1)
            return
        for value, number in Counter(values.tolist()).items():
            name = str(value)
            known = name in self.predictions or len(self.predictions) < MOST_CLASSES
            self.predictions[name if known else OTHER] += number


class ModelMetrics(Collector):
    """The metrics of the models of one process, in a registry; may be used by many threads."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lock = threading.Lock()
        self._versions: dict[tuple[str, str], _Version] = {}
        self._answered = Histogram(
            "model_request_duration_seconds", "Time in the server from a request to its answer, by HTTP status.",
            ["model", "model_version", "code"], buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self._feedback = Total(
            "model_feedback", "Predictions that clients have told to be good or bad.",
            ["model", "model_version", "outcome"], registry=registry,
        )  # fmt: skip
        self._told: set[tuple[str, str]] = set()
        registry.register(self)

    def answered(self, model: str, version: str, status: int, seconds: float) -> None:
        """A request was answered with an HTTP status."""
        self._answered.labels(model, version, str(status)).observe(seconds)

    def predicted(self, model: str, version: str, rows: Any, predictions: Any, features: tuple[str, ...] = ()) -> None:
        """Rows were predicted. Of `predictions` with several columns the first one counts."""
        names, matrix, others = numbers(rows)
        outcome = columns(predictions)
        with self._lock:
            kept = self._versions.get((model, version)) or self._versions.setdefault((model, version), _Version())
            if names:
                kept.given(names, matrix, features)
            for name, values in others.items():
                kept.told(name, values, features)
            if outcome:
                kept.predicted(next(iter(outcome.values())))

    def fed_back(self, model: str, version: str, good: int, bad: int) -> bool:
        """Clients say how many predictions of a version were good; False where there are too many versions."""
        with self._lock:
            if (model, version) not in self._told and len(self._told) >= MOST_VERSIONS:
                return False
            self._told.add((model, version))
        self._feedback.labels(model, version, "good").inc(good)
        self._feedback.labels(model, version, "bad").inc(bad)
        return True

    def describe(self) -> list[Metric]:
        """Nothing yet: a registry asks when something is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The metrics of rows and predictions."""
        labels = ["model", "model_version"]
        predictions = CounterMetricFamily(
            "model_predictions", "Rows predicted, by class.", labels=[*labels, "prediction"]
        )
        values = HistogramMetricFamily("model_prediction_value", "Real-valued predictions.", labels=labels)
        there = CounterMetricFamily("model_input_values", "Values of a feature.", labels=[*labels, "feature"])
        missing = CounterMetricFamily(
            "model_input_missing", "Values of a feature that were missing.", labels=[*labels, "feature"]
        )
        sums = [
            CounterMetricFamily(f"model_input_{name}", said, labels=[*labels, "feature"]) for name, said in SUMS.items()
        ]
        with self._lock:
            for key, version in self._versions.items():
                for name, number in version.predictions.items():
                    predictions.add_metric([*key, name], number)
                if NUMBER in version.predictions:
                    reached = np.cumsum(version.bounds).tolist()
                    # Without a sum: it would not only grow, as there are numbers below 0.
                    values.add_metric(key, list(zip([*map(str, VALUES), "+Inf"], reached, strict=True)), None)
                for feature, place in version.places.items():
                    families = [there, missing, *(sums if feature in version.numeric else [])]
                    for family, total in zip(families, version.totals[:, place], strict=False):
                        family.add_metric([*key, feature], total)
        yield from (predictions, values, there, missing, *sums)
