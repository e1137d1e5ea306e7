# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a run: one JSON document, the same for people, CI and tests, and what is made of it."""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils import timeline
from ansible_collections.mlops.platform.plugins.module_utils.next_steps import next_step

SCHEMA_VERSION = 3
KEPT_RUNS = 20
EXIT_STATUS = {"healthy": 0, "unhealthy": 1, "failed": 2}
"""What a run's status means to a shell: all checks passed, one did not, or they could not be made."""
COLLECTION = Path(__file__).parents[2]


@dataclass(frozen=True)
class TaskOutcome:
    """How a task ended on a host. `action` is the short name of an action of this collection, else ""."""

    host: str
    task: str
    action: str
    result: Mapping[str, Any]
    failed: bool
    seconds: float


@dataclass
class ComponentReport:
    """What a run did to one component and what its checks found."""

    name: str
    version: str = ""
    namespace: str = ""
    status: str = "failed"
    changed: bool = False
    duration_seconds: float = 0.0
    objects: Mapping[str, Any] = field(default_factory=dict)
    configured: list[str] = field(default_factory=list)
    checks: list[Mapping[str, Any]] = field(default_factory=list)
    evidence: Mapping[str, Any] = field(default_factory=dict)
    access: list[str] = field(default_factory=list)
    images: list[Mapping[str, Any]] = field(default_factory=list)
    resources: list[Mapping[str, Any]] = field(default_factory=list)

    def take(self, done: TaskOutcome) -> None:
        """Note what a task did to the component."""
        result = done.result
        about = result.get("component") or {}
        self.version = str(about.get("version", self.version))
        self.namespace = str(about.get("namespace", self.namespace))
        self.changed = self.changed or bool(result.get("changed"))
        self.duration_seconds += done.seconds
        self.configured = [*self.configured, *result.get("configured", [])]
        for key in ("objects", "checks", "evidence", "access", "images", "resources"):
            setattr(self, key, result.get(key, getattr(self, key)))
        if "checks" in result:
            self.status = "unhealthy" if done.failed else "healthy"

    def as_dict(self) -> dict[str, Any]:
        """The component's part of the document."""
        return {**self.__dict__, "duration_seconds": round(self.duration_seconds, 3)}


