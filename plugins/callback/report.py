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
from ansible_collections.mlops.platform.plugins.module_utils.report import (
    RunReport,
    TaskOutcome,
    new_run_directory,
    write_all,
)
from ansible_collections.mlops.platform.plugins.plugin_utils.terminal import look

DOCUMENTATION = """
name: report
type: notification
short_description: Writes the report of a run of the platform's playbooks
description:
  - Collects what the actions on components return, and writes C(report.json), C(report.html) and C(junit.xml) into
    the directory of the run under C(reports/), where C(reports/latest) leads to.
  - Ends the run with its status, its duration and the path of the report.
requirements:
  - Enable it by C(callbacks_enabled = mlops.platform.report) in ansible.cfg.
author: The mlops.platform maintainers (@mlops)
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
        host, task = result.host.get_name(), result.task
        action = str(task.resolved_action or task.action)
        seconds = time.monotonic() - self._begun.pop((host, task._uuid), time.monotonic())
        ours = action.removeprefix(PREFIX) if action.startswith(PREFIX) else ""
        self._report.take(TaskOutcome(host, task.get_name(), ours, result.result, failed, seconds))

    def v2_playbook_on_stats(self, stats: Any) -> None:
        if self._report is None:
            return
        for host in stats.dark:
            self._report.fail(host, "", "task", "unreachable", {})
        now = time.time()
        reports = Path(os.environ.get("MLOPS_PLATFORM_REPORTS", "reports"))
        directory = self._report.directory or new_run_directory(reports, now)
        happened, _ = events.read(events.begin())
        document = self._report.document(now, happened)
        path = os.path.relpath(directory.parent / "latest" / "report.html")
        try:
            write_all(directory, document)
        finally:  # a full disk does not take the first cause with it
            for line in closing_lines(document, path, look()):
                self._display.display(line)
