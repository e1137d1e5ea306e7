"""Whether an autoscaler can do its work, as its conditions say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.checks.autoscaler import AutoscalerCheck
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access, CheckFailed, Service

NO_METRICS = {"type": "ScalingActive", "status": "False", "reason": "FailedGetResourceMetric", "message": "no metrics"}
NOBODY = {"type": "AbleToScale", "status": "False", "reason": "FailedGetScale", "message": '"nobody" not found'}
ACTIVE = {"type": "ScalingActive", "status": "True"}


def run(conditions: list[dict[str, str]], age_seconds: int = 600) -> tuple[object, object]:
    made = (datetime.now(UTC) - timedelta(seconds=age_seconds)).isoformat(timespec="seconds")
    found: dict[str, Any] = {
        "metadata": {"creationTimestamp": made},
        "spec": {"minReplicas": 2, "maxReplicas": 5},
        "status": {"currentReplicas": 2, "conditions": conditions},
    }
    cluster = SimpleNamespace(get=lambda *_: found)
    return AutoscalerCheck("autoscaler", Service("api", 80)).run(Access(cast("Any", cluster), cast("Any", None), "x"))


def test_an_autoscaler_that_knows_the_use_of_its_pods() -> None:
    assert run([ACTIVE]) == ("2 pods, knows the use of its pods", "2 to 5")


def test_the_first_metrics_are_not_there_at_once() -> None:
    assert run([NO_METRICS], 60) == ("2 pods, waits for the first metrics", "2 to 5")
    with pytest.raises(CheckFailed, match="FailedGetResourceMetric: no metrics"):
        run([NO_METRICS])


def test_an_autoscaler_without_anything_to_scale() -> None:
    with pytest.raises(CheckFailed, match='FailedGetScale: "nobody" not found'):
        run([NOBODY, ACTIVE], 10)


def test_an_autoscaler_that_is_not_there() -> None:
    cluster = SimpleNamespace(get=lambda *_: None)
    with pytest.raises(CheckFailed, match="HorizontalPodAutoscaler x/api does not exist"):
        AutoscalerCheck("autoscaler", Service("api", 80)).run(Access(cast("Any", cluster), cast("Any", None), "x"))
