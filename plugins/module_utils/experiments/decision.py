# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a candidate is better or worse than the champion: pure functions on counts, by statsmodels and SciPy.

Whatever is measured is a number of bad events among all: requests that failed, answers that were slow, predictions that
were wrong. Two versions are compared by the difference of their shares of bad events, candidate less champion: that it
is there by Fisher's exact test, which holds for the rarest events, too; that it is smaller than what matters by
Newcombe's confidence interval.

- One look. The number of requests is fixed before the first one is sent, and nothing is decided before the last one is
  counted: looking in between would find a difference sooner or later where none is.
- Looks of several runs. The n-th experiment with the same two versions may be wrong with the probability alpha / 2**n,
  so that all of them together stay below alpha, however often somebody tries again (union bound).
- Several measures. Each has an equal part of that (Bonferroni). That all of them are no worse needs no correction: it
  is claimed only where each single one is.
- Bursts. Requests that are slow or fail together say less than as many that do so alone. The shares of short slices of
  time tell how far they vary beyond chance (Pearson's chi-square by its degrees of freedom); the counts are divided by
  that before they are compared, as for samples in clusters (Rao and Scott, 1992).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from scipy.stats import binom, chi2_contingency, fisher_exact
from statsmodels.stats.proportion import confint_proportions_2indep, samplesize_proportions_2indep_onetail

Verdict = Literal["better", "no worse", "worse", "unclear"]
Outcome = Literal["promote", "reject", "undecided"]
Demand = Literal["better", "no worse"]
UNLUCKY = 0.001
"""How probable it may be that a version gets too few requests only because of how chance shares them out."""


@dataclass(frozen=True)
class Sample:
    """`bad` of `total` events; they vary `dispersion` times as much as independent ones, at least 1."""

    bad: int
    total: int
    dispersion: float = 1.0

    @classmethod
    def of(cls, slices: Sequence[tuple[int, int]]) -> Sample:
        """The events of slices of time, each (bad, total)."""
        filled = [(bad, total) for bad, total in slices if total]
        bad, total = sum(item[0] for item in filled), sum(item[1] for item in filled)
        if len(filled) < 2 or bad in (0, total):
            return cls(bad, total)
        found = chi2_contingency([[bad, total - bad] for bad, total in filled], correction=False)
        return cls(bad, total, max(1.0, float(found.statistic) / float(found.dof)))

    @property
    def share(self) -> float:
        """The part of the events that is bad; 0 where there are none."""
        return self.bad / self.total if self.total else 0.0

    @property
    def independent(self) -> tuple[int, int]:
        """The numbers of bad and of all events that would say as much if each came about by itself."""
        return round(self.bad / self.dispersion), max(1, round(self.total / self.dispersion))


@dataclass(frozen=True)
class Measure:
    """What was counted of both versions. A share of bad events that is higher by `margin` or more matters.

    `bad` says in words what the bad events are, `source` where they were counted.
    """

    name: str
    bad: str
    source: str
    champion: Sample
    candidate: Sample
    margin: float


@dataclass(frozen=True)
class Comparison:
    """A measure with the difference of shares, candidate less champion, and the bounds that it has with confidence.

    The difference is below `low`, and above `high`, with a probability of `side` each. `worse` and `better` are the
    probabilities that equal versions differ as much in that direction; what is at most `side` is no chance.
    """

    measure: Measure
    side: float
    difference: float = 0.0
    low: float = -1.0
    high: float = 1.0
    worse: float = 1.0
    better: float = 1.0

    @property
    def verdict(self) -> Verdict:
        """What can be said with confidence.

        A difference that is there, and that is too small to matter, makes a candidate neither worse nor unclear.
        """
        if self.better <= self.side:
            return "better"
        if self.high < self.measure.margin:
            return "no worse"
        return "worse" if self.worse <= self.side else "unclear"

    def __str__(self) -> str:
        measure = self.measure
        return (
            f"{measure.name} {self.verdict}: {_percent(measure.candidate.share)} of {measure.candidate.total} "
            f"{measure.bad}, of the champion's {measure.champion.total} {_percent(measure.champion.share)} "
            f"(difference {100 * self.low:+.2f} to {100 * self.high:+.2f} points, below {100 * measure.margin:+.2f} "
            "does not matter)"
        )

    def result(self) -> dict[str, Any]:
        """The comparison as plain data."""
        measure = self.measure
        return {
            "name": measure.name,
            "bad": measure.bad,
            "source": measure.source,
            "verdict": self.verdict,
            "champion": vars(measure.champion) | {"share": measure.champion.share},
            "candidate": vars(measure.candidate) | {"share": measure.candidate.share},
            "difference": self.difference,
            "low": self.low,
            "high": self.high,
            "p_worse": self.worse,
            "p_better": self.better,
            "margin": measure.margin,
        }


@dataclass(frozen=True)
class Decision:
    """What follows from all comparisons. `needed` are the requests that a next experiment must send in all.

    They are 0 where it is decided, and where no number of them would show what is looked for.
    """

    outcome: Outcome
    reason: str
    comparisons: Sequence[Comparison]
    confidence: float
    needed: int = 0

    def result(self) -> dict[str, Any]:
        """The decision as plain data."""
        return {
            "outcome": self.outcome,
            "reason": self.reason,
            "needed": self.needed,
            "confidence": self.confidence,
            "measures": [item.result() for item in self.comparisons],
        }


@dataclass(frozen=True)
class Certainty:
    """How certain a decision must be.

    `alpha` is how probable a wrong one may be in all experiments with the same two versions, `look` is which of them
    this one is, from 1. `power` is how probable it is to find a difference that matters, where more requests are
    asked for. `split` is the candidate's percentage of the requests.
    """

    alpha: float
    power: float
    look: int = 1
    split: int = 50

    def side(self, measures: int, later: int = 0) -> float:
        """How probable an error may be on one side of one of so many measures, in this experiment or a `later` one."""
        return float(self.alpha / 2 ** (self.look + later) / measures)


def compare(measure: Measure, side: float) -> Comparison:
    """Compare the versions by a measure; nothing is known of one that has no events."""
    champion, candidate = measure.champion, measure.candidate
    if not champion.total or not candidate.total:
        return Comparison(measure, side)
    counts = [number for sample in (candidate, champion) for number in sample.independent]
    low, high = confint_proportions_2indep(*counts, compare="diff", method="newcomb", alpha=2 * side)
    table = [[bad, total - bad] for bad, total in (candidate.independent, champion.independent)]
    worse, better = (float(fisher_exact(table, alternative=way).pvalue) for way in ("greater", "less"))
    return Comparison(measure, side, candidate.share - champion.share, float(low), float(high), worse, better)


def decide(measures: Sequence[Measure], certainty: Certainty, demand: Demand) -> Decision:
    """Decide by some measures, the business's own as the last one.

    A candidate that is worse by any of them is rejected. It is promoted where it is no worse by all of them and,
    where that is demanded, better by one.
    """
    side = certainty.side(len(measures))
    found = [compare(measure, side) for measure in measures]
    confidence = 1 - side
    if worse := [item for item in found if item.verdict == "worse"]:
        return Decision("reject", "; ".join(map(str, worse)), found, confidence)
    better = [item for item in found if item.verdict == "better"]
    unclear = [item for item in found if item.verdict == "unclear"]
    if not unclear and (better or demand == "no worse"):
        return Decision("promote", "; ".join(map(str, better or found)), found, confidence)
    return _undecided(found, unclear, certainty)


def _undecided(found: Sequence[Comparison], unclear: Sequence[Comparison], certainty: Certainty) -> Decision:
    """How many requests would tell more."""
    later = certainty.side(len(found), later=1)
    if unclear:
        needs = {item.measure.name: _needed(item.measure, item.measure.margin, later, certainty) for item in unclear}
        reason = "; ".join(map(str, unclear))
    else:
        measure = found[-1].measure
        reason = f"no worse by any measure, and better by none; {found[-1]}"
        if not measure.champion.bad:
            said = f"{reason}: the champion leaves nothing to better"
            return Decision("undecided", said, found, 1 - found[-1].side)
        sought = min(measure.margin, measure.champion.share)
        # What would have been found in as many requests most likely is not there: what is half as large may be.
        while (needed := _needed(measure, -sought, later, certainty)) <= measure.champion.total:
            sought /= 2
        needs = {f"{measure.name} better by {100 * sought:.2f} points": needed}
    needed = max(needs.values())
    said = f"{reason}: {needed} requests in all would tell with a probability of {_percent(certainty.power)}"
    return Decision("undecided", f"{said} ({', '.join(needs)})", found, 1 - found[-1].side, needed)


def _needed(measure: Measure, difference: float, side: float, certainty: Certainty) -> int:
    """The requests to both versions that show a difference from the champion's share with the power asked for."""
    ratio = (100 - certainty.split) / certainty.split
    share = min(measure.champion.share, 1 - difference) if difference > 0 else measure.champion.share
    alone = samplesize_proportions_2indep_onetail(
        difference, share, certainty.power, ratio=ratio, alpha=side, alternative="larger"
    )
    spread = max(measure.champion.dispersion, measure.candidate.dispersion)
    return math.ceil(float(alone) * spread * (1 + ratio))


def least_requests(margin: float, side: float, split: int) -> int:
    """The requests to both versions below which not even a candidate without a bad event could be shown to be no worse.

    `margin` is the smallest one of the measures. Chance shares the requests out: that a candidate gets fewer of them
    than it needs must be as improbable as UNLUCKY.
    """

    def shown(requests: int) -> bool:
        candidate = int(binom.ppf(UNLUCKY, requests, split / 100))
        measure = Measure("", "", "", Sample(0, requests - candidate), Sample(0, candidate), margin)
        return compare(measure, side).high < margin

    low, high = 1, 2
    while not shown(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shown(middle) else (middle, high)
    return high


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
