"""What a release makes of an endpoint's answers, and which of a model's settings it keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.models import predict
from ansible_collections.mlops.platform.plugins.module_utils.models.deploy import Record
from ansible_collections.mlops.platform.plugins.module_utils.models.inference_service import Settings
from ansible_collections.mlops.platform.plugins.module_utils.models.plan import plan
from ansible_collections.mlops.platform.plugins.module_utils.models.releasing import Versions
from ansible_collections.mlops.platform.plugins.module_utils.models.verdict import Answer


def reference(values: list[int], rows: int = 2) -> predict.Reference:
    output = {"name": "output-1", "shape": [len(values)], "datatype": "INT64", "data": values}
    return predict.Reference({"inputs": [{"name": "x", "data": [rows]}]}, [output], rows, "held_out.json")


def answered(version: str, values: list[int], status: int = 200) -> predict.Answer:
    body: Any = {"model_version": version, "outputs": [{"name": "output-1", "data": values}]}
    return predict.Answer(status, body if status == 200 else "no  such\n column", 0.5)


VERSIONS = Versions({}, {"1": reference([0, 1]), "2": reference([0, 2])}, ())


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (answered("1", [0, 1]), Answer(0.5, "1")),
        (answered("2", [0, 2]), Answer(0.5, "2")),
        (answered("2", [0, 1]), Answer(0.5, "2", wrong="1 of 2 values of output-1 differ: [1] 1 is not 2")),
        (answered("9", [0, 1]), Answer(0.5, "9")),
        (answered("", [], 500), Answer(0.5, error="HTTP 500: no such column")),
    ],
    ids=["stable", "candidate", "a wrong name", "a stranger", "an error"],
)
def test_an_answer_is_held_against_the_version_that_it_names(got: predict.Answer, expected: Answer) -> None:
    assert VERSIONS.answer("1", got) == expected


def test_rows_that_a_version_was_not_asked_for_say_nothing_about_it() -> None:
    """With another signature each version has rows of its own."""
    versions = replace(VERSIONS, own={**VERSIONS.own, "2": reference([0, 2], rows=3)})
    assert versions.answer("1", answered("2", [0, 1])).wrong == ""
    assert versions.answer("2", answered("2", [0, 1])).wrong != ""


def test_a_release_changes_the_version_and_keeps_the_rest() -> None:
    served = Record(Settings("iris", alias="champion", min_replicas=2, gpu=True, rows="/rows.csv"), declared=True)
    asked = Settings("iris", version=2, signature_may_change=True, max_replicas=9)
    kept = replace(served.settings, alias="", version=2, signature_may_change=True)
    assert plan("release", [], [asked], [served], alone=True) == [("release", Record(kept, declared=True))]


def test_only_what_is_served_is_released() -> None:
    with pytest.raises(PlatformError, match="the model iris is not served"):
        plan("release", [Settings("iris")], [Settings("iris", version=2)], [], alone=True)
