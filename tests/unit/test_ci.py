"""Commits, workflows and `make lint` check the same, and workflows may do no more than they must."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from programs import load_program

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)[0].split())
LINT = [step.name for step in load_program("tools/check.py").STEPS["lint"]]


def load(path: Path) -> dict[str, Any]:
    """The YAML of a file."""
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def test_commits_are_checked_by_every_linter() -> None:
    (repository,) = load(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local", "no other repository is asked"
    steps = [re.fullmatch(r"make --silent lint STEP=(\S+)", hook["entry"]) for hook in repository["hooks"]]
    begins = [step[1] for step in steps if step]
    assert len(begins) == len(steps)
    assert [name for name in LINT if not any(name.startswith(begin) for begin in begins)] == []
    assert [begin for begin in begins if not any(name.startswith(begin) for name in LINT)] == []


def test_workflows_run_everything_that_make_test_runs() -> None:
    called = {word for path in WORKFLOWS for line in re.findall(r"\bmake ([a-z ]+)", path.read_text(encoding="utf-8"))
              for word in line.split()}  # fmt: skip
    assert called <= TARGETS
    assert called >= {*load_program("tools/check.py").STEPS, "docs", "release"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_do_no_more_than_it_must(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 90
        assert job["permissions"] == {"contents": "write" if (path.stem, name) == ("release", "publish") else "read"}
        for step in job["steps"]:
            action, _, version = step.get("uses", "").partition("@")
            assert re.fullmatch(r"v\d+|[0-9a-f]{40}|", version), step
            assert not action.startswith("actions/checkout") or step["with"]["persist-credentials"] is False
