"""A fault as a person meets it: the playbook that validates, its report, and the one that puts things right."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from faults.conftest import inventory
from faults.platform import PLAYBOOK, ROOT, Platform
from faults.sets import FOUNDATION_ONLY

pytestmark = FOUNDATION_ONLY

CHECK = "version"
CAUSE = "Secret {namespace}/mlflow-service does not exist"


def run(playbook: str, reports: Path) -> tuple[int, str, dict[str, Any]]:
    """The exit status of a playbook, what it printed, and its report."""
    environment = {**os.environ, "MLOPS_PLATFORM_REPORTS": str(reports), "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    environment.pop("ANSIBLE_STDOUT_CALLBACK", None)
    command: list[str | Path] = [PLAYBOOK, ROOT / "playbooks" / f"{playbook}.yml", "-i", inventory()]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    report = json.loads((reports / "latest" / "report.json").read_text(encoding="utf-8"))
    return done.returncode, done.stdout + done.stderr, report


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """Where the reports of a test go."""
    return tmp_path / "reports"


def test_a_person_reads_the_check_the_cause_and_the_next_step(platform: Platform, reports: Path) -> None:
    platform.cluster.delete("v1", "Secret", "mlflow-service", platform.namespace)
    cause = CAUSE.format(namespace=platform.namespace)
    try:
        status, printed, report = run("validate", reports)
    finally:
        mended, _, after = run("site", reports)
    assert (status != 0, report["status"]) == (True, "unhealthy")  # `make validate` makes it exit status 1
    (failure,) = report["failures"]
    assert (failure["host"], failure["kind"]) == ("mlflow", "check")
    assert cause in failure["message"]
    assert failure["next_step"]
    for words in (CHECK, cause, failure["next_step"]):
        assert words in " ".join(printed.split()), printed
    assert (mended, after["status"]) == (0, "healthy")
