"""The page about validation tells of every fault that the tests inject; each component has its share."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from faults.sets import SETS, rows

PAGE = Path(__file__).resolve().parents[2] / "docs" / "validation.md"


def test_the_page_has_the_table() -> None:
    assert "\n".join(rows()) in PAGE.read_text(encoding="utf-8")


EVERYTHING = [fault for item in SETS.values() for fault in item.faults]


def test_each_component_has_three_faults_at_least() -> None:
    assert min(Counter(fault.component for fault in EVERYTHING).values()) >= 3


def test_each_fault_has_a_name_of_its_own() -> None:
    assert max(Counter(map(str, EVERYTHING)).values()) == 1
