"""Documents of runs as the report has them, for the tests of what is made of it."""

from __future__ import annotations

from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.experiments.decision import (
    Certainty,
    Measure,
    Sample,
    decide,
)
from ansible_collections.mlops.platform.plugins.module_utils.experiments.plot import draw
from ansible_collections.mlops.platform.plugins.module_utils.experiments.settings import Settings
from ansible_collections.mlops.platform.plugins.module_utils.report import RunReport, TaskOutcome

STARTED = 1_790_000_000.0
CHECK = {
    "name": "up", "type": "http", "target": "web:80/", "healthy": True, "observed": 200, "expected": 200,
    "message": "", "attempts": 1, "duration_seconds": 0.1,
}  # fmt: skip
HOSTILE = "<script>alert('x')</script> & \"quoted\" \x1b[31m\x00"
EVENTS = [
    {"host": host, "phase": phase, "kind": kind, "time": STARTED + second, "message": "", **fields}
    for host, phase, begin, end, fields in (
        ("minio", "preflight", 0.1, 0.5, {}),
        ("minio", "apply", 1, 4, {}),
        ("minio", "validate", 4, 6, {}),
        ("mlflow", "render", 1, 2, {}),
        ("mlflow", "wait", 2, 6, {"waits_for": ["minio"]}),
        ("mlflow", "apply", 6, 8, {}),
    )
    for kind, second in (("begin", begin), ("end", end))
]


def experiment(bad: int = 40, model: str = "iris") -> tuple[dict[str, Any], str]:
    """A decision on a candidate with so many bad predictions of 1500, of which the champion has 120, and its plot."""
    measures = [
        Measure("errors", "requests failed", "Prometheus, all requests", Sample(1, 1500), Sample(0, 1500), 0.01),
        Measure("latency", "answers took long", "Prometheus, all requests", Sample(60, 1500), Sample(70, 1500), 0.05),
        Measure("feedback", "predictions were bad", "Prometheus", Sample(120, 1500), Sample(bad, 1500), 0.02),
    ]  # fmt: skip
    settings = Settings()
    certainty = Certainty(settings.alpha, settings.power)
    found: dict[str, Any] = {
        "model": model, "demand": "better", "look": 1, "requests": settings.requests, "lost": 0, "began": STARTED,
        "limit_seconds": 0.25, "bound_seconds": 0.25, "seed": 1, **vars(settings),
        **decide(measures, certainty, "better").result(),
    }  # fmt: skip
    for version, role in enumerate(("champion", "candidate"), 1):
        percentiles = {"p95_seconds": 0.012, "client_p95_seconds": 0.02}
        found[role] = {"version": str(version), "run_id": f"r{version}", "feedback_told": 1500, **percentiles}
    seconds = {"champion": [0.001 * n for n in range(1, 1500)], "candidate": [0.002 * n for n in range(1, 1500)]}
    return {**found, "record": {"experiment": f"{model}-experiments", "run_id": "r3"}}, draw(found, seconds)


def experiment_run(bad: int = 40, model: str = "iris") -> dict[str, Any]:
    """The document of a run that compared two versions."""
    run = RunReport("experiment-model", STARTED)
    about = {"name": "model-iris", "version": "2", "namespace": "models"}
    decided, plot = experiment(bad, model)
    run.take(outcome("model", "model-iris", checks=[CHECK], component=about, experiment=decided))
    told = {"host": "model-iris", "phase": "validate", "message": ""}
    events = [
        {**told, "kind": "begin", "time": STARTED + 1},
        {**told, "kind": "progress", "time": STARTED + 60, "run_id": decided["record"]["run_id"], "plot": plot},
        {**told, "kind": "end", "time": STARTED + 61},
    ]
    return run.document(STARTED + 90, events)


def outcome(action: str, host: str = "minio", failed: bool = False, **result: Any) -> TaskOutcome:
    """What an action of the collection returned after a second."""
    return TaskOutcome(host, f"mlops.platform.component : do {action}", action, result, failed, 1.0)


