# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a run: one JSON document, the same for people, CI and tests."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1
KEPT_RUNS = 20
EXIT_STATUS = {"healthy": 0, "unhealthy": 1, "failed": 2}
"""What a run's status means to a shell: all checks passed, one did not, or they could not be made."""


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

    def as_dict(self) -> dict[str, Any]:
        """The component's part of the document."""
        return {**self.__dict__, "duration_seconds": round(self.duration_seconds, 3)}


@dataclass
class RunReport:
    """What one run of a playbook did; fed by the report callback as results come in."""

    verb: str
    started: float
    components: dict[str, ComponentReport] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    changed_tasks: int = 0
    model: dict[str, Any] = field(default_factory=dict)

    def component(self, name: str) -> ComponentReport:
        """The report of a component, begun when it is first heard of."""
        return self.components.setdefault(name, ComponentReport(name))

    def status(self) -> str:
        """healthy: nothing failed; unhealthy: only checks did; failed: something else did, or nothing was checked."""
        if self.failures:
            only_checks = all(item["kind"] == "check" for item in self.failures)
            return "unhealthy" if only_checks else "failed"
        return "healthy" if any(item.checks for item in self.components.values()) else "failed"

    def document(self, finished: float) -> dict[str, Any]:
        """The whole report. `started` and `finished` are seconds since the epoch."""
        slowest = sorted(self.tasks, key=lambda task: -task["duration_seconds"])
        return {
            "schema_version": SCHEMA_VERSION,
            "verb": self.verb,
            "status": self.status(),
            "changed": self.changed_tasks,
            "started_at": datetime.fromtimestamp(self.started, UTC).isoformat(timespec="seconds"),
            "duration_seconds": round(finished - self.started, 3),
            "components": [item.as_dict() for _, item in sorted(self.components.items())],
            "model": self.model,
            "failures": self.failures,
            "slowest_tasks": slowest[:10],
        }


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


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(document, indent=2, default=str) + "\n", encoding="utf-8")
    partial.replace(path)
