"""The last lines of a run: the first cause, the evidence, the next step, and what followed from it after that."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.closing import Look, closing_lines

CHECK = {
    "name": "health",
    "type": "http",
    "healthy": True,
    "message": "",
    "attempts": 1,
    "observed": 200,
    "expected": 200,
}


def document(*failures: dict[str, Any], checks: list[dict[str, Any]] | None = None, **changed: Any) -> dict[str, Any]:
    part: dict[str, Any] = {
        "name": "mlflow",
        "checks": [CHECK] if checks is None else checks,
        "access": ["MLflow: http://10.95.0.1:30500  (login: Secret mlops/mlflow-admin)", "Plain: kubectl port-forward"],
        "evidence": {},
        "resources": [],
    }
    status = "failed" if failures else "healthy"
    found = {"verb": "up", "status": status, "changed": 2, "duration_seconds": 12.34, "components": [part], "model": {}}
    return {**found, "failures": list(failures), **changed}


def failure(**changed: str) -> dict[str, Any]:
    return {"host": "mlflow", "task": "component : Apply", "kind": "task", "message": "mlflow: refused", **changed}


def test_a_healthy_run_says_where_everything_is() -> None:
    model = {"model": "models:/iris@champion", "version": "1", "run_id": "abc", "accuracy": 1.0}
    assert closing_lines(document(model=model), "reports/latest/report.json") == [
        "up: healthy, 2 changed, 1 of 1 checks healthy, 12.3 s",
        "  MLflow   http://10.95.0.1:30500  (login: Secret mlops/mlflow-admin)",
        "  Plain    kubectl port-forward",
        "  A login  make shell, then kubectl -n <namespace> get secret <name> -o yaml (base64)",
        "  Model    models:/iris@champion, version 1, accuracy 1.00 on the held-out rows",
        "           of run abc, downloaded and compared",
        "  Report   reports/latest/report.json",
    ]


@pytest.mark.parametrize(
    ("firing", "told"),
    [
        ([], "no alert fires"),
        (["Slow"], "1 alert fires: Slow"),
        (["Down", "Down", "Slow"], "3 alerts fire: Down, Slow"),
    ],
)
def test_the_page_of_dashboards_and_what_fires(firing: list[str], told: str) -> None:
    drawn = {"page": "dashboards.html", "panels": 9, "empty": [], "firing": firing}
    assert f"  Dashboards  reports/latest/dashboards.html  ({told})" in closing_lines(
        document(dashboards=drawn), "reports/latest/report.html"
    )


def test_what_the_platform_takes() -> None:
    found = document(cluster={"memory": {"kubernetes_bytes": 600 * 2**20, "pods_bytes": 2 * 2**30}})
    container = {"requests": {"cpu": 0.1, "memory_bytes": 2**29}, "limits": {}, "usage": {"cpu": 0.02}}
    found["components"][0]["resources"] = [container, {**container, "usage": {"memory_bytes": 2**30}}]
    assert closing_lines(found)[-2:] == [
        "  Components  requests 200m CPU and 1 Gi of memory, uses 20m CPU and 1 Gi",
        "  Cluster     2.6 Gi of memory in use: 2 Gi by its pods, 600 Mi by Kubernetes itself",
    ]


def test_a_verb_without_a_report() -> None:
    done = {"verb": "down", "status": "done", "changed": 3, "duration_seconds": 2.0, "failures": []}
    assert closing_lines(done) == ["down: done, 3 changed, 2.0 s"]


def test_a_failed_phase_with_its_evidence_and_what_followed_from_it() -> None:
    first = failure(message="mlflow: Deployment mlops/mlflow: ImagePullBackOff", phase="rollout", next_step="Push it.")
    second = failure(host="search", message="search requires mlflow", blocked_by="mlflow")
    found = document(second, first)
    found["components"][0]["evidence"] = {
        "events": [f"event {number}" for number in range(9)],
        "logs": {"mlflow-1/mlflow": [f"line {number}" for number in range(9)]},
    }
    assert closing_lines(found) == [
        "up: failed, 2 changed, 1 of 1 checks healthy, 12.3 s",
        "",
        "  mlflow failed at rollout",
        "    cause      Deployment mlops/mlflow: ImagePullBackOff",
        "    evidence   event: event 6",
        "               event: event 7",
        "               event: event 8",
        *(f"               mlflow-1/mlflow: line {number}" for number in range(4, 9)),
        "    next step  Push it.",
        "  search was not touched: it waited for mlflow, which failed",
    ]


def test_a_failed_check_says_what_it_saw_and_the_checks_that_were_not_tried_are_silent() -> None:
    bad = {**CHECK, "healthy": False, "message": "status 503", "observed": 503}
    late = {**bad, "name": "login", "attempts": 0}
    found = document(
        failure(kind="check", message="mlflow is unhealthy: health: status 503"),
        checks=[bad, {**bad, "name": "other"}, late],
        status="unhealthy",
    )
    assert closing_lines(found)[1:] == [
        "",
        "  mlflow failed its check: health",
        "    cause      status 503",
        "    observed   503",
        "    expected   200",
        "    also       other: status 503",
    ]


def test_the_problems_of_preflight_are_a_list() -> None:
    found = document(
        failure(message="2 problems, nothing was touched:\n- one\n- two", phase="preflight"), components=[]
    )
    assert closing_lines(found)[1:] == ["", "  2 problems, nothing was touched:", "  - one", "  - two"]


def test_a_task_that_fails_is_named_and_every_line_of_its_message_shown() -> None:
    found = document(
        failure(host="node1", task="mlops.platform.local_cluster : Start", message="etcd is not ready\nits log"),
        failure(host="node1", task="mlops.platform.local_cluster : Start", message="etcd is not ready\nits log"),
    )
    stage = failure(host="minio", task="images : Build", message="no space", phase="images")
    assert closing_lines(document(stage))[2] == "  images failed: Build"
    assert closing_lines(found)[1:] == [
        "",
        "  node1 failed: Start",
        "    cause      etcd is not ready",
        "               its log",
    ]


def test_long_texts_are_cut_and_broken_where_the_terminal_ends() -> None:
    found = document(failure(message="word " * 100), failure(message="another"))
    look = Look(lambda text, style: f"<{style}>{text}</>" if style == "bad" else text, width=60)
    lines = closing_lines(found, look=look)
    assert lines[0].startswith("<bad>up: failed</>, 2 changed")
    (start,) = [number for number, line in enumerate(lines) if line.startswith("    cause      word")]
    assert lines[start + 1].startswith("               word word")
    assert max(map(len, lines[start:])) < 60
    assert sum("…" in line for line in lines) == 1
    assert "    cause      another" in lines
    whole = closing_lines(found)
    assert max(map(len, whole)) > 400
