# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers for people, in the units that Grafana knows by their names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

SIGNIFICANT_DIGITS = 3
NOTHING = "\N{EN DASH}"
"""What is shown where there is no value."""


@dataclass(frozen=True)
class Step:
    """One size of a unit: `factor` of what is measured is 1 with this `suffix`."""

    factor: float
    suffix: str


Ladder = Sequence[Step]
"""The sizes of a unit, smallest first."""


def _ladder(base: float, names: str, unit: str, first: float = 1.0) -> Ladder:
    """Sizes that are `base` apart: names[0] is that of `first`, `_` stands for none."""
    return [Step(first * base**power, f"{name.strip('_')}{unit}") for power, name in enumerate(names.split())]


def _plain(suffix: str, factor: float = 1.0) -> Ladder:
    return [Step(factor, suffix)]


_THOUSANDS = "_ k M G T"
_BINARY = "_ Ki Mi Gi Ti Pi"
_SECONDS: Ladder = [
    *_ladder(1000, "n µ m _", "s", 1e-9),
    Step(60, "min"),
    Step(3600, "h"),
    Step(86400, "d"),
]
_AGES = frozenset({"dateTimeFromNow", "dateTimeAsIso"})
_WORDS: Mapping[str, tuple[str, str]] = {
    "bool": ("false", "true"),
    "bool_on_off": ("off", "on"),
    "bool_yes_no": ("no", "yes"),
}
LADDERS: Mapping[str, Ladder] = {
    "": _ladder(1000, _THOUSANDS, ""),
    "none": _plain(""),
    "short": _ladder(1000, _THOUSANDS, ""),
    "locale": _plain(""),
    "percent": _plain("%"),
    "percentunit": _plain("%", 0.01),
    "bytes": _ladder(1024, _BINARY, "B"),
    "decbytes": _ladder(1000, _THOUSANDS, "B"),
    "binBps": _ladder(1024, _BINARY, "B/s"),
    "Bps": _ladder(1000, _THOUSANDS, "B/s"),
    "bps": _ladder(1000, _THOUSANDS, "b/s"),
    "s": _SECONDS,
    "ms": [Step(step.factor * 1000, step.suffix) for step in _SECONDS],
    "dtdurations": _SECONDS,
    "hertz": _ladder(1000, _THOUSANDS, "Hz"),
    "celsius": _plain("°C"),
    "watt": _ladder(1000, _THOUSANDS, "W"),
    **{
        name: _ladder(1000, _THOUSANDS, f" {text}")
        for name, text in {
            "reqps": "req/s",
            "ops": "op/s",
            "rps": "reads/s",
            "wps": "writes/s",
            "iops": "io/s",
            "cps": "/s",
            "mps": "msg/s",
        }.items()
    },
}
"""The sizes of Grafana's units by their names; `suffix:<text>` is one more (see `ladder`)."""
NAMES = (*LADDERS, *_WORDS, *sorted(_AGES), "suffix:<text>")


def known(unit: str) -> bool:
    """Whether a unit is one of those that can be shown."""
    return unit in LADDERS or unit in _WORDS or unit in _AGES or unit.startswith("suffix:")


def ladder(unit: str) -> Ladder:
    """The sizes of a unit."""
    return _ladder(1000, _THOUSANDS, f" {unit.removeprefix('suffix:').strip()}") if ":" in unit else LADDERS[unit]


def step(unit: str, largest: float) -> Step:
    """The size in which values up to `largest` are best read: the largest one that it reaches."""
    if not numeric(unit):
        return Step(1, "")
    sizes = ladder(unit)
    if largest == 0 or not math.isfinite(largest):
        return next((size for size in sizes if size.factor == 1), sizes[0])
    return next((size for size in reversed(sizes) if abs(largest) >= size.factor), sizes[0])


def numeric(unit: str) -> bool:
    """Whether values of a unit are shown as numbers, which have a size, and not as words or times."""
    return unit not in _WORDS and unit not in _AGES


def amount(value: float, unit: str, decimals: int | None = None, now: float = 0.0) -> str:
    """A value with its unit: 12.3 MiB, 45%, 1.2 req/s; `now` (Unix seconds) is what ages are counted from."""
    if math.isnan(value):
        return NOTHING
    if unit in _WORDS:
        return _WORDS[unit][bool(value)]
    if unit == "dateTimeAsIso":
        return datetime.fromtimestamp(value / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    if unit == "dateTimeFromNow":
        age = now - value / 1000
        return f"{amount(age, 's', 0)} ago" if age >= 0 else f"in {amount(-age, 's', 0)}"
    size = step(unit, value)
    number = digits(value / size.factor, decimals)
    gap = "" if size.suffix.startswith((" ", "%", "°", "/")) or not size.suffix else " "
    return f"{number}{gap}{size.suffix}"


def digits(value: float, decimals: int | None = None) -> str:
    """A number with so many decimals, or with three digits that count."""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if decimals is None:
        size = math.floor(math.log10(abs(value))) if value else 0
        text = f"{value:.{max(0, SIGNIFICANT_DIGITS - 1 - size)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        text = f"{value:.{decimals}f}"
    return text if float(text) else text.lstrip("-")
