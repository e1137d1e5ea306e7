"""How `make test` ends: what took the time, and why a step failed."""

from __future__ import annotations

import contextlib
import sys

import pytest
from programs import load_program

check = load_program("tools/check.py")


def test_the_end_of_a_failed_step_is_told_again_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["\x1b[31m  │ fatal: the bucket is away\x1b[0m", "  └─ Return code: 2 ───", "INFO cleaning up"]
    failed = check.Step("molecule", [sys.executable, "-c", f"print({chr(10).join(lines)!r}); raise SystemExit(1)"])
    assert check.execute(failed) == 1
    capsys.readouterr()
    told = check.closing([check.Step("lint", [], seconds=2, status=0), failed], 3)
    assert told.splitlines()[-3:] == [
        "why molecule failed:",
        " fatal: the bucket is away",
        "==== 1 failed, 1 passed in 3.00s ====",
    ]


PASSES, FAILS, LASTS = "pass", "raise SystemExit(1)", "import time; time.sleep(60)"


def python(name: str, text: str, *, first: bool = False) -> object:
    """A step that runs a program of one line."""
    return check.Step(name, [sys.executable, "-c", text], first=first)


@pytest.mark.parametrize(
    ("first", "quick", "cluster", "begun"),
    [
        (PASSES, PASSES, PASSES, {"first": 0, "quick": 0, "cluster": 0}),
        (FAILS, PASSES, PASSES, {"first": 1}),
        (PASSES, FAILS, LASTS, {"first": 0, "quick": 1}),
        (PASSES, LASTS, FAILS, {"first": 0, "cluster": 1}),
    ],
    ids=["all passed", "the first one failed", "what needs no cluster failed", "what needs a cluster failed"],
)
def test_a_failure_ends_what_runs_beside(
    monkeypatch: pytest.MonkeyPatch, first: str, quick: str, cluster: str, begun: dict[str, int]
) -> None:
    steps = {
        "quick": [python("quick", quick), python("first", first, first=True)],
        "slow": [python("cluster", cluster)],
    }
    monkeypatch.setattr(check, "STEPS", steps)
    monkeypatch.setattr(check, "ON_A_CLUSTER", ("slow",))
    monkeypatch.setattr(check, "own_cluster", contextlib.nullcontext)
    assert {step.name: step.status for step in check.run(["quick", "slow"])} == begun


def test_what_runs_beside_a_cluster_is_silent_until_it_fails(capfd: pytest.CaptureFixture[str]) -> None:
    quiet = check.Step("quiet", [sys.executable, "-c", "print('one dot')"], shown=True, beside=True)
    assert check.execute(quiet) == 0
    assert "one dot\n" not in capfd.readouterr().out.split("\n", 1)[1]
