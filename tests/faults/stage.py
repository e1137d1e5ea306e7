"""Plays rounds of faults: injects them, validates with and without the check that must see each, has all repaired."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ansible_collections.mlops.platform.plugins.module_utils.component import Component
from ansible_collections.mlops.platform.plugins.module_utils.graph import waves
from faults.faults import Fault
from faults.platform import Outcomes, Platform
from faults.sets import Rounds

Place = tuple[str, str]
"""A component and one of its checks."""


@dataclass
class Played:
    """What came of a round."""

    outcomes: dict[str, Outcomes] = field(default_factory=dict)
    mutants: dict[Place, Outcomes] = field(default_factory=dict)
    """The outcomes where that check was taken out."""
    seconds: dict[str, float] = field(default_factory=dict)
    """How long the validation of each component took, from the moment at which its fault was final."""
    repaired: dict[str, Outcomes] = field(default_factory=dict)


class Stage:
    """Each round is played once, when the first of its tests asks for it."""

    def __init__(self, platform: Platform, rounds: Rounds) -> None:
        self._platform = platform
        self._rounds = rounds
        self._played: dict[int, Played] = {}
        self._repair()

    def played(self, fault: Fault) -> Played:
        """The round in which a fault was in force."""
        number = next(number for number, faults in enumerate(self._rounds) if fault in faults)
        if number not in self._played:
            self._played[number] = self._play(self._rounds[number])
        return self._played[number]

    def _play(self, faults: Sequence[Fault]) -> Played:
        found = Played()
        places = dict.fromkeys((name, check) for fault in faults for name, check, _ in fault.expected)
        injections = [contextlib.contextmanager(fault.inject)(self._platform) for fault in faults]
        with ThreadPoolExecutor(16) as pool, contextlib.ExitStack() as stack:
            entering = [pool.submit(injection.__enter__) for injection in injections]
            for injection, entered in zip(injections, entering, strict=True):
                if not entered.exception():
                    stack.push(injection)
            for entered in entering:
                entered.result()
            full = {name for name, check in places if self._platform.is_full(name, check)}
            jobs = {name: pool.submit(self._validate, name, name in full) for name, _ in places}
            mutants = {
                (name, check): pool.submit(self._platform.validate, name, without=check) for name, check in places
            }
            for name, job in jobs.items():
                found.outcomes[name], found.seconds[name] = job.result()
            found.mutants = {place: job.result() for place, job in mutants.items()}
        self._repair()
        with ThreadPoolExecutor(8) as pool:
            names = list(self._platform.components)
            found.repaired = dict(zip(names, pool.map(self._platform.validate, names), strict=True))
        return found

    def _repair(self) -> None:
        with ThreadPoolExecutor(8) as pool:
            for wave in waves({name: self._before(item) for name, item in self._platform.components.items()}):
                list(pool.map(self._platform.repair, wave))

    def _before(self, component: Component) -> dict[str, str]:
        """What a component waits for: what it requires, and what it comes after as far as that is there."""
        there = self._platform.components
        return {**component.requires, **{name: "" for name in component.after if name in there}}

    def _validate(self, name: str, full: bool) -> tuple[Outcomes, float]:
        started = time.monotonic()
        outcomes = self._platform.validate(name, full=full)
        return outcomes, time.monotonic() - started
