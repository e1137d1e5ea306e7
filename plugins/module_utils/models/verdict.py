# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the answers to a step's requests say of a new version: pure functions, with exact bounds for what chance may do.

Each answer names the version that gave it. Envoy draws for each request by itself which version gets it, so the number
of answers of a version with the share p of n requests is binomial(n, p), and the quantiles of that distribution tell
how far chance alone takes it: no seed, no normal approximation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SLOWEST = 0.05
"""The part of the stable version's answers that is slower than its baseline: the baseline is its 95th percentile."""


@dataclass(frozen=True)
class Answer:
    """One answer: how long it took, the version that says it gave it, and what is wrong with it.

    An `error` is an answer that is none (a status, no connection); whose it is, is not known. `wrong` says in what an
    answer differs from the prediction of the version that it names.
    """

    seconds: float
    version: str = ""
    error: str = ""
    wrong: str = ""


@dataclass(frozen=True)
class Bounds:
    """The numbers, both included, that chance allows."""

    low: int
    high: int

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low} to {self.high}"


def bounds(count: int, share: float, alarm: float) -> Bounds:
    """The numbers of successes in `count` draws outside of which chance gets with a probability below `alarm`.

    Each draw succeeds with the probability `share`; half of the alarm is on either side.
    """
    return Bounds(count - _highest(count, 1 - share, alarm / 2), _highest(count, share, alarm / 2))


def _highest(count: int, share: float, alarm: float) -> int:
    """The highest number of successes that comes about, or is exceeded, with a probability of at least `alarm`."""
    if not 0 < share < 1:
        return count if share >= 1 else 0
    success, failure, ways = math.log(share), math.log1p(-share), math.lgamma(count + 1)
    mass = 0.0
    for hits in range(count, -1, -1):
        choices = ways - math.lgamma(hits + 1) - math.lgamma(count - hits + 1)
        mass += math.exp(choices + hits * success + (count - hits) * failure)
        if mass >= alarm:
            return hits
    return 0


def least_requests(share: float, alarm: float) -> int:
    """The number of requests from which `bounds` tell a share from none, and from all of them.

    None at all come about with the probability (1 - share) ** n, and all with share ** n.
    """
    nearer = max(share, 1 - share)
    return 1 if nearer >= 1 else math.floor(math.log(alarm / 2) / math.log(nearer)) + 1


def percentile(seconds: Sequence[float], part: float = 1 - SLOWEST) -> float:
    """The value that `part` of some durations do not exceed; 0 where there are none."""
    ranked = sorted(seconds)
    return ranked[max(0, math.ceil(part * len(ranked)) - 1)] if ranked else 0.0


@dataclass(frozen=True)
class Finding:
    """The outcome of one check on a step's answers, as component checks have it."""

    name: str
    healthy: bool
    observed: object
    expected: object
    message: str = ""

    def result(self) -> dict[str, Any]:
        """The finding as plain data for a task's result."""
        return dict(vars(self))


@dataclass(frozen=True)
class Expected:
    """What a step's answers must be: the candidate has `percent` of them, the rest are the stable version's.

    `timed` says whether the answers came the way that the baseline's came, and may be compared with it.
    """

    stable: str
    candidate: str
    percent: int
    error_ratio: float
    latency_ratio: float
    latency_allowed_ms: int
    baseline_seconds: float
    alarm: float
    timed: bool = True


def judge(answers: Sequence[Answer], expected: Expected) -> list[Finding]:
    """All checks on the answers to the requests of one step; there is at least one answer."""
    found = [_errors(answers, expected), *sane(answers, expected)]
    return [*found, _latency(answers, expected)] if expected.timed else found


def sane(answers: Sequence[Answer], expected: Expected) -> list[Finding]:
    """Whether answers are what their versions predict, and shared out as they should be."""
    return [_predictions(answers), _split(answers, expected)]


def baseline(answers: Sequence[Answer], stable: str) -> float:
    """What 95 of 100 good answers of the stable version kept below, in seconds; 0 where there are none."""
    return percentile([item.seconds for item in answers if item.version == stable and not item.error])


def _errors(answers: Sequence[Answer], expected: Expected) -> Finding:
    """Errors do not say whose they are: once the candidate has a share of requests, all are laid at its door."""
    errors = [item.error for item in answers if item.error]
    share = expected.percent / 100 or 1.0
    allowed = math.floor(expected.error_ratio * share * len(answers))
    kinds = {text: errors.count(text) for text in errors}
    said = "; ".join(f"{count} x {text}" for text, count in sorted(kinds.items(), key=lambda item: -item[1])[:3])
    message = f"{len(errors)} of {len(answers)} requests failed: {said}" if len(errors) > allowed else ""
    return Finding("answers", len(errors) <= allowed, f"{len(errors)} errors", f"at most {allowed}", message)


def _predictions(answers: Sequence[Answer]) -> Finding:
    wrong = [item for item in answers if item.wrong]
    good = sum(not item.error for item in answers)
    message = (
        f"{len(wrong)} of {good} answers are not what their version predicts, the first is of version "
        f"{wrong[0].version}: {wrong[0].wrong}"
        if wrong
        else ""
    )
    return Finding("predictions", not wrong, f"{good - len(wrong)} of {good} right", "all", message)


def _split(answers: Sequence[Answer], expected: Expected) -> Finding:
    """The number of the candidate's answers; errors may be of either version."""
    counts = dict.fromkeys((expected.stable, expected.candidate), 0)
    strangers: dict[str, int] = {}
    for item in answers:
        if not item.error:
            known = counts if item.version in counts else strangers
            known[item.version] = known.get(item.version, 0) + 1
    allowed = bounds(len(answers), expected.percent / 100, expected.alarm)
    found, errors = counts[expected.candidate], sum(bool(item.error) for item in answers)
    healthy = not strangers and found <= allowed.high and found + errors >= allowed.low
    said = ", ".join(f"{count} by version {version or '?'}" for version, count in {**counts, **strangers}.items())
    message = ""
    if strangers:
        message = f"answers came from neither version: {said}"
    elif not healthy:
        message = f"with {expected.percent} % for version {expected.candidate} its answers must be {allowed}: {said}"
    return Finding("share", healthy, said, f"{allowed} by version {expected.candidate}", message)


def _latency(answers: Sequence[Answer], expected: Expected) -> Finding:
    """No more of the candidate's answers are slower than the bound than chance gives a version of equal speed.

    A twentieth of the stable version's answers exceeds its own 95th percentile, and fewer exceed a multiple of it: of n
    answers of a version that is no slower, binomial(n, 1/20) is the most that chance takes above the bound.
    """
    stable = baseline(answers, expected.stable) or expected.baseline_seconds
    taken = [item.seconds for item in answers if item.version == expected.candidate and not item.error]
    limit = max(stable * expected.latency_ratio, expected.latency_allowed_ms / 1000)
    slow = sum(seconds > limit for seconds in taken)
    allowed = bounds(len(taken), SLOWEST, 2 * expected.alarm).high if taken else 0
    healthy = slow <= allowed
    observed = f"{slow} of {len(taken)} slower than {limit * 1000:.0f} ms"
    message = (
        f"{observed}: p50 {percentile(taken, 0.5) * 1000:.0f} ms, p95 {percentile(taken) * 1000:.0f} ms; version "
        f"{expected.stable} has p95 {stable * 1000:.0f} ms"
        if not healthy
        else ""
    )
    return Finding("latency", healthy, observed, f"at most {allowed}", message)
