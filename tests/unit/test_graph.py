"""The order of components."""

from __future__ import annotations

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.graph import waves

REQUIRES = {"mlflow": {"minio": "mlflow_s3_endpoint_url", "postgresql": ""}, "minio": {}, "postgresql": {}}


def test_waves_put_requirements_first() -> None:
    deeper = {**REQUIRES, "serving": {"mlflow": ""}}
    assert waves(deeper) == [["minio", "postgresql"], ["mlflow"], ["serving"]]
    assert waves({}) == []


def test_a_missing_requirement_is_named_with_what_may_stand_instead() -> None:
    requires = {key: value for key, value in REQUIRES.items() if key != "minio"}
    with pytest.raises(PlatformError) as caught:
        waves(requires)
    assert str(caught.value) == (
        "inventory: mlflow requires minio, which is not in the group components: add it, "
        "or set mlflow_s3_endpoint_url to an external endpoint"
    )


def test_a_requirement_that_nothing_replaces() -> None:
    requires = {key: value for key, value in REQUIRES.items() if key != "postgresql"}
    with pytest.raises(PlatformError, match=r"requires postgresql, which is not in the group components: add it$"):
        waves(requires)


def test_an_external_endpoint_stands_for_a_component() -> None:
    requires = {key: value for key, value in REQUIRES.items() if key != "minio"}
    assert waves(requires, {"mlflow_s3_endpoint_url": True}) == [["postgresql"], ["mlflow"]]


def test_a_circle_is_named() -> None:
    with pytest.raises(PlatformError, match="require each other in a circle: ") as caught:
        waves({"a": {"b": ""}, "b": {"c": ""}, "c": {"a": ""}, "d": {}})
    names = str(caught.value).partition("circle: ")[2].split(" -> ")
    assert names[0] == names[-1]
    assert set(names) == {"a", "b", "c"}
