"""How `make test` ends: what took the time, and why a step failed."""

from __future__ import annotations

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
