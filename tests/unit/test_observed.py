"""What served models count of their rows and predictions, and what they write down of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from observed.inputs import MOST_VALUES, InputLog, Place
from observed.metrics import MOST_CLASSES, MOST_FEATURES, MOST_VERSIONS, NUMBER, OTHER, ModelMetrics
from prometheus_client import CollectorRegistry
from pyarrow import fs

FLOWERS = pd.DataFrame({"length": [1.0, -2.0, np.nan], "width": [3, 4, 5]})


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> ModelMetrics:
    return ModelMetrics(registry)


def samples(registry: CollectorRegistry, name: str, label: str = "feature") -> dict[str, float]:
    return {item.labels.get(label, ""): item.value
            for family in registry.collect() for item in family.samples if item.name == name}  # fmt: skip


def test_sums_of_inputs_only_grow_and_give_mean_and_spread(registry: CollectorRegistry, metrics: ModelMetrics) -> None:
    rows = np.random.default_rng(7).normal(-1, 3, (500, 2))
    for part in np.array_split(rows, 9):
        metrics.predicted("iris", "3", pd.DataFrame(part, columns=["a", "b"]), np.zeros(len(part), int))
    total = {name: samples(registry, f"model_input_{name}_total")
             for name in ("values", "positive_sum", "negative_sum", "square_sum")}  # fmt: skip
    for place, name in enumerate("ab"):
        mean = (total["positive_sum"][name] - total["negative_sum"][name]) / total["values"][name]
        assert mean == pytest.approx(rows[:, place].mean())
        assert (total["square_sum"][name] / total["values"][name] - mean**2) ** 0.5 == pytest.approx(
            rows[:, place].std()
        )


@pytest.mark.parametrize("rows", [FLOWERS, FLOWERS.astype(object), {key: FLOWERS[key].to_numpy() for key in FLOWERS}])
def test_missing_values_are_counted_apart(registry: CollectorRegistry, metrics: ModelMetrics, rows: Any) -> None:
    metrics.predicted("iris", "3", rows, np.array([0, 1, 1]))
    assert samples(registry, "model_input_values_total") == {"length": 2, "width": 3}
    assert samples(registry, "model_input_missing_total") == {"length": 1, "width": 0}
    assert samples(registry, "model_predictions_total", "prediction") == {"0": 1, "1": 2}


def test_text_has_no_mean(registry: CollectorRegistry, metrics: ModelMetrics) -> None:
    metrics.predicted("m", "1", pd.DataFrame({"x": [1.0, 2.0], "colour": ["red", None]}), ["yes", "no"])
    assert samples(registry, "model_input_values_total") == {"x": 2, "colour": 1}
    assert samples(registry, "model_input_missing_total") == {"x": 0, "colour": 1}
    assert samples(registry, "model_input_positive_sum_total") == {"x": 3}
    assert samples(registry, "model_predictions_total", "prediction") == {"yes": 1, "no": 1}


def test_labels_are_bounded(registry: CollectorRegistry, metrics: ModelMetrics) -> None:
    for number in range(3 * MOST_FEATURES):
        metrics.predicted("m", "1", pd.DataFrame({f"from outside {number}": [1.0]}), [number])
    assert len(samples(registry, "model_input_values_total")) == MOST_FEATURES
    predictions = samples(registry, "model_predictions_total", "prediction")
    assert len(predictions) == MOST_CLASSES + 1
    assert (sum(predictions.values()), predictions[OTHER]) == (3 * MOST_FEATURES, 3 * MOST_FEATURES - MOST_CLASSES)
    metrics.predicted("m", "1", np.zeros((2, MOST_FEATURES + 1)), [0, 0])
    assert len(samples(registry, "model_input_values_total")) == MOST_FEATURES
    assert [metrics.fed_back("m", str(number), 1, 0) for number in range(MOST_VERSIONS + 1)] == [
        True
    ] * MOST_VERSIONS + [False]


def test_what_a_signature_does_not_have_is_not_counted(registry: CollectorRegistry, metrics: ModelMetrics) -> None:
    metrics.predicted("m", "1", FLOWERS.assign(more=1), [0, 0, 0], ("length", "width"))
    assert set(samples(registry, "model_input_values_total")) == {"length", "width"}


def test_numbers_that_are_predicted_go_into_a_histogram(registry: CollectorRegistry, metrics: ModelMetrics) -> None:
    metrics.predicted("m", "1", FLOWERS, np.array([0.2, 7.0, np.nan]))
    assert samples(registry, "model_predictions_total", "prediction") == {NUMBER: 3}
    bounds = samples(registry, "model_prediction_value_bucket", "le")
    assert (bounds["0.1"], bounds["0.25"], bounds["5.0"], bounds["10.0"], bounds["+Inf"]) == (0, 1, 1, 2, 2)


def test_requests_are_timed_by_status(registry: CollectorRegistry, metrics: ModelMetrics) -> None:
    metrics.answered("m", "1", 200, 0.003)
    metrics.answered("m", "1", 500, 0.2)
    assert samples(registry, "model_request_duration_seconds_count", "code") == {"200": 1, "500": 1}


class Folder(Place):
    """A folder in place of a bucket; while there is a file `full`, nothing can be written to it."""

    def files(self) -> Any:
        if Path(self.uri, "full").exists():
            raise OSError("the bucket is full")
        return fs.SubTreeFileSystem(self.uri, fs.LocalFileSystem())


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    # S3 has no folders; a disk needs them.
    (tmp_path / "iris" / "3" / pd.Timestamp.now("UTC").strftime("%Y-%m-%d")).mkdir(parents=True)
    return tmp_path


def written(bucket: Path) -> Any:
    """The rows as they came: files are found in any order, and how many there are depends on the writer's haste."""
    found = pd.concat([pd.read_parquet(path) for path in bucket.rglob("*.parquet")])
    return found.sort_values("_time", kind="stable", ignore_index=True)


