# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collect what every component's tasks return and write the run's report."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible_collections.mlops.platform.plugins.module_utils import events
from ansible_collections.mlops.platform.plugins.module_utils.closing import REPORTED_VERBS, closing_lines
from ansible_collections.mlops.platform.plugins.module_utils.report import RunReport, new_run_directory, write

DOCUMENTATION = """
name: report
type: notification
short_description: Writes the report of a run of the platform's playbooks
description:
  - Collects what the actions on components return, and writes C(report.json) into the directory of the run
    under C(reports/), where C(reports/latest) leads to.
  - Ends the run with its status, its duration and the path of the report.
requirements:
  - Enable it by C(callbacks_enabled = mlops.platform.report) in ansible.cfg.
author: The mlops.platform maintainers
"""

PREFIX = "mlops.platform."


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Turns task results into a RunReport."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "mlops.platform.report"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._report: RunReport | None = None
        self._directory: Path | None = None
        self._begun: dict[tuple[str, str], float] = {}

    def v2_playbook_on_start(self, playbook: Any) -> None:
        events.begin()
        verb = Path(playbook._file_name).stem
        if verb in REPORTED_VERBS:
            self._report = RunReport(verb, time.time())

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self._begun[(host.get_name(), task._uuid)] = time.monotonic()

    def v2_runner_on_ok(self, result: Any) -> None:
        self._take(result, failed=False)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            self._take(result, failed=True)

    def _take(self, result: Any, failed: bool) -> None:
        if self._report is None:
            return
        host, task, content = result.host.get_name(), result.task, result.result
        action = str(task.resolved_action or task.action)
        seconds = time.monotonic() - self._begun.pop((host, task._uuid), time.monotonic())
        name = f"{host} | {task.get_name()}"
        self._report.tasks.append({"task": name, "duration_seconds": round(seconds, 3)})
        self._report.changed_tasks += bool(content.get("changed"))
        if action == f"{PREFIX}preflight" and "run_directory" in content:
            self._directory = Path(content["run_directory"])
        if action == f"{PREFIX}example_model" and "model" in content:
            self._report.model = {key: content[key] for key in ("model", "version", "run_id", "accuracy")}
        about = content.get("component") or {}
        if about or action.startswith(f"{PREFIX}component_"):
            part = self._report.component(str(about.get("name", host)))
            part.version = str(about.get("version", part.version))
            part.namespace = str(about.get("namespace", part.namespace))
            part.changed = part.changed or bool(content.get("changed"))
            part.duration_seconds += seconds
            part.objects = content.get("objects", part.objects)
            part.configured = content.get("configured", part.configured)
            part.checks = content.get("checks", part.checks)
            part.access = content.get("access", part.access)
            part.evidence = content.get("evidence", part.evidence)
            if action == f"{PREFIX}component_health":
                part.status = "unhealthy" if failed else "healthy"
        if failed and action != f"{PREFIX}component_failed":
            kind = "check" if action == f"{PREFIX}component_health" and "checks" in content else "task"
            self._report.failures.append(
                {
                    "host": host,
                    "task": task.get_name(),
                    "kind": kind,
                    "message": str(content.get("msg", "")),
                    **{key: str(content[key]) for key in ("phase", "blocked_by") if key in content},
                }
            )

    def v2_playbook_on_stats(self, stats: Any) -> None:
        if self._report is None:
            return
        if stats.dark:
            self._report.failures += [
                {"host": host, "task": "", "kind": "task", "message": "unreachable"} for host in stats.dark
            ]
        now = time.time()
        directory = self._directory or new_run_directory(Path(os.environ.get("MLOPS_PLATFORM_REPORTS", "reports")), now)
        document = self._report.document(now)
        write(directory / "report.json", document)
        path = os.path.relpath(directory.parent / "latest" / "report.json")
        for line in closing_lines(document, path):
            self._display.display(line)
