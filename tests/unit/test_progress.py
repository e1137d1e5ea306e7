"""What people see of a run, made of its events: rows that begin, wait, go on and end."""

from __future__ import annotations

import io
from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.progress import Log, Run, interactive, printable
from ansible_collections.mlops.platform.plugins.module_utils.progress_live import Screen
from rich.console import Console

START = 1_790_000_000.0
Told = tuple[float, str, str, str, str]


def event(seconds: float, host: str, kind: str, phase: str, message: str = "", **fields: object) -> dict[str, Any]:
    return {"time": START + seconds, "host": host, "kind": kind, "phase": phase, "message": message, **fields}


@pytest.fixture
def run() -> Run:
    found = Run("site", START)
    found.play("Provision and validate the components", ["minio", "mlflow", "search"], START)
    return found


def lines(log: Log, seconds: float) -> list[str]:
    """What the log says at that time, without the time."""
    return [line.partition(" ")[2] for line in log.lines(START + seconds)]


def screen(run: Run, seconds: float, width: int = 100, height: int = 30) -> list[str]:
    """What a terminal would show."""
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    made = Screen(run, io.StringIO())
    made._console = console
    console.print(made.frame(START + seconds))
    assert isinstance(console.file, io.StringIO)
    return [line[2:].rstrip() if line[:1] != "s" else line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_component_goes_through_its_phases(run: Run) -> None:
    run.take(event(0, "minio", "begin", "apply", of=9))
    (row,) = run.running()
    assert (row.name, row.phase, row.of, row.count()) == ("minio", "apply", 9, "")
    run.take(event(1, "minio", "begin", "rollout"))
    run.take(event(2, "minio", "progress", "rollout", "0 of 1 ready"))
    assert (row.phase, row.since, run.reason(row, START + 3)) == ("rollout", START + 1, "0 of 1 ready")
    run.take(event(3, "minio", "end", "rollout"))
    assert (row.phase, row.since, row.message) == ("apply", START, ""), "back in the phase around it"
    run.take(event(3, "minio", "end", "apply", "9 created"))
    assert row.phase == ""
    run.take(event(4, "minio", "begin", "validate", of=4))
    run.take(event(5, "minio", "progress", "validate", "health: healthy", done=1, of=4))
    assert row.count() == "1 of 4"
    run.take(event(6, "minio", "end", "validate", "4 of 4 checks healthy"))
    assert row.state == "running", "its result is still on the way"
    run.proven("minio", START + 6)
    assert (row.state, row.ended, run.count_proven(), run.running()) == ("done", START + 6, 1, [])


def test_who_waits_says_for_whom_and_what_they_do(run: Run) -> None:
    run.take(event(0, "mlflow", "begin", "wait", waits_for=["minio", "postgresql"]))
    (row,) = run.running()
    assert run.reason(row, START + 1) == "waits for minio, postgresql"
    run.take(event(0, "minio", "begin", "rollout"))
    assert run.reason(row, START + 12) == "waits for minio, postgresql (minio: rollout 12 s)"
    run.take(event(13, "mlflow", "progress", "wait", "waits for postgresql", waits_for=["postgresql"]))
    assert run.reason(row, START + 13) == "waits for postgresql"
    run.take(event(13, "minio", "end", "rollout"))
    run.take(event(13, "postgresql", "begin", "apply"))
    assert run.reason(row, START + 15) == "waits for postgresql (apply 2 s)"
    run.take(event(14, "mlflow", "end", "wait"))
    assert run.reason(row, START + 14) == ""


def test_a_failure_ends_a_row_with_its_first_cause(run: Run) -> None:
    log = Log(run)
    run.take(event(0, "minio", "begin", "apply"))
    run.take(event(0, "minio", "begin", "rollout"))
    run.take(event(2, "minio", "end", "rollout", "minio: StatefulSet ml/minio: ImagePullBackOff\nmore", failed=True))
    run.take(event(2, "minio", "end", "apply", "minio: StatefulSet ml/minio: ImagePullBackOff\nmore", failed=True))
    run.failed("minio", "the task failed", START + 3)
    run.take(event(0, "mlflow", "begin", "wait", waits_for=["minio"]))
    run.take(event(3, "mlflow", "end", "wait", "mlflow requires minio, which failed: it was not touched", failed=True))
    assert [row.state for row in run.rows] == ["failed", "blocked"]
    assert lines(log, 4) == [
        "minio: FAILED, 2.0 s: rollout: StatefulSet ml/minio: ImagePullBackOff",
        "mlflow: not touched, 3.0 s: requires minio, which failed",
    ]
    assert lines(log, 5) == []
    assert run.count_proven() == 0


def test_a_task_outside_of_phases_may_fail_too(run: Run) -> None:
    run.failed("node1", "no network", START + 1)
    assert lines(Log(run), 1) == ["node1: FAILED, 0.0 s: no network"]


def test_stages_are_rows_of_their_own_and_end_with_their_play(run: Run) -> None:
    log = Log(run)
    stage: dict[str, Any] = {"stage": True}
    for host in ("minio", "mlflow"):  # side by side
        run.take(event(0, host, "begin", "preflight", "Survey", **stage))
    for host in ("minio", "mlflow"):
        run.take(event(0.5, host, "end", "preflight", **stage))
    assert [(row.name, row.phase) for row in run.running()] == [("preflight", "")]
    run.play("Bring up the cluster", [], START + 1)
    run.take(event(1, "node1", "begin", "cluster", "Start the processes", **stage))
    run.take(event(2, "node1", "progress", "cluster", "etcd is ready", **stage))
    run.take(event(3, "node1", "end", "cluster", **stage))
    run.task("node1", "Install the Debian packages")
    assert [(row.name, row.message) for row in run.running()] == [("cluster", "Install the Debian packages")]
    run.take(event(4, "node1", "begin", "images", "Build", **stage))
    assert [row.name for row in run.running()] == ["cluster", "images"]
    run.take(event(9, "node1", "end", "images", **stage))
    run.take(event(9, "node1", "begin", "cluster", "Start the processes", **stage))
    assert [row.name for row in run.running()] == ["cluster"]
    run.take(event(9, "node1", "end", "cluster", **stage))
    run.play("Provision", [], START + 10)
    assert run.running() == []
    assert lines(log, 11) == [
        "preflight: done, 1.0 s: Provision and validate the components",
        "cluster: done, 9.0 s: Bring up the cluster",
        "images: done, 5.0 s",
    ]


def test_images_that_are_built_side_by_side(run: Run) -> None:
    image: dict[str, Any] = {"part_of": "node1"}
    run.take(event(0, "node1", "begin", "images", "Build", stage=True))
    run.take(event(0, "base", "begin", "images", "installing Debian packages", **image))
    run.take(event(0, "minio", "begin", "images", "compiling", **image))
    run.take(event(30, "minio", "progress", "images", "compiling", **image))
    run.take(event(31, "base", "end", "images", "built", **image))
    run.take(event(31, "node1", "progress", "images", "", stage=True, done=1, of=2))
    assert screen(run, 35)[:-1] == [
        "images           35 s  1 of 2",
        "  minio          35 s  compiling",
    ]
    assert lines(Log(run), 35) == [
        "images",
        "base: done, 31.0 s: built",
        "minio: compiling",
    ]


def test_a_log_says_what_lasts_and_never_falls_silent(run: Run) -> None:
    log = Log(run)
    run.take(event(0, "minio", "begin", "render"))
    run.take(event(0.2, "minio", "end", "render"))
    run.take(event(0.2, "minio", "begin", "rollout"))
    assert lines(log, 1) == [], "nothing has lasted a second"
    run.take(event(1.1, "minio", "progress", "rollout", "0 of 1 ready"))
    assert lines(log, 2) == ["minio rollout: 0 of 1 ready"]
    run.take(event(3, "minio", "progress", "rollout", "0 of 1 ready; Pulling"))
    assert lines(log, 4) == [], "another reason has to wait"
    assert lines(log, 8) == ["minio rollout: 0 of 1 ready; Pulling"]
    assert lines(log, 17) == []
    assert lines(log, 18.5) == ["still minio rollout 18 s (0 of 1 ready; Pulling)"]
    assert lines(log, 19) == []


def test_a_log_where_no_phase_runs(run: Run) -> None:
    run.task("node1", "Gather what is needed")
    assert lines(Log(run), 11) == ["still Gather what is needed, 11 s"]


def test_the_lines_of_a_log_have_a_time_and_no_control_characters(run: Run) -> None:
    run.failed("minio", "a\x1b[31mred\tword", START)
    (line,) = Log(run).lines(START)
    assert line[2] == line[5] == ":"
    assert line.endswith(" minio: FAILED, 0.0 s: a [31mred word")
    assert printable("é\n\x07…") == "é  …"


def test_what_ran_and_was_changed_is_said_at_the_end_of_a_component(run: Run) -> None:
    for phase, said in (("apply", "2 created"), ("configure", "1 changed"), ("validate", "4 of 4 checks healthy")):
        run.take(event(0, "minio", "begin", phase))
        run.take(event(1, "minio", "end", phase, said))
    run.proven("minio", START + 2)
    assert lines(Log(run), 2) == ["minio: done, 2.0 s: 4 of 4 checks healthy, 2 created, configuration 1 changed"]


def test_a_terminal_shows_what_works_above_what_waits(run: Run) -> None:
    run.take(event(0, "mlflow", "begin", "wait", waits_for=["minio"]))
    run.take(event(0, "minio", "begin", "validate", of=4))
    run.take(event(3, "minio", "progress", "validate", "health: healthy", done=1, of=4))
    assert screen(run, 5) == [
        "minio             5 s  validate  1 of 4  health: healthy",
        "mlflow            5 s  waits for minio (validate 5 s)",
        "site  0 of 3 components  5 s",
    ]


def test_lines_are_cut_for_narrow_terminals_and_rows_for_low_ones(run: Run) -> None:
    for number in range(20):
        run.take(event(0, f"component{number:02}", "begin", "rollout"))
        run.take(event(0, f"component{number:02}", "progress", "rollout", "a reason that is long " * 5))
    narrow = screen(run, 5, width=60, height=10)
    assert len(narrow) == 9
    assert max(map(len, narrow)) < 60
    assert narrow[0].endswith("…")
    assert "… and 13 more" in narrow[-2]


def test_a_run_without_components_says_what_it_does() -> None:
    found = Run("down", START)
    found.task("node1", "Stop the cluster")
    assert screen(found, 2)[-1].endswith("wn  2 s  Stop the cluster")


@pytest.mark.parametrize(
    ("environment", "terminal", "expected"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "xterm"}, False, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, True),
        ({"TERM": "xterm", "CI": "true"}, True, False),
        ({"TERM": "dumb"}, True, False),
        ({}, True, False),
    ],
)
def test_where_lines_may_be_drawn_again(environment: dict[str, str], terminal: bool, expected: bool) -> None:
    assert interactive(environment, terminal) is expected