def healthy_run(components: tuple[str, ...] = ("minio", "mlflow"), checks: int = 2) -> dict[str, Any]:
    """The document of a run in which everything went well."""
    run = RunReport("site", STARTED)
    node = {"name": "node1", "cpu": 2.0, "memory_bytes": 2**34, "pods": 110}
    run.take(outcome("preflight", waves=[[name] for name in components], run_directory="/r"))
    run.take(outcome("precheck", version="v1.36.3", storage_class="standard", nodes=[node]))
    run.take(outcome("images", "local", built=[{"name": "minio", "seconds": 75.0}]))
    for name in components:
        about: dict[str, Any] = {"component": {"name": name, "version": "1.2", "namespace": "ml"}}
        objects = {"created": [f"Service ml/{name}"], "changed": [], "removed": [], "unchanged": 3}
        run.take(outcome("component_apply", name, changed=True, objects=objects, **about))
        image = {"image": f"r/{name}:1", "digest": f"sha256:{'0' * 64}", "containers": [f"{name}-0/main"]}
        container = {
            "pod": f"{name}-0", "container": "main", "requests": {"cpu": 0.05, "memory_bytes": 2**28},
            "limits": {"memory_bytes": 2**30}, "usage": {"cpu": 0.004, "memory_bytes": 2**29},
        }  # fmt: skip
        found = [{**CHECK, "name": f"check {number}"} for number in range(checks)]
        access = [f"{name}: http://10.0.0.1:30500  (login: Secret ml/{name}-admin)"]
        run.take(
            outcome(
                "component_health", name, checks=found, access=access, images=[image], resources=[container], **about
            )
        )
    run.take(
        outcome("example_model", "mlflow", model="models:/iris@champion", version="1", run_id="r1", accuracy=0.975)
    )
    run.take(outcome("dashboards", "minio", page="dashboards.html", panels=58, empty=[], firing=["TargetDown"]))
    return run.document(STARTED + 9, EVENTS if len(components) < 3 else many_events(components))


def many_events(components: tuple[str, ...]) -> list[dict[str, Any]]:
    """Events of components that do one phase a second, as in a run without changes."""
    names = ("render", "wait", "apply", "rollout", "configure", "rollout", "validate")
    return [
        {"host": host, "phase": phase, "kind": kind, "time": STARTED + 1 + number + late, "message": "4 unchanged"}
        for host in components
        for number, phase in enumerate(names)
        for kind, late in (("begin", 0), ("end", 0.5))
    ]


def failed_run(text: str = "down") -> dict[str, Any]:
    """The document of a run in which a check failed, one was not tried and a component was not touched.

    `text` is what every free text of it says.
    """
    run = RunReport("site", STARTED)
    run.take(outcome("preflight", waves=[["minio"], ["mlflow"]], run_directory="/r"))
    about: dict[str, Any] = {"component": {"name": "minio", "version": "1.2", "namespace": "ml"}}
    bad = {**CHECK, "name": text, "target": text, "healthy": False, "observed": {text: text}, "message": text}
    skipped = {**bad, "name": "later", "message": "not tried: the rollout is not complete", "attempts": 0}
    evidence = {"events": [text], "logs": {f"minio-0/{text}": [text, text]}}
    result: dict[str, Any] = {
        "checks": [CHECK, bad, skipped],
        "evidence": evidence,
        "msg": f"minio is unhealthy: {text}",
    }
    run.take(outcome("component_health", "minio", failed=True, **result, **about))
    blocked = "mlflow requires minio, which failed: it was not touched"
    run.take(outcome("component_apply", "mlflow", failed=True, msg=blocked, phase="wait", blocked_by="minio"))
    run.take(outcome("precheck", "other", failed=True, msg=f"{text}\nmore of it"))
    return run.document(STARTED + 9, EVENTS)


def empty_run() -> dict[str, Any]:
    """The document of a run that was refused before anything was known."""
    run = RunReport("validate", STARTED)
    run.take(outcome("preflight", failed=True, msg="1 problem, nothing was touched:\n- mlflow_port is 'many'"))
    return run.document(STARTED + 1)
