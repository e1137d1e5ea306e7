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


def python(name: str, text: str, *, beside: bool = False) -> object:
    """A step that runs a program of one line."""
    return check.Step(name, [sys.executable, "-c", text], beside=beside)


@pytest.mark.parametrize(
    ("main", "side", "begun"),
    [
        ("pass", "pass", ["main", "side", "cluster"]),
        ("pass", "raise SystemExit(1)", ["main", "side"]),
        ("raise SystemExit(1)", "import time; time.sleep(60)", ["main"]),
    ],
    ids=["all passed", "the one beside failed", "the others failed"],
)
def test_what_runs_beside_the_others_is_over_before_the_cluster(
    monkeypatch: pytest.MonkeyPatch, main: str, side: str, begun: list[str]
) -> None:
    steps = {"quick": [python("main", main), python("side", side, beside=True)], "slow": [python("cluster", "pass")]}
    monkeypatch.setattr(check, "STEPS", steps)
    monkeypatch.setattr(check, "ON_A_CLUSTER", ("slow",))
    monkeypatch.setattr(check, "own_cluster", contextlib.nullcontext)
    assert [step.name for step in check.run(["quick", "slow"])] == begun
