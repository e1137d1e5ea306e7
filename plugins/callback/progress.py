# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show a run as its components go: live in a terminal, in plain lines elsewhere; with -v as Ansible always does."""

from __future__ import annotations

import atexit
import sys
import threading
import time
from pathlib import Path
from typing import Any, Protocol

from ansible import constants, context
from ansible.plugins.callback import CallbackBase
from ansible.plugins.callback.default import CallbackModule as Default
from ansible.utils import color
from ansible.utils.display import Display
from ansible_collections.mlops.platform.plugins.module_utils import events
from ansible_collections.mlops.platform.plugins.module_utils.closing import REPORTED_VERBS, closing_lines
from ansible_collections.mlops.platform.plugins.module_utils.progress import Log, Run
from ansible_collections.mlops.platform.plugins.plugin_utils.terminal import in_terminal, look

DOCUMENTATION = """
name: progress
type: stdout
short_description: Shows what runs now, what it waits for and why
description:
  - In a terminal the components, images and stages that are under way are drawn with their phase, their seconds and
    how far they are; what has ended stays above. Warnings, differences and messages are printed between.
  - Without a terminal, or where C(NO_COLOR), C(CI) or C(TERM=dumb) is set, it prints lines with a time, one a phase
    that lasts and one at least every ten seconds.
  - With C(-v) it is P(ansible.builtin.default#callback) with all its options.
  - A run that fails ends with the first cause, its evidence and the next step.
extends_documentation_fragment:
  - ansible.builtin.default_callback
  - ansible.builtin.result_format_callback
requirements:
  - Set it by C(stdout_callback = mlops.platform.progress) in ansible.cfg.
  - The Python package C(rich) for terminals; without it the lines are plain.
author: The mlops.platform maintainers
"""

LOOK_SECONDS = 0.1
PREFIX = "mlops.platform."


class View(Protocol):
    """Something that shows a run."""

    def start(self) -> None:
        """Begin to show."""

    def draw(self, now: float) -> None:
        """Show what is new."""

    def stop(self, now: float) -> None:
        """Show what is left and give the terminal back."""


class Lines:
    """Prints a run as plain lines."""

    def __init__(self, run: Run) -> None:
        self._log = Log(run)

    def start(self) -> None:
        """Nothing is to be prepared."""

    def draw(self, now: float) -> None:
        """Print the lines that are due."""
        for line in self._log.lines(now):
            Display().display(line)
        sys.stdout.flush()

    def stop(self, now: float) -> None:
        """Print the last lines."""
        self.draw(now)


