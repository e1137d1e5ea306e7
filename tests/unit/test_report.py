"""The report of a run: its status, its document, its place."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ansible_collections.mlops.platform.plugins.module_utils.report import (
    KEPT_RUNS,
    RunReport,
    new_run_directory,
    write,
)

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "report.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
STARTED = 1_790_000_000.0
CHECK = {
    "name": "up", "type": "http", "target": "web:80/", "healthy": True, "observed": 200, "expected": 200,
    "message": "", "attempts": 1, "duration_seconds": 0.1,
}  # fmt: skip


def report(*failures: str) -> RunReport:
    """A run of one component; `failures` are of these kinds."""
    made = RunReport("site", STARTED)
    component = made.component("minio")
    component.status = "unhealthy" if failures else "healthy"
    component.checks = [CHECK]
    component.objects = {"created": ["Service ml/minio"], "changed": [], "removed": [], "unchanged": 3}
    made.failures = [{"host": "minio", "task": "t", "kind": kind, "message": "m"} for kind in failures]
    return made


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    ("failures", "status"),
    [((), "healthy"), (("check",), "unhealthy"), (("check", "check"), "unhealthy"), (("task",), "failed"),
     (("check", "task"), "failed")],
)  # fmt: skip
def test_status_of_a_run(failures: tuple[str, ...], status: str) -> None:
    document = report(*failures).document(STARTED + 1)
    assert document["status"] == status
    VALIDATOR.validate(document)


def test_a_run_that_checked_nothing_is_not_healthy() -> None:
    document = RunReport("validate", STARTED).document(STARTED + 1)
    assert document["status"] == "failed"
    VALIDATOR.validate(document)


def test_the_document_says_what_was_done_and_what_took_the_time() -> None:
    made = report()
    made.component("another")
    made.changed_tasks = 2
    made.component("minio").duration_seconds = 1.23456
    made.tasks = [{"task": f"t{number}", "duration_seconds": float(number)} for number in range(12)]
    made.model = {"model": "models:/iris@champion", "version": "1", "run_id": "r", "accuracy": 0.97}
    document = made.document(STARTED + 12.34567)
    VALIDATOR.validate(document)
    assert (document["verb"], document["changed"], document["duration_seconds"]) == ("site", 2, 12.346)
    assert document["started_at"] == "2026-09-21T14:13:20+00:00"
    assert [item["name"] for item in document["components"]] == ["another", "minio"]
    assert document["components"][1]["duration_seconds"] == 1.235
    assert document["components"][0]["status"] == "failed", "a component that was begun and never checked"
    assert [item["task"] for item in document["slowest_tasks"]] == [f"t{number}" for number in range(11, 1, -1)]


@pytest.mark.parametrize(
    "change",
    [
        {"status": "fine"},
        {"changed": True},
        {"surprise": 1},
        {"components": [{"name": "minio"}]},
        {"components": [{**report().component("minio").as_dict(), "checks": [{**CHECK, "healthy": False}]}]},
        {"components": [{**report().component("minio").as_dict(), "checks": [{**CHECK, "message": "but healthy"}]}]},
        {"model": {"model": "models:/iris@champion"}},
    ],
    ids=[
        "status",
        "type",
        "unknown key",
        "missing keys",
        "failed without a message",
        "healthy with one",
        "half a model",
    ],
)
def test_the_schema_refuses(change: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate({**report().document(STARTED), **change})


def test_a_run_has_a_directory_of_its_own(tmp_path: Path) -> None:
    directory = new_run_directory(tmp_path / "reports", STARTED)
    assert directory.name == f"20260921T141320-{os.getpid()}"
    assert (tmp_path / "reports" / "latest").resolve() == directory.resolve()
    assert str((tmp_path / "reports" / "latest").readlink()) == directory.name, "reports/ may be moved as a whole"


def test_old_runs_are_dropped_and_latest_leads_to_the_newest(tmp_path: Path) -> None:
    made = [new_run_directory(tmp_path, STARTED + 60 * number) for number in range(KEPT_RUNS + 5)]
    kept = sorted(item.name for item in tmp_path.iterdir() if not item.is_symlink())
    assert kept == [item.name for item in made[-KEPT_RUNS:]]
    assert (tmp_path / "latest").resolve() == made[-1]


def test_a_report_is_replaced_at_once(tmp_path: Path) -> None:
    path = tmp_path / "run" / "report.json"
    write(path, {"a": Path("/x")})
    write(path, {"a": 2})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": 2}
    assert [item.name for item in path.parent.iterdir()] == ["report.json"]
