"""Notes when each task of a run began and ended on each host."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: task_times
type: notification
short_description: Writes the times of all tasks
description: One JSON line a task and host, into the file that the variable BENCH_TIMES of the environment names.
author: The mlops.platform maintainers
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Times are seconds since the epoch."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "task_times"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._begun: dict[tuple[str, str], float] = {}

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self._begun[(host.get_name(), task._uuid)] = time.time()

    def v2_runner_on_ok(self, result: Any) -> None:
        self._end(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._end(result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._end(result)

    def _end(self, result: Any) -> None:
        host, task = result.host.get_name(), result.task
        line = {
            "host": host,
            "action": str(task.resolved_action or task.action),
            "begin": self._begun.pop((host, task._uuid), time.time()),
            "end": time.time(),
        }
        with Path(os.environ["BENCH_TIMES"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