@dataclass
class RunReport:
    """What one run of a playbook did; fed by the report callback as results come in."""

    verb: str
    started: float
    directory: Path | None = None
    components: dict[str, ComponentReport] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    changed_tasks: int = 0
    waves: list[list[str]] = field(default_factory=list)
    cluster: dict[str, Any] = field(default_factory=dict)
    images_built: list[dict[str, Any]] = field(default_factory=list)
    model: dict[str, Any] = field(default_factory=dict)
    dashboards: dict[str, Any] = field(default_factory=dict)
    experiments: list[dict[str, Any]] = field(default_factory=list)

    def component(self, name: str) -> ComponentReport:
        """The report of a component, begun when it is first heard of."""
        return self.components.setdefault(name, ComponentReport(name))

    def take(self, done: TaskOutcome) -> None:
        """Note how a task ended."""
        result = done.result
        self.tasks.append({"task": f"{done.host} | {done.task}", "duration_seconds": round(done.seconds, 3)})
        self.changed_tasks += bool(result.get("changed"))
        if done.action == "preflight" and "run_directory" in result:
            self.directory = Path(result["run_directory"])
            self.waves = [list(wave) for wave in result.get("waves", [])]
        elif done.action == "precheck" and "version" in result:
            self.cluster |= {key: result[key] for key in ("version", "storage_class", "nodes")}
        elif done.action == "local_cluster_memory" and result.get("memory"):
            before = self.cluster.get("memory", {})  # of other nodes
            self.cluster["memory"] = {name: before.get(name, 0) + size for name, size in result["memory"].items()}
        elif done.action == "images":
            self.images_built += result.get("built", [])
        elif done.action == "example_model" and "model" in result:
            self.model = {key: result[key] for key in ("model", "version", "run_id", "accuracy")}
        elif done.action == "dashboards" and "page" in result:
            self.dashboards = {key: result[key] for key in ("page", "panels", "empty", "firing")}
        if result.get("experiment"):
            self.experiments.append(result["experiment"])
        if (done.action.startswith("component_") and done.action != "component_survey") or done.action == "model":
            about = result.get("component") or {}
            self.component(str(about.get("name", done.host))).take(done)
        if done.failed and done.action != "component_failed":
            kind = "check" if "checks" in result else "task"
            self.fail(done.host, done.task, kind, str(result.get("msg", "")), result)

    def fail(self, host: str, task: str, kind: str, message: str, details: Mapping[str, Any]) -> None:
        """Note a failure; `details` may hold its phase, what blocked it, and the next step where the task knows it."""
        failure = {"host": host, "task": task, "kind": kind, "message": message}
        failure["next_step"] = str(details.get("next_step") or next_step(message, host, kind))
        self.failures.append(failure | {key: str(details[key]) for key in ("phase", "blocked_by") if key in details})

    def status(self) -> str:
        """healthy: nothing failed; unhealthy: only checks did; failed: something else did, or nothing was checked."""
        if self.failures:
            only_checks = all(item["kind"] == "check" for item in self.failures)
            return "unhealthy" if only_checks else "failed"
        return "healthy" if any(item.checks for item in self.components.values()) else "failed"

    def document(self, finished: float, events: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """The whole report. `started`, `finished` and the times of events are seconds since the epoch."""
        slowest = sorted(self.tasks, key=lambda task: -task["duration_seconds"])
        happened = list(events)
        run = timeline.phases(happened, finished)
        path = timeline.critical_path(run)
        status = self.status()
        return {
            "schema_version": SCHEMA_VERSION,
            "verb": self.verb,
            "status": status,
            "exit_status": EXIT_STATUS[status],
            "changed": self.changed_tasks,
            "started_at": datetime.fromtimestamp(self.started, UTC).isoformat(timespec="seconds"),
            "duration_seconds": round(finished - self.started, 3),
            "components": [item.as_dict() for _, item in sorted(self.components.items())],
            "waves": self.waves,
            "phases": [self._phase(item, item in path) for item in run],
            "critical_path_seconds": round(sum(item.seconds for item in path), 3),
            "cluster": self.cluster,
            "images_built": self.images_built,
            "model": self.model,
            "dashboards": self.dashboards,
            "experiments": [_pictured(item, happened) for item in self.experiments],
            "failures": self.failures,
            "slowest_tasks": slowest[:10],
            "controller": controller(),
        }

    def _phase(self, item: timeline.Phase, critical: bool) -> dict[str, Any]:
        return {
            "host": item.host,
            "phase": item.phase,
            "begin_seconds": round(max(0.0, item.begin - self.started), 3),
            "duration_seconds": round(item.seconds, 3),
            "waits_for": list(item.waits_for),
            "message": item.message,
            "failed": item.failed,
            "critical": critical,
        }


def _pictured(experiment: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """An experiment with the plot that its action told of it."""
    run_id = experiment["record"]["run_id"]
    plots = [item["plot"] for item in events if item.get("run_id") == run_id]
    return {**experiment, **({"plot": plots[0]} if plots else {})}


def controller() -> dict[str, Any]:
    """The programs that made the run, and what it took of the machine they ran on.

    `memory_bytes` is the peak of the main process, `worker_memory_bytes` that of its largest child; a child
    shares most of it with its parent. The children's `cpu_seconds` are included once they have ended.
    """
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): kilobytes, on macOS bytes
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "collection": collection_version(),
        "ansible": _ansible_version(),
        "python": platform.python_version(),
        "cpu_seconds": round(own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime, 3),
        "memory_bytes": own.ru_maxrss * unit,
        "worker_memory_bytes": children.ru_maxrss * unit,
    }


def collection_version() -> str:
    """The version of this collection: of its manifest where it is installed, else of galaxy.yml."""
    manifest = COLLECTION / "MANIFEST.json"
    if manifest.is_file():
        return str(json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"])
    import yaml

    return str(yaml.safe_load((COLLECTION / "galaxy.yml").read_text(encoding="utf-8"))["version"])


def _ansible_version() -> str:
    from ansible.release import __version__

    return str(__version__)


def new_run_directory(reports: Path, now: float) -> Path:
    """A directory for the run's files, named by its time; `latest` leads to it. Old runs are dropped."""
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%S")
    directory = reports / f"{stamp}-{os.getpid()}"
    directory.mkdir(parents=True, exist_ok=True)
    link = reports / f".latest-{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(directory.name)
    link.replace(reports / "latest")
    runs = sorted(item for item in reports.iterdir() if item.is_dir() and not item.is_symlink())
    for old in runs[:-KEPT_RUNS]:
        shutil.rmtree(old, ignore_errors=True)
    return directory


def write_all(directory: Path, document: Mapping[str, Any]) -> None:
    """Write report.json, and made of it junit.xml and report.html, into the directory of a run."""
    write(directory / "report.json", document)
    # Only a run that has a report needs them: the template engine and XML.
    from ansible_collections.mlops.platform.plugins.module_utils.report_html import html
    from ansible_collections.mlops.platform.plugins.module_utils.report_junit import junit

    plain = json.loads(json.dumps(document, default=str))
    write_text(directory / "junit.xml", junit(plain))
    write_text(directory / "report.html", html(plain))


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of it."""
    write_text(path, json.dumps(document, indent=2, default=str) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text so that a reader sees the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
