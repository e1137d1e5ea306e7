# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs now, made of a run's events: pure state, which a terminal or a log shows in its own way.

A row is what people follow: a component, an image that is built, or one of the stages before and after the components.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ansible_collections.mlops.platform.plugins.module_utils.events import Event

State = Literal["running", "done", "failed", "blocked"]


@dataclass
class Row:
    """One thing that people follow. Times are seconds since the epoch."""

    name: str
    begun: float
    stage: bool = False
    part_of: str = ""
    phase: str = ""
    since: float = 0.0
    message: str = ""
    waits_for: tuple[str, ...] = ()
    done: int | None = None
    of: int | None = None
    state: State = "running"
    ended: float = 0.0
    title: str = ""
    cause: str = ""
    outer: list[tuple[str, float]] = field(default_factory=list)
    """The phases that the present one is a part of, and since when they run."""
    outcomes: dict[str, str] = field(default_factory=dict)
    """What each phase said at its end, by its name."""

    def end(self, state: State, now: float, cause: str = "") -> None:
        """Close the row, once: what comes later follows from it."""
        if self.state == "running":
            self.state, self.ended = state, now
            self.cause = cause.partition("\n")[0].rstrip(":")

    def count(self) -> str:
        """How far the phase is, such as "3 of 6"; empty where that is not known."""
        return f"{self.done} of {self.of}" if self.of and self.done is not None else ""


class Run:
    """The rows of a run, fed by its events and by what Ansible tells of tasks and plays."""

    def __init__(self, verb: str, started: float) -> None:
        self.verb = verb
        self.started = started
        self.now_doing = self._play = ""
        self.components: tuple[str, ...] = ()
        self.rows: list[Row] = []
        self._row_of: dict[str, Row] = {}

    def play(self, name: str, components: Sequence[str], now: float) -> None:
        """A play begins, with which the stages of the one before end."""
        self.now_doing = self._play = name
        self.components = tuple(components)
        self.close_stages(now)
        self._row_of = {}

    def task(self, host: str, name: str) -> None:
        """An ordinary task begins on a host; it says what the stage of the host does."""
        self.now_doing = name
        row = self._row_of.get(host)
        if row and row.state == "running" and row.stage and not row.phase:
            row.message = name

    def failed(self, host: str, message: str, now: float) -> None:
        """A task failed; where a phase has said so before, nothing is new."""
        row = self._row_of.get(host) or self._open(host, now)
        row.end("failed", now, message.removeprefix(f"{row.name}: "))

    def proven(self, component: str, now: float) -> None:
        """A component is provisioned and its checks are healthy."""
        row = self._find(component) or self._open(component, now)
        row.end("done", now)

    def close_stages(self, now: float) -> None:
        """End the stages, which nothing else ends."""
        for row in self.running():
            if row.stage:
                row.end("done", now)

    def take(self, event: Event) -> None:
        """Take one event."""
        host, phase, now = str(event["host"]), str(event["phase"]), float(event["time"])
        if event.get("part_of"):
            self._image(event)
            return
        stage = bool(event.get("stage"))
        name = phase if stage else host
        row = self._find(name)
        if row is None:
            if event["kind"] != "begin":
                return  # the end of what has failed within
            row = self._open(name, now)
            if stage:  # the first one of a play is what the play is about
                row.stage, row.title, self._play = True, self._play, ""
        before = self._row_of.get(host)
        if before and before.name == "images" and before is not row:
            before.end("done", now)
        self._row_of[host] = row
        _update(row, event)

    def close(self, now: float) -> None:
        """The run is over: what has not failed is done."""
        for row in self.running():
            row.end("done", now)

    def running(self) -> list[Row]:
        """The rows that have not ended, in the order in which they began."""
        return [row for row in self.rows if row.state == "running"]

    def count_proven(self) -> int:
        """How many of the run's components are done."""
        return sum(row.state == "done" and row.name in self.components for row in self.rows)

    def reason(self, row: Row, now: float) -> str:
        """What a row does or waits for, and why."""
        if not row.waits_for:
            return row.message
        waiting = f"waits for {', '.join(row.waits_for)}"
        busy = next(
            (found for name in row.waits_for if (found := self._find(name)) and found.phase not in {"", "wait"}), None
        )
        if busy is None:
            return waiting
        who = f"{busy.name}: " if len(row.waits_for) > 1 else ""
        return f"{waiting} ({who}{busy.phase} {now - busy.since:.0f} s)"

    def _image(self, event: Event) -> None:
        """An image has a row of its own from its first step to its last."""
        name, now = str(event["host"]), float(event["time"])
        row = self._find(name) or self._open(name, now)
        row.part_of = str(event["part_of"])
        if event["kind"] != "end" and event["message"] != row.message:
            row.since = now
        _update(row, {**event, "kind": "progress"} if event["kind"] == "begin" else event)
        row.phase = "images"
        if event["kind"] == "end":
            row.end("done", now)

    def _find(self, name: str) -> Row | None:
        return next((row for row in self.running() if row.name == name), None)

    def _open(self, name: str, now: float) -> Row:
        row = Row(name, begun=now, since=now)
        self.rows.append(row)
        return row


