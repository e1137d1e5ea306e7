"""Phases from events, and the path through them that decides how long a run takes."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.timeline import Phase, critical_path, phases


def event(time: float, host: str, kind: str, phase: str, **fields: Any) -> dict[str, Any]:
    return {"time": time, "host": host, "kind": kind, "phase": phase, "message": "", **fields}


def path(*run: Phase) -> list[tuple[str, str]]:
    return [(item.host, item.phase) for item in critical_path(run)]


def test_beginnings_and_ends_are_paired() -> None:
    found = phases(
        [
            event(1.0, "minio", "begin", "apply"),
            event(1.5, "mlflow", "begin", "wait", waits_for=["minio"]),
            event(2.0, "minio", "progress", "apply"),
            event(3.0, "minio", "end", "apply", message="2 created"),
            event(4.0, "mlflow", "end", "wait", failed=True),
        ],
        finished=9.0,
    )
    assert found == [
        Phase("minio", "apply", 1.0, 3.0, (), "2 created", False),
        Phase("mlflow", "wait", 1.5, 4.0, ("minio",), "", True),
    ]


def test_the_same_phase_may_come_twice_or_within_itself() -> None:
    twice = [event(t, "a", kind, "rollout") for t, kind in ((1, "begin"), (2, "end"), (3, "begin"), (5, "end"))]
    assert [item.seconds for item in phases(twice, 9)] == [1, 2]
    within = [event(t, "a", kind, "rollout") for t, kind in ((1, "begin"), (2, "begin"), (3, "end"), (5, "end"))]
    assert [(item.begin, item.end) for item in phases(within, 9)] == [(1, 5), (2, 3)]


def test_a_phase_that_was_killed_ends_with_the_run_and_has_failed() -> None:
    (found,) = phases([event(1.0, "minio", "begin", "rollout")], finished=9.0)
    assert (found.end, found.failed) == (9.0, True)


def test_an_end_without_a_beginning_is_nothing() -> None:
    assert phases([event(1.0, "minio", "end", "rollout")], finished=9.0) == []
    assert critical_path([]) == []


def test_the_longer_requirement_decides() -> None:
    run = (
        Phase("minio", "preflight", 0, 1),
        Phase("minio", "apply", 1, 3),
        Phase("postgresql", "apply", 1, 6),
        Phase("mlflow", "render", 1, 2),
        Phase("mlflow", "wait", 2, 6, ("minio", "postgresql")),
        Phase("mlflow", "apply", 6, 8),
        Phase("mlflow", "model", 9, 10),
    )
    assert path(*run) == [
        ("minio", "preflight"),
        ("postgresql", "apply"),
        ("mlflow", "apply"),
        ("mlflow", "model"),
    ]
    assert sum(item.seconds for item in critical_path(run)) == 1 + 5 + 2 + 1


def test_what_nobody_waits_for_may_be_the_longest() -> None:
    assert path(
        Phase("minio", "apply", 0, 2),
        Phase("mlflow", "wait", 0, 2, ("minio",)),
        Phase("mlflow", "apply", 2, 3),
        Phase("lonely", "apply", 0, 9),
    ) == [("lonely", "apply")]


def test_components_side_by_side_do_not_add_up() -> None:
    """Without a wait between them, one that merely began later does not come after the other."""
    run = (Phase("a", "validate", 0, 4), Phase("b", "validate", 4, 7))
    assert path(*run) == [("a", "validate")]


def test_a_component_s_own_work_before_its_wait_counts_where_it_is_longer() -> None:
    run = (
        Phase("minio", "apply", 0, 1),
        Phase("mlflow", "render", 0, 5),
        Phase("mlflow", "wait", 5, 5, ("minio",)),
        Phase("mlflow", "apply", 5, 6),
    )
    assert path(*run) == [("mlflow", "render"), ("mlflow", "apply")]


@pytest.mark.parametrize("barrier", ["cluster", "images", "preflight"])
def test_a_phase_of_the_run_comes_after_everything_before_it(barrier: str) -> None:
    run = (
        Phase("local", "cluster", 0, 3),
        Phase("cluster_addons", "apply", 3, 8),
        Phase("local", barrier, 8, 9),
        Phase("minio", "apply", 9, 10),
        Phase("minio", "rollout", 10, 12),
    )
    assert path(*run) == [
        ("local", "cluster"),
        ("cluster_addons", "apply"),
        ("local", barrier),
        ("minio", "apply"),
        ("minio", "rollout"),
    ]


def test_waiting_makes_no_path_longer() -> None:
    assert path(
        Phase("minio", "apply", 0, 1),
        Phase("mlflow", "wait", 0, 3, ("minio",)),
        Phase("mlflow", "apply", 3, 4),
        Phase("lonely", "apply", 0, 3.5),
    ) == [("lonely", "apply")]


def test_gaps_between_phases_are_no_part_of_the_path() -> None:
    run = (Phase("a", "apply", 0, 2), Phase("a", "validate", 10, 11))
    assert sum(item.seconds for item in critical_path(run)) == 3
