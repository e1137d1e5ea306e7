"""The sets of faults, each for the platform of one inventory."""

from __future__ import annotations

import importlib
import os
import pkgutil
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import pytest
from faults import faults, serving
from faults.faults import Fault
from faults.platform import ROOT

Rounds = tuple[tuple[Fault, ...], ...]


@dataclass(frozen=True)
class FaultSet:
    """Faults in rounds, and the inventory whose platform they are injected into."""

    inventory: Path
    rounds: Rounds

    @property
    def faults(self) -> list[Fault]:
        """All of them, in the order in which they are played."""
        return [fault for faults in self.rounds for fault in faults]


def together(components: list[tuple[Fault, ...]]) -> Rounds:
    """Rounds of one fault a component; those that must be alone have a round of their own."""
    shared = [[fault for fault in faults if not fault.alone] for faults in components]
    alone = [(fault,) for faults in components for fault in faults if fault.alone]
    return (*(tuple(fault for fault in faults if fault) for faults in zip_longest(*shared)), *alone)


def _serving() -> Rounds:
    """The faults of the modules in `serving`, one a component."""
    names = [item.name for item in pkgutil.iter_modules(serving.__path__)]
    return together([importlib.import_module(f"faults.serving.{name}").FAULTS for name in names])


SETS = {
    "foundation": FaultSet(ROOT / "molecule" / "faults" / "inventory", faults.ROUNDS),
    "serving": FaultSet(ROOT / "molecule" / "inventory", _serving()),
}
CHOSEN = SETS[os.environ.get("MLOPS_PLATFORM_FAULT_SET", "foundation")]
SERVING_ONLY = pytest.mark.skipif(CHOSEN is not SETS["serving"], reason="the platform of this set serves no models")
FOUNDATION_ONLY = pytest.mark.skipif(CHOSEN is not SETS["foundation"], reason="it is the same for every set of faults")


def rows() -> list[str]:
    """The table of all faults as docs/validation.md has it."""
    found: list[str] = []
    everything = [fault for item in SETS.values() for fault in item.faults]
    for fault in sorted(everything, key=lambda fault: (fault.component, fault.check)):
        places = [
            f"`{check}`" if name == fault.component else f"`{check}` of {name}" for name, check, _ in fault.expected
        ]
        found.append(f"| {fault.component} | {fault.name} | {', '.join(places)} |")
    return found
