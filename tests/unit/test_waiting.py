"""What a wait says of its pods: the newest of their events, and nobody else's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Object
from ansible_collections.mlops.platform.plugins.module_utils.waiting import _newest_event

PODS: list[dict[str, Any]] = [{"metadata": {"uid": "a"}}, {"metadata": {"uid": "b"}}]


def told(uid: str, at: str, message: str, **fields: object) -> Object:
    return {
        "involvedObject": {"uid": uid}, "type": "Normal", "reason": "Why", "message": message,
        "lastTimestamp": at, "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}, **fields,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], ""),
        ([told("another", "2026-01-01T00:00:09Z", "not ours")], ""),
        (
            [told("a", "2026-01-01T00:00:05Z", 'Pulling image "x"'), told("b", "2026-01-01T00:00:01Z", "Scheduled")],
            'Pulling image "x"',
        ),
        (
            [told("a", "2026-01-01T00:00:05Z", "probe failed", type="Warning", reason="Unhealthy")],
            "Unhealthy: probe failed",
        ),
        # Events of newer clients have a finer time, or none but that of their making.
        (
            [
                told("a", "", "first", eventTime=None),
                told("a", "", "second", eventTime="2026-01-01T00:00:01.000001Z"),
            ],
            "second",
        ),
    ],
    ids=["none", "another pod", "newest", "warning", "times"],
)
def test_the_newest_event_of_the_pods(events: Sequence[Object], expected: str) -> None:
    assert _newest_event(lambda version, kind, namespace: events, "mlops", PODS) == expected
