# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting the processes of a cluster in order, keeping them running, stopping them without a trace."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster import host as machine
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster import supervisor as supervision
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster import worker
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.files import make_directory, write_file
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.probes import Probe

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
RUNTIME = "containerd"  # the process that must not stop before the pods have ended
ATTEMPTS = 4  # a process that was started so often and is not ready will not become ready
Say = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """A program and the question that it answers once it is ready."""

    program: supervision.Program
    probe: Probe


@dataclass(frozen=True)
class Outcome:
    """What a start changed."""

    swept: list[str]
    started: list[str]
    prepared: bool

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return bool(self.swept or self.started or self.prepared)


class Lifecycle:
    """The processes of one node, with the control plane if it has that, under their own supervisord."""

    def __init__(self, host: machine.Host, log_dir: Path, stop_seconds: float, say: Say) -> None:
        self._host = host
        self._log_dir = log_dir
        self._stop_seconds = stop_seconds
        self._say = say
        self._supervisor = supervision.Supervisor(host.run_dir / "supervisor.sock")

    def would_start(self, steps: Sequence[Step]) -> list[str]:
        """The programs that `start` would start now, because they do not run or run with other settings."""
        if not self._supervisor.alive() or self._host.outdated:
            return [step.program.name for step in steps]
        states = self._supervisor.states()
        return [
            step.program.name
            for step in steps
            if states.get(step.program.name, {}).get("statename") != "RUNNING" or self._configure(step, dry_run=True)
        ]

    def start(self, steps: Sequence[Step], *, node: bool, seconds: float) -> Outcome:
        """Make every step's program run with its present settings and be ready, one after the other.

        `node`: the steps are the whole cluster, for which the machine must be prepared and in which nothing else runs.
        """
        if node and self._supervisor.alive() and self._host.outdated:
            self._say("it runs with settings that cannot change while it runs")
            self.stop()
        swept = [] if self._supervisor.alive() else self._start_supervisor()
        prepared = self._host.prepare() if node else False
        for step in steps:
            self._configure(step)
        if node:
            names = {f"{step.program.name}.conf" for step in steps}
            for path in self._programs_dir.glob("*.conf"):
                if path.name not in names:
                    path.unlink()
        self._supervisor.update()
        deadline = time.monotonic() + seconds
        started = []
        for number, step in enumerate(steps, start=1):
            running = self._supervisor.states()[step.program.name]["statename"] == "RUNNING"
            if not running:
                self._supervisor.start(step.program.name)
                started.append(step.program.name)
            waited = self._wait(step, deadline)
            if not running:
                self._say(f"{step.program.name} is ready after {waited:.1f} s ({number} of {len(steps)})")
        return Outcome(swept, started, prepared)

    def stop(self) -> list[str]:
        """Stop everything, the pods before what serves them, and clean the machine; return what was done."""
        stopped = []
        if self._supervisor.alive():
            for name in self._supervisor.stop_order():
                if name == RUNTIME:
                    pods = machine.end_processes(lambda: machine.pod_processes(self._host), self._stop_seconds)
                    self._say(f"the pods have ended ({pods} processes)")
                self._supervisor.stop(name)
                stopped.append(name)
                self._say(f"{name} has stopped")
            self._supervisor.shutdown()
        for left in worker.left_over(self._host.workers_dir):
            self._say(f"{left.run_dir.name} is still there, and ends, too")
            stopped += left.sweep(self._stop_seconds)
        return [*stopped, *self._host.sweep(self._stop_seconds)]

    def kill(self) -> int:
        """End all processes at once, as a power cut does; return how many they were. Nothing is cleaned up."""
        return machine.end_processes(lambda: machine.processes(self._host), 0)

    @property
    def _programs_dir(self) -> Path:
        return self._host.run_dir / "programs"

    def _configure(self, step: Step, *, dry_run: bool = False) -> bool:
        path = self._programs_dir / f"{step.program.name}.conf"
        return write_file(path, supervision.program_config(step.program, self._log_dir), dry_run=dry_run)

    def _start_supervisor(self) -> list[str]:
        """Clean up what a killed cluster or a power cut left, then start supervisord; return what was cleaned."""
        swept: list[str] = []
        for left in worker.left_over(self._host.workers_dir):
            if not machine.processes(left):  # it ended with the control plane
                swept += left.sweep(self._stop_seconds)
        swept += self._host.sweep(self._stop_seconds)
        if swept:
            self._say(f"cleaned up after a cluster that did not end properly: {', '.join(swept)}")
        executable = Path(sys.prefix) / "bin" / "supervisord"
        if not executable.exists():
            raise PlatformError(f"{executable} does not exist: install the Python package 'supervisor' beside Ansible")
        make_directory(self._host.run_dir, mode=0o711)
        make_directory(self._programs_dir, mode=0o700)
        make_directory(self._log_dir, mode=0o700)
        config = self._host.run_dir / "supervisord.conf"
        write_file(config, supervision.daemon_config(self._host.run_dir, self._log_dir))
        environment = {"PATH": PATH, "HOME": str(Path.home()), supervision.MARKER: str(self._host.run_dir)}
        self._host.launch([executable, "-c", config], environment)
        deadline = time.monotonic() + 20
        while not self._supervisor.alive():
            if time.monotonic() > deadline:
                raise PlatformError(f"supervisord does not answer; see {self._log_dir}/supervisord.log")
            time.sleep(0.05)
        return swept

    def _wait(self, step: Step, deadline: float) -> float:
        """Wait until a program answers its probe; return the seconds. Fails early when it ends again and again."""
        name = step.program.name
        began = said = time.monotonic()
        starts: set[int] = set()
        while problem := step.probe.problem():
            state = self._supervisor.states()[name]
            starts.add(state["start"])
            now = time.monotonic()
            if state["statename"] == "FATAL" or len(starts) >= ATTEMPTS or now > deadline:
                raise self._failure(name, state["statename"], problem, now - began)
            if now - said > 10:
                said = now
                self._say(f"waiting {now - began:.0f} s for {name}: {problem}")
            time.sleep(0.1)
        return time.monotonic() - began

    def _failure(self, name: str, state: str, problem: str, seconds: float) -> PlatformError:
        log = supervision.log_file(self._log_dir, name)
        return PlatformError(
            f"{name} is not ready after {seconds:.0f} s (its process is {state.lower()}): {problem}\n"
            f"The last lines of {log}:\n{supervision.last_lines(log)}"
        )
