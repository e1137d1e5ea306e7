"""Every fault is reported by the check that must see it, with its cause and soon; without that check it is not."""

from __future__ import annotations

import re

import pytest
from faults.faults import Fault
from faults.platform import Outcomes, Platform
from faults.sets import CHOSEN, SETS
from faults.stage import Stage

FAULTS = CHOSEN.faults


def assert_reported(outcomes: Outcomes, check: str, cause: str) -> None:
    """The check says what is wrong."""
    outcome = outcomes[check]
    assert not outcome["healthy"], f"{check} sees nothing wrong"
    assert re.search(cause, outcome["message"]), outcome["message"]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_the_right_check_reports_the_cause_in_time(fault: Fault, stage: Stage) -> None:
    played = stage.played(fault)
    for component, check, cause in fault.expected:
        assert_reported(played.outcomes[component], check, cause)
        assert played.seconds[component] <= fault.seconds


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_without_the_check_nobody_reports_it_under_that_name(fault: Fault, stage: Stage) -> None:
    for component, check, cause in fault.expected:
        with pytest.raises(AssertionError, match="sees nothing wrong"):
            assert_reported(stage.played(fault).mutants[component, check], check, cause)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_the_next_run_puts_it_right(fault: Fault, stage: Stage, platform: Platform) -> None:
    repaired = stage.played(fault).repaired
    assert list(repaired) == list(platform.components)
    for outcomes in repaired.values():
        assert {name: item["message"] for name, item in outcomes.items() if not item["healthy"]} == {}


def test_every_check_of_the_components_was_shown_to_see_a_fault(platform: Platform) -> None:
    def places(faults: list[Fault]) -> set[tuple[str, str]]:
        return {(component, check) for fault in faults for component, check, _ in fault.expected}

    checks = {(name, check["name"]) for name, item in platform.components.items() for check in item.checks}
    checks |= {(name, "rollout") for name in platform.components}
    assert checks - places([fault for item in SETS.values() for fault in item.faults]) == set()
    assert places(FAULTS) - checks == set()
