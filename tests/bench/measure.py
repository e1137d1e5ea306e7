"""Timing: whole processes in turn, the tasks of a run, and the critical path through its components."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

APPLY, VALIDATE = "component_apply", "component_health"


@dataclass(frozen=True)
class Task:
    """One task on one host: its action's name without the collection, and seconds since the epoch."""

    host: str
    action: str
    begin: float
    end: float


@dataclass(frozen=True)
class Run:
    """One run of a playbook, in seconds since the epoch."""

    begin: float
    end: float
    tasks: Sequence[Task] = ()
    work: float = 0.0
    """The seconds of work on the critical path, as the run's own report has them."""

    @property
    def seconds(self) -> float:
        """The whole run, from the start of the program to its end."""
        return self.end - self.begin

    def of(self, *actions: str) -> float:
        """The seconds of all tasks of some actions."""
        return sum(task.end - task.begin for task in self.tasks if task.action in actions)


class Failed(Exception):
    """A command that ended badly; the message holds the end of what it printed."""


def run(
    command: Sequence[str], env: Mapping[str, str], cwd: Path, times: Path | None = None, report: Path | None = None
) -> Run:
    """Run a command to its end.

    `times` is the file in which a playbook leaves the times of its tasks, `report` that of a run's report.
    """
    if times:
        times.write_text("", encoding="utf-8")
    begin = time.time()
    done = subprocess.run(
        command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    end = time.time()
    if done.returncode:
        raise Failed(f"{' '.join(command[:3])} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
    work = json.loads(report.read_text(encoding="utf-8"))["critical_path_seconds"] if report else 0.0
    return Run(begin, end, list(read_tasks(times)) if times else (), work)


def read_tasks(times: Path) -> Iterator[Task]:
    """The tasks that the callback task_times noted."""
    for line in times.read_text(encoding="utf-8").splitlines():
        noted = json.loads(line)
        yield Task(noted["host"], noted["action"].rpartition(".")[2], noted["begin"], noted["end"])


def in_turn(rounds: int, contestants: Mapping[str, Callable[[int], float]]) -> dict[str, list[float]]:
    """The seconds that each contestant says for each round: A B C, A B C, so that a slow minute is slow for all."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name, measured in contestants.items():
            found[name].append(measured(number))
    return found


def ratio(part: Sequence[float], whole: Sequence[float]) -> float:
    """The median of the ratios round by round."""
    return statistics.median(a / b for a, b in zip(part, whole, strict=True))


def critical_path(run: Run, requires: Mapping[str, Sequence[str]]) -> float:
    """The seconds that a run would take if nothing ever waited for anything but what it requires.

    That is what came before the first component, the longest way through the components by the work of each
    one's tasks, and what came after the last. Work is the time of a component's tasks without its wait for
    those it requires.
    """
    tasks = {name: sorted((t for t in run.tasks if t.host == name), key=lambda t: t.begin) for name in requires}
    applied = {name: next(t for t in found if t.action == APPLY) for name, found in tasks.items()}
    done = {name: found[-1].end for name, found in tasks.items()}
    lengths: dict[str, float] = {}

    def length(name: str) -> float:
        if name not in lengths:
            late = max((done[need] for need in requires[name]), default=0.0)
            waited = max(0.0, min(late, applied[name].end) - applied[name].begin)
            mine = (t for t in tasks[name] if t.begin >= applied[name].begin)
            work = sum(t.end - t.begin for t in mine) - waited
            lengths[name] = work + max(map(length, requires[name]), default=0.0)
        return lengths[name]

    before = min(task.begin for task in applied.values()) - run.begin
    after = run.end - max(done.values())
    return before + max(map(length, requires)) + after
