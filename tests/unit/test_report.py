"""The report of a run: its status, its document, its place."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ansible_collections.mlops.platform.plugins.module_utils.report import (
    KEPT_RUNS,
    RunReport,
    new_run_directory,
    write,
    write_all,
)
from report_documents import CHECK, STARTED, empty_run, experiment_run, failed_run, healthy_run, outcome

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "report.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def report(*failures: str) -> RunReport:
    """A run of one component; `failures` are of these kinds."""
    made = RunReport("site", STARTED)
    component = made.component("minio")
    component.status = "unhealthy" if failures else "healthy"
    component.checks = [CHECK]
    component.objects = {"created": ["Service ml/minio"], "changed": [], "removed": [], "unchanged": 3}
    for kind in failures:
        made.fail("minio", "t", kind, "m", {})
    return made


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("document", [healthy_run(), failed_run(), empty_run(), experiment_run()])
def test_documents_are_what_the_schema_says(document: dict[str, Any]) -> None:
    VALIDATOR.validate(document)


@pytest.mark.parametrize(
    ("failures", "status", "code"),
    [((), "healthy", 0), (("check",), "unhealthy", 1), (("check", "check"), "unhealthy", 1), (("task",), "failed", 2),
     (("check", "task"), "failed", 2)],
)  # fmt: skip
def test_status_of_a_run(failures: tuple[str, ...], status: str, code: int) -> None:
    document = report(*failures).document(STARTED + 1)
    assert (document["status"], document["exit_status"]) == (status, code)
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


def test_what_actions_return_is_taken() -> None:
    made = RunReport("up", STARTED)
    node = {"name": "node1", "cpu": 2.0, "memory_bytes": 2**34, "pods": 110}
    about: dict[str, Any] = {"component": {"name": "minio", "version": "1", "namespace": "ml"}}
    container = {"pod": "minio-0", "container": "minio", "requests": {"cpu": 0.05}, "limits": {}, "usage": {}}
    image = {"image": "r/minio:1", "digest": f"sha256:{'0' * 64}", "containers": ["minio-0/minio"]}
    for done in (
        outcome("preflight", waves=[["minio"]], run_directory="/r/1"),
        outcome("precheck", version="v1.36.3", storage_class="standard", nodes=[node], changed=False),
        *(outcome("local_cluster_memory", memory={"kubernetes_bytes": 300, "pods_bytes": 50}) for _ in range(2)),
        outcome("local_cluster_memory", memory={}),  # a node that does not run
        outcome("images", built=[{"name": "minio", "seconds": 12.5}], changed=True),
        outcome("component_apply", objects={"created": ["Service ml/minio"]}, changed=True, **about),
        outcome("component_configure", configured=["bucket made"], changed=True, **about),
        outcome("component_configure", configured=["user made"], changed=True, **about),
        outcome("component_health", checks=[CHECK], access=["S3: x"], images=[image], resources=[container], **about),
        outcome("example_model", model="models:/m", version="1", run_id="r", accuracy=0.9, more="left out"),
        outcome("", component="of a module that is not ours", changed=True),
    ):
        made.take(done)
    document = made.document(STARTED + 10)
    VALIDATOR.validate(document)
    assert (document["status"], document["changed"], made.directory) == ("healthy", 5, Path("/r/1"))
    assert (document["waves"], document["images_built"]) == ([["minio"]], [{"name": "minio", "seconds": 12.5}])
    assert document["cluster"].pop("memory") == {"kubernetes_bytes": 600, "pods_bytes": 100}, "of all nodes"
    assert document["cluster"] == {"version": "v1.36.3", "storage_class": "standard", "nodes": [node]}
    (part,) = document["components"]
    assert (part["version"], part["changed"], part["duration_seconds"]) == ("1", True, 4.0)
    assert (part["configured"], part["access"]) == (["bucket made", "user made"], ["S3: x"])
    assert (part["images"], part["resources"]) == ([image], [container])


def test_failures_are_told_apart() -> None:
    made = RunReport("site", STARTED)
    bad = {**CHECK, "healthy": False, "message": "down"}
    made.take(outcome("component_health", failed=True, checks=[bad], msg="minio is unhealthy: up: down"))
    made.take(outcome("component_failed", failed=True, msg="minio is unhealthy: up: down"))
    blocked = "mlflow requires minio, which failed: it was not touched"
    made.take(outcome("component_apply", failed=True, host="mlflow", msg=blocked, phase="wait", blocked_by="minio"))
    made.take(outcome("component_apply", failed=True, host="other", msg="no", next_step="Do as the task says."))
    document = made.document(STARTED + 10)
    VALIDATOR.validate(document)
    told = [(item["host"], item["kind"], item.get("phase"), item.get("blocked_by")) for item in document["failures"]]
    assert told == [("minio", "check", None, None), ("mlflow", "task", "wait", "minio"), ("other", "task", None, None)]
    assert document["failures"][1]["next_step"] == "Mend minio; the next run goes on here by itself."
    assert document["failures"][2]["next_step"] == "Do as the task says."


def test_events_become_phases_with_the_critical_path() -> None:
    events = [
        {"host": "minio", "phase": phase, "kind": kind, "time": STARTED + second, "message": ""}
        for phase, kind, second in (("apply", "begin", 1), ("apply", "end", 3), ("validate", "begin", 4))
    ]
    document = report().document(STARTED + 10, events)
    VALIDATOR.validate(document)
    assert [(item["phase"], item["begin_seconds"], item["duration_seconds"]) for item in document["phases"]] == [
        ("apply", 1.0, 2.0),
        ("validate", 4.0, 6.0),
    ]
    assert [(item["failed"], item["critical"]) for item in document["phases"]] == [(False, True), (True, True)]
    assert document["critical_path_seconds"] == 8.0


def test_the_run_says_what_it_took_and_who_made_it() -> None:
    controller = report().document(STARTED)["controller"]
    assert controller["cpu_seconds"] > 0
    assert 2**24 < controller["memory_bytes"] < 2**36, "bytes, not kilobytes"
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", controller["collection"])


@pytest.mark.parametrize(
    "change",
    [
        {"status": "fine"},
        {"changed": True},
        {"surprise": 1},
        {"exit_status": 3},
        {"failures": [{"host": "minio", "task": "t", "kind": "task", "message": "m"}]},
        {"components": [{"name": "minio"}]},
        {"components": [{**report().component("minio").as_dict(), "checks": [{**CHECK, "healthy": False}]}]},
        {"components": [{**report().component("minio").as_dict(), "checks": [{**CHECK, "message": "but healthy"}]}]},
        {"model": {"model": "models:/iris@champion"}},
    ],
    ids=[
        "status",
        "type",
        "unknown key",
        "exit status",
        "no next step",
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


def test_a_run_has_three_files(tmp_path: Path) -> None:
    document = report("check").document(STARTED + 1)
    document["components"][0]["checks"] = [{**CHECK, "observed": "half a \ud800 pair"}]
    write_all(tmp_path / "run", document)
    assert sorted(item.name for item in (tmp_path / "run").iterdir()) == ["junit.xml", "report.html", "report.json"]
    assert json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8")) == document
