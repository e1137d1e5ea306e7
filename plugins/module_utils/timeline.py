# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When each phase of a run began and ended, and which of them decided how long the run took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

RUN_PHASES = frozenset({"preflight", "cluster", "images", "model", "dashboards"})
"""Phases of the run as a whole; all others belong to one component."""
TOLERANCE_SECONDS = 0.001


@dataclass(frozen=True)
class Phase:
    """One phase of a component or of the run; `begin` and `end` are seconds on one clock."""

    host: str
    phase: str
    begin: float
    end: float
    waits_for: tuple[str, ...] = ()
    message: str = ""
    failed: bool = False

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.begin

    @property
    def lane(self) -> str:
        """What it is one after the other with: the phases of its component, or those of the run ("")."""
        return "" if self.phase in RUN_PHASES else self.host

    def after(self, other: Phase) -> bool:
        """Whether it began when `other` had ended."""
        return other.end <= self.begin + TOLERANCE_SECONDS


def phases(events: Iterable[Mapping[str, Any]], finished: float) -> list[Phase]:
    """The phases of a run in the order of their beginnings, from its events.

    `finished` (on the events' clock) ends those whose end was never said: their process was killed.
    """
    found: list[Phase] = []
    begun: dict[tuple[str, str], list[Mapping[str, Any]]] = {}

    def end(first: Mapping[str, Any], last: float, message: str, failed: bool) -> None:
        waits_for = tuple(first.get("waits_for", ()))
        found.append(Phase(first["host"], first["phase"], first["time"], last, waits_for, message, failed))

    for event in events:
        key = (event["host"], event["phase"])
        if event["kind"] == "begin":
            begun.setdefault(key, []).append(event)
        elif event["kind"] == "end" and begun.get(key):
            end(begun[key].pop(), event["time"], event.get("message", ""), bool(event.get("failed")))
    for first in (item for left in begun.values() for item in left):
        end(first, max(finished, first["time"]), "did not come to its end", failed=True)
    return sorted(found, key=lambda item: (item.begin, item.end))


def critical_path(run: Sequence[Phase]) -> list[Phase]:
    """The chain of phases that decided how long the run took, in order of time; waiting is no part of it.

    The sum of their seconds is what the run would take with nothing between its phases: a phase comes
    after the one before it in its component; the first phase of a component after the run's own before it;
    the end of a `wait` after all that it waits for; a phase of the run after everything before it.
    """
    # A wait may end at the very moment at which what it waits for does.
    ordered = sorted(run, key=lambda item: (item.end, item.phase == "wait", item.begin))
    length: dict[int, float] = {}
    before: dict[int, int | None] = {}
    for number, phase in enumerate(ordered):
        candidates = [other for other in range(number) if _precedes(ordered[other], phase)]
        before[number] = max(candidates, key=lambda other: length[other], default=None)
        previous = before[number]
        own = 0.0 if phase.phase == "wait" else phase.seconds
        length[number] = own + (0.0 if previous is None else length[previous])
    chain: list[Phase] = []
    last = max(length, key=lambda number: length[number], default=None)
    while last is not None:
        if ordered[last].phase != "wait":
            chain.append(ordered[last])
        last = before[last]
    return chain[::-1]


def _precedes(other: Phase, phase: Phase) -> bool:
    """Whether `phase` could not go on before `other` had ended."""
    if phase.phase == "wait" and other.lane in phase.waits_for:
        return other.end <= phase.end + TOLERANCE_SECONDS
    return phase.after(other) and (phase.lane in {"", other.lane} or not other.lane)