def _update(row: Row, event: Event) -> None:
    """Let a row say what an event says."""
    kind, phase, now = event["kind"], str(event["phase"]), float(event["time"])
    message = str(event["message"])
    if kind == "begin":
        if row.phase:
            row.outer.append((row.phase, row.since))
        row.phase, row.since, row.done, row.of = phase, now, None, event.get("of")
    if kind == "end":
        row.phase, row.since = row.outer.pop() if row.outer else ("", now)
        row.message, row.waits_for, row.done, row.of = "", (), None, None
        row.outcomes[phase] = message
        if event.get("failed"):
            why = message.removeprefix(f"{row.name}: ")
            if phase == "wait":
                row.end("blocked", now, why.removeprefix(f"{row.name} ").partition(":")[0])
            else:
                row.end("failed", now, why if row.stage or row.part_of else f"{phase}: {why}")
        return
    row.message = message
    row.waits_for = tuple(event.get("waits_for", ()))
    row.done, row.of = event.get("done", row.done), event.get("of", row.of)


def closing_text(row: Row) -> str:
    """What a row that ended says in one line."""
    if row.cause:
        return row.cause
    if row.stage:
        return row.title
    said = row.outcomes
    if row.part_of:
        return said.get("images", "")
    configured = f"configuration {said['configure']}" if said.get("configure") else ""
    return ", ".join(filter(None, [said.get("validate", ""), said.get("apply", ""), configured]))


FIRST_SECONDS = 1.0
"""A phase that is over sooner is not worth a line."""
AGAIN_SECONDS = 5.0
"""How long a new reason of the same phase has to wait for its line."""
SILENT_SECONDS = 10.0
"""After that time without a line one says what runs."""
STATE_WORDS: Mapping[State, str] = {"done": "done", "failed": "FAILED", "blocked": "not touched", "running": "running"}


@dataclass
class _Said:
    """What a log was told of a row, and when."""

    phase: str = ""
    reason: str = ""
    at: float = 0.0
    ended: bool = False


class Log:
    """A run as plain lines: one a phase that lasts, one for every end, and one at least every ten seconds."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._said: dict[int, _Said] = {}
        self._last = run.started

    def lines(self, now: float) -> list[str]:
        """The lines that are due now. Call it several times a second."""
        found = [line for row in self._run.rows for line in self._row(row, now)]
        if not found and now - self._last >= SILENT_SECONDS:
            found = [f"still {self._active(now)}"]
        if found:
            self._last = now
        stamp = time.strftime("%H:%M:%S", time.localtime(now))
        return [f"{stamp} {printable(line)}" for line in found]

    def _row(self, row: Row, now: float) -> Iterator[str]:
        said = self._said.setdefault(id(row), _Said())
        if row.state != "running":
            if not said.ended:
                said.ended = True
                ended = f"{row.name}: {STATE_WORDS[row.state]}, {row.ended - row.begun:.1f} s"
                yield f"{ended}: {closing_text(row)}".removesuffix(": ")
            return
        reason = f"waits for {', '.join(row.waits_for)}" if row.waits_for else row.message
        if row.phase == "validate":  # every check has its own line in the report
            reason = ""
        changed = row.phase != said.phase or (reason != said.reason and now - said.at >= AGAIN_SECONDS)
        if changed and now - row.since >= FIRST_SECONDS and (row.phase or reason):
            self._said[id(row)] = _Said(row.phase, reason, now)
            doing = "" if row.waits_for else f"{_phase(row)}:"
            yield f"{row.name}{doing} {reason}".removesuffix(": ")

    def _active(self, now: float) -> str:
        rows = [
            f"{row.name}{_phase(row)} {now - row.since:.0f} s{f' ({row.message})' if row.message else ''}"
            for row in self._run.running()
            if row.phase and row.phase != "wait"
        ]
        return "; ".join(rows) or f"{self._run.now_doing}, {now - self._run.started:.0f} s"


def _phase(row: Row) -> str:
    """The phase of a row where its name does not say it."""
    return f" {row.phase}" if row.phase not in {"", row.name} and not row.part_of else ""


def printable(text: str) -> str:
    """Text in one line, without control characters."""
    return "".join(character if character.isprintable() else " " for character in text)


def interactive(environment: Mapping[str, str], is_terminal: bool) -> bool:
    """Whether lines may be drawn again and painted: in a terminal where nobody asked for plain text."""
    plain = environment.get("NO_COLOR") or environment.get("ANSIBLE_NOCOLOR") or environment.get("CI")
    return is_terminal and not plain and environment.get("TERM", "dumb") != "dumb"
