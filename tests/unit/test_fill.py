"""The filter `fill`: one description for each item."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.fill import fill

ITEM = {"name": "mlflow", "buckets": ["a", "b"], "port": 5000}


@pytest.mark.parametrize(
    ("pattern", "filled"),
    [
        ("user-<name>", "user-mlflow"),
        ("<name>:<port>", "mlflow:5000"),
        ("<port>", 5000),
        ("<buckets>", ["a", "b"]),
        ({"user": "<name>"}, {"user": "mlflow"}),
        (["<name>", {"list": ("<port>", 1)}], ["mlflow", {"list": [5000, 1]}]),
        ("a < b and b > a", "a < b and b > a"),
        (True, True),
        (None, None),
    ],
)
def test_fields_are_replaced_wherever_they_stand(pattern: Any, filled: Any) -> None:
    assert fill([ITEM], pattern) == [filled]


def test_one_result_for_each_item_in_their_order() -> None:
    assert fill([{"name": "b"}, {"name": "a"}], {"user": "<name>"}) == [{"user": "b"}, {"user": "a"}]
    assert fill([], {"user": "<name>"}) == []


def test_a_field_that_an_item_does_not_have() -> None:
    with pytest.raises(PlatformError, match=r"\{'name': 'a'\} has no field 'secret'"):
        fill([{"name": "a"}], {"credentials": "<secret>"})
