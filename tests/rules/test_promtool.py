"""Rules as Prometheus's own tool reads them: they are valid, and each alert fires when it must and not else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from programs import ROOT, built_program

RULES = sorted(ROOT.glob("roles/*/files/monitoring/rules.yml"))
TESTS = sorted(Path(__file__).parent.glob("*.yml"))


@pytest.fixture(scope="module")
def promtool() -> Path:
    """The program, which `make rules` builds."""
    path = built_program("promtool")
    assert path.exists(), f"{path} is missing: make rules"
    return path


def run(*command: str | Path) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.parents[2].name)
def test_rules_are_valid(promtool: Path, path: Path) -> None:
    run(promtool, "check", "rules", "--lint-fatal", path)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_and_resolve(promtool: Path, path: Path) -> None:
    run(promtool, "test", "rules", path)