def counts(registry: CollectorRegistry) -> dict[str, float]:
    return samples(registry, "model_log_rows_total", "result")


def test_rows_are_written_with_their_predictions(bucket: Path, registry: CollectorRegistry) -> None:
    log = InputLog(Folder(str(bucket), run_id="r", reference="s3://a/reference.json"), "iris", "3", registry)
    log.add(FLOWERS, np.array([0, 1, 1]))
    log.add(FLOWERS.head(1), pd.DataFrame({"class": ["a"], "probability": [0.7]}))
    log.close()
    rows = written(bucket)
    assert rows["length"].tolist()[:2] == [1.0, -2.0]
    assert rows["_prediction"].tolist()[:3] == [0, 1, 1]
    assert rows["_prediction.probability"].tolist()[3] == 0.7
    assert abs(rows["_time"] - pd.Timestamp.now("UTC")).max() < pd.Timedelta("1min")
    about = json.loads((bucket / "iris" / "3" / "model.json").read_text())
    assert (about["model"], about["version"], about["run_id"], about["reference"]) == (
        "iris", "3", "r", "s3://a/reference.json"
    )  # fmt: skip
    assert counts(registry) == {"written": 4, "dropped": 0, "failed": 0}


def test_of_rows_without_columns_the_predictions_are_written(bucket: Path, registry: CollectorRegistry) -> None:
    log = InputLog(Folder(str(bucket)), "iris", "3", registry)
    log.add(np.zeros((2, 8, 8)), np.array(["cat", "dog"]))
    log.add(np.zeros((1, MOST_FEATURES + 1)), np.array(["cow"]))
    log.add(np.array([[1, 2]]), np.array(["ant"]))
    log.add(pd.DataFrame({"colour": ["red"], "size": [3]}), np.array(["bee"]))
    log.close()
    rows = written(bucket).set_index("_prediction")
    assert set(rows.index) == {"cat", "dog", "cow", "ant", "bee"}
    assert (rows.loc["ant", "1"], rows.loc["bee", "colour"], rows.loc["bee", "size"]) == (2, "red", 3)
    assert set(rows.columns) == {"_time", "0", "1", "colour", "size"}
    assert counts(registry) == {"written": 5, "dropped": 0, "failed": 0}


def test_a_bucket_that_does_not_take_them_costs_rows_and_nothing_else(
    bucket: Path, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    (bucket / "full").touch()
    log = InputLog(Folder(str(bucket), seconds=0.01), "iris", "3", registry)
    large = np.zeros((MOST_VALUES // 50, 50))
    log.add(FLOWERS, np.array([0, 1, 1]))
    log.add(large, np.zeros(len(large)))
    assert counts(registry) == {"written": 0, "dropped": len(large), "failed": 0}
    log.close()
    assert counts(registry) == {"written": 0, "dropped": len(large), "failed": 3}
    assert caplog.messages == [f"rows cannot be logged to {bucket}: OSError: the bucket is full"]


def test_rows_wait_for_a_bucket_that_comes_back(bucket: Path, registry: CollectorRegistry) -> None:
    (bucket / "full").touch()
    log = InputLog(Folder(str(bucket), seconds=0.01), "iris", "3", registry)
    log.add(FLOWERS, np.array([0, 1, 1]))
    (bucket / "full").unlink()
    log.close()
    assert len(written(bucket)) == 3
    assert counts(registry) == {"written": 3, "dropped": 0, "failed": 0}


def test_rows_that_are_no_table_are_given_up(bucket: Path, registry: CollectorRegistry) -> None:
    log = InputLog(Folder(str(bucket), seconds=0.05), "iris", "3", registry)
    log.add({"a": np.zeros(3), "b": np.zeros(4)}, np.zeros(3))
    log.close()
    assert counts(registry) == {"written": 0, "dropped": 0, "failed": 3}


def test_a_share_of_the_requests_is_logged(bucket: Path, registry: CollectorRegistry) -> None:
    log = InputLog(Folder(str(bucket), percent=25), "iris", "3", registry)
    for _ in range(1000):
        log.add(FLOWERS.head(1), [0])
    log.close()
    # 25 % of 1000 are 250, with a standard deviation of 14: seven of those on either side.
    assert 150 < len(written(bucket)) < 350


def test_the_place_is_said_by_the_environment() -> None:
    assert Place.read({}) is None
    place = Place.read({"MODEL_LOG_URI": "s3://inputs", "MODEL_LOG_PERCENT": "12.5", "MODEL_LOG_REGION": ""})
    assert place == Place("s3://inputs", percent=12.5)