class Progress(CallbackBase):  # type: ignore[misc]
    """Follows the events of a run in a thread of the main process."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "mlops.platform.progress"

    def __init__(self) -> None:
        super().__init__()
        self._failures: list[dict[str, str]] = []
        self._changed = 0
        self._over = threading.Event()
        self._offset = 0
        self._drawing = False

    def v2_playbook_on_start(self, playbook: Any) -> None:
        self._events = events.begin()
        events.show()
        self._run = Run(Path(playbook._file_name).stem, time.time())
        self._view = self._make_view()
        # What Ansible holds while it prints and while it forks: a thread that draws must not be in the middle of it.
        self._lock = self._display._lock
        self._resume()
        atexit.register(self._stopped_early)
        threading.Thread(target=self._follow, daemon=True).start()

    def _make_view(self) -> View:
        if not in_terminal():
            color.ANSIBLE_COLOR = constants.ANSIBLE_FORCE_COLOR  # nor do warnings of Ansible's own have colours then
        elif not context.CLIARGS.get("step"):
            try:
                from ansible_collections.mlops.platform.plugins.module_utils.progress_live import Screen
            except ImportError:  # no rich here
                return Lines(self._run)
            return Screen(self._run, sys.stdout)
        return Lines(self._run)

    def _follow(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            with self._lock:
                self._read()
                if self._drawing:
                    self._view.draw(time.time())

    def _read(self) -> None:
        found, self._offset = events.read(self._events, self._offset)
        for event in found:
            self._run.take(event)

    def _pause(self) -> None:
        """Give the terminal back, to a question for example."""
        with self._lock:
            if self._drawing:
                self._drawing = False
                self._view.stop(time.time())

    def _resume(self) -> None:
        with self._lock:
            self._drawing = True
            self._view.start()

    def _stopped_early(self) -> None:
        """The run ends without its statistics: somebody interrupted it, or Ansible gave up."""
        if self._over.is_set():
            return
        self._over.set()
        self._pause()
        seconds = time.time() - self._run.started
        message = (
            f"{self._run.verb}: stopped after {seconds:.0f} s, before its end; the same command goes on from there"
        )
        self._display.display(message, color=constants.COLOR_ERROR if in_terminal() else None)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        components: list[str] = []
        if self._run.verb in REPORTED_VERBS:
            hosts = play.get_variable_manager()._inventory.get_hosts(ignore_restrictions=True)
            components = [host.name for host in hosts if "components" in {group.name for group in host.get_groups()}]
        with self._lock:
            self._read()
            self._run.play(play.get_name(), components, time.time())

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        if task.action.rpartition(".")[2] == "pause":
            self._pause()
        with self._lock:
            self._read()
            self._run.task(host.get_name(), _short(task.get_name()))

    def v2_runner_on_ok(self, result: Any) -> None:
        self._changed += bool(result.result.get("changed"))
        self._ended(result)
        if result.task.resolved_action in (f"{PREFIX}component_health", f"{PREFIX}model"):
            with self._lock:
                self._read()
                self._run.proven(str(result.result["component"]["name"]), time.time())
        if result.result.get("_ansible_verbose_always") and "msg" in result.result:
            self._display.display(f"{result.host.get_name()}: {result.result['msg']}")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._ended(result)
        if not ignore_errors:
            self._failed(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._ended(result)
        self._failed(result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._ended(result)

    def v2_runner_retry(self, result: Any) -> None:
        left = result.result["retries"] - result.result["attempts"]
        self._display.display(f"{result.host.get_name()}: {_short(result.task.get_name())}: again, {left} tries left")

    def v2_on_file_diff(self, result: Any) -> None:
        results = result.result.get("results") if result.task.loop else None
        for part in results or [result.result]:
            if part.get("diff") and part.get("changed") and (text := self._get_diff(part["diff"])):
                self._display.display(text)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        with self._lock:
            self._read()
            self._run.close(time.time())
        self._over.set()
        self._pause()
        if in_terminal():
            self._display.display("")
        if self._run.verb in REPORTED_VERBS and f"{PREFIX}report" in constants.CALLBACKS_ENABLED:
            return  # which ends the run
        document = {
            "verb": self._run.verb,
            "status": "failed" if self._failures else "done",
            "changed": self._changed,
            "duration_seconds": time.time() - self._run.started,
            "failures": self._failures,
        }
        for line in closing_lines(document, look=look()):
            self._display.display(line)

    def _ended(self, result: Any) -> None:
        """A task ended, whatever its result."""
        self._handle_warnings(result.result)
        if not self._drawing and not self._over.is_set():
            self._resume()

    def _failed(self, result: Any) -> None:
        host, content = result.host.get_name(), result.result
        message = str(content.get("msg", "")) or "the task failed without a message"
        if result.task.resolved_action != f"{PREFIX}component_failed":
            kept = {key: str(content[key]) for key in ("phase", "blocked_by", "next_step") if key in content}
            self._failures.append(
                {"host": host, "task": result.task.get_name(), "kind": "task", "message": message, **kept}
            )
        with self._lock:
            self._read()
            self._run.failed(host, message, time.time())


def _short(name: str) -> str:
    """A task's name without its role's."""
    return name.rpartition(" : ")[2]


# Ansible finds a plugin's options by the name of its class, which must be this one.
CallbackModule = type("CallbackModule", (Default if Display().verbosity else Progress,), {})
