"""What the plain serving API makes of its settings, of rows and of a model's signature, and what it counts."""

from __future__ import annotations

from typing import Any

import mlflow
import numpy as np
import pytest
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import CheckFailed
from ansible_collections.mlops.platform.plugins.module_utils.checks.model_api import rows_of
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from model_api.metrics import Metrics
from model_api.rows import Unfit, UnsupportedSignature, reader
from model_api.settings import Settings, SettingsError
from prometheus_client import generate_latest

ROW = [5.1, 3.5, 1.4, 0.2]


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "one of MODEL_API_MODEL_URI and MODEL_API_MODEL_NAME is needed"),
        ({"MODEL_API_MODEL_URI": "models:/a/1", "MODEL_API_MODEL_NAME": "a"}, "not both"),
        (
            {"MODEL_API_MODEL_NAME": "a", "MODEL_API_PORT": "http"},
            "MODEL_API_PORT is 'http'; allowed are whole numbers",
        ),
        ({"MODEL_API_MODEL_NAME": "a", "MODEL_API_MAX_ROWS": "0"}, "MODEL_API_MAX_ROWS is '0'; allowed are"),
    ],
)
def test_wrong_settings_are_refused(environment: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Settings.read(environment)


def test_settings() -> None:
    found = Settings.read({"MODEL_API_MODEL_NAME": "a", "MODEL_API_MODEL_ALIAS": "b", "MODEL_API_MAX_ROWS": "7"})
    assert (found.model_uri, found.max_rows, found.port) == ("models:/a@b", 7, 8080)
    assert Settings.read({"MODEL_API_MODEL_URI": "models:/a/1"}).model_uri == "models:/a/1"


def signature(*columns: ColSpec | TensorSpec) -> Any:
    return mlflow.models.ModelSignature(inputs=Schema(list(columns)))


def test_columns_get_their_types() -> None:
    read = reader(
        signature(
            ColSpec(DataType.integer, "i"), ColSpec(DataType.string, "s"), ColSpec(DataType.boolean, "b"),
            ColSpec(DataType.float, "f"), ColSpec(DataType.datetime, "d"),
            ColSpec(DataType.double, "o", required=False),
        )
    )  # fmt: skip
    table = read([[3, "x", True, 1, "2026-01-02T03:04:05", None], [4.0, "y", False, 0.5, "2026-01-02", 1]])
    assert [str(kind) for kind in table.dtypes][:4] == ["int32", "object", "bool", "float32"]
    assert table["d"][1].day == 2
    assert table["o"].isna().tolist() == [True, False]


@pytest.mark.parametrize(
    ("kind", "value"),
    [("integer", 2**31), ("integer", 0.5), ("integer", True), ("long", "1"), ("string", 1), ("boolean", 1),
     ("datetime", "yesterday"), ("double", float("inf")), ("double", None), ("double", [1])],
)  # fmt: skip
def test_values_of_another_type_are_refused(kind: str, value: Any) -> None:
    with pytest.raises(Unfit, match=rf"features\[0\]\[0\] \(x\): .* is no {kind}"):
        reader(signature(ColSpec(DataType[kind], "x")))([[value]])


def test_tensors_are_read_by_their_shape() -> None:
    read = reader(signature(TensorSpec(np.dtype("float32"), (-1, 4))))
    assert read([ROW]).dtype == np.float32
    for rows in ([ROW[:3]], [["x"] * 4], [ROW, ROW[:3]]):
        with pytest.raises(Unfit, match="no tensor of float32"):
            read(rows)


def test_signatures_that_rows_cannot_carry_are_refused() -> None:
    two = signature(TensorSpec(np.dtype("float32"), (-1, 4), "a"), TensorSpec(np.dtype("float32"), (-1, 4), "b"))
    with pytest.raises(UnsupportedSignature, match="one tensor"):
        reader(two)
    with pytest.raises(UnsupportedSignature, match="'x' is of type"):
        reader(signature(ColSpec(DataType.binary, "x")))


def test_the_labels_of_metrics_are_bounded() -> None:
    metrics = Metrics()
    for number in range(5):
        metrics.serve("iris", str(number), "champion", "run")
    text = generate_latest(metrics.registry).decode()
    assert text.count("model_api_model_info{") == 1


def test_rows_of_a_v2_request() -> None:
    columns = [{"name": "a", "shape": [2, 1], "data": [1, 2]}, {"name": "b", "shape": [2, 1], "data": ["x", "y"]}]
    assert rows_of({"inputs": columns}) == [[1, "x"], [2, "y"]]
    assert rows_of({"inputs": [{"name": "a", "shape": [2, 2], "data": [1, 2, 3, 4]}]}) == [[1, 2], [3, 4]]
    assert rows_of({"inputs": [{"name": "a", "shape": [2], "data": [1, 2]}]}) == [[1], [2]]
    with pytest.raises(CheckFailed, match="no rows of values"):
        rows_of({"inputs": [{"name": "a", "shape": [2, 3, 3], "data": [0] * 18}]})
