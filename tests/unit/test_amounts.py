"""CPUs and memory of a report's components, added up and as people read them."""

from __future__ import annotations

import pytest
from ansible_collections.mlops.platform.plugins.module_utils import amounts


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, amounts.NOT_KNOWN),
        (0, "0 B"),
        (1023, "1023 B"),
        (2**20, "1 Mi"),
        (214864 * 1024, "210 Mi"),
        (1.5 * 2**30, "1.5 Gi"),
        (2**45, "32 Ti"),
    ],
)
def test_memory(value: float | None, text: str) -> None:
    assert amounts.memory(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.0038, "4m"), (0.5, "500m"), (2.0, "2"), (1.25, "1.25")])
def test_cpus(value: float | None, text: str) -> None:
    assert amounts.cpus(value) == text
