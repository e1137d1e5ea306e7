# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus has counted of the versions of a model between two moments: whole numbers, none of them extrapolated.

increase() of PromQL stretches what it sees to the ends of its window, so that a test on its results would be one on
numbers that nobody counted. Here both moments lie after a scrape of all pods, and the counters' own values are
subtracted, series by series; one that begins anew (a pod that was restarted) counts from 0. All times are Prometheus's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.mlops.platform.plugins.module_utils.experiments.decision import Sample
from ansible_collections.mlops.platform.plugins.module_utils.prometheus import Prometheus, Series
from ansible_collections.mlops.platform.plugins.module_utils.waiting import Progress

DURATION = "model_request_duration_seconds"
"""A histogram {model, model_version, code}: seconds in the server of each request, `code` its HTTP status."""
FEEDBACK = "model_feedback_total"
"""A counter {model, model_version, outcome: good | bad}: what clients said of predictions afterwards."""
SLICES = 12
"""Slices of time that tell how counts vary: with fewer their variation is hardly known."""
UNCOUNTED = 0.01
"""The part of the answers that may be uncounted: a pod that ends takes what it counted since its last scrape along."""
POLL_SECONDS = 1.0
"""Prometheus cannot be watched, only asked."""


class NotCounted(Exception):
    """Prometheus has not counted, or cannot count, what was sent."""


@dataclass(frozen=True)
class Counted:
    """What was counted of one version: requests that failed, good answers that were slow, feedback that was bad.

    `p95` is the 95th percentile of its good answers in seconds as Prometheus estimates it, for people; None where it
    does not.
    """

    errors: Sample
    slow: Sample
    feedback: Sample
    p95: float | None


class Counters:
    """The counters of some `versions` of a model, whose pods are in a namespace."""

    def __init__(self, prometheus: Prometheus, namespace: str, model: str, versions: Sequence[str]) -> None:
        self._prometheus, self._versions = prometheus, tuple(versions)
        self._labels = f'namespace="{namespace}",model="{model}",model_version=~"{"|".join(versions)}"'

    def now(self) -> float:
        """The time that Prometheus has, in Unix seconds."""
        return self._prometheus.query("time()")[0].value

    def bound(self, seconds: float) -> float:
        """The smallest bound of the histogram that is not below some seconds. Raises NotCounted where there is none."""
        found = self._prometheus.query(f"group by (le) ({DURATION}_bucket{{{self._labels}}})")
        bounds = sorted(float(item.labels["le"]) for item in found)
        if not bounds:
            raise NotCounted(f"Prometheus has no series {DURATION}_bucket{{{self._labels}}}: are the models scraped?")
        bound = next(item for item in [*bounds, math.inf] if item >= seconds)
        if math.isinf(bound):
            raise NotCounted(
                f"answers that take {seconds:g} s cannot be told from slower ones: the highest bound of {DURATION} is "
                f"{max((item for item in bounds if math.isfinite(item)), default=0):g} s"
            )
        return bound

    def scraped(self, moment: float) -> str:
        """What has not been scraped since a moment, in words; empty once all pods of all versions have been."""
        oldest = self._prometheus.query(f"min by (model_version) (timestamp({DURATION}_count{{{self._labels}}}))")
        seen = {item.labels["model_version"]: item.value for item in oldest}
        late = [version for version in self._versions if seen.get(version, 0.0) <= moment]
        return f"the pods of version {' and '.join(late)} to be scraped" if late else ""

    def refuse_uncounted(
        self, begin: float, end: float, requests: Mapping[str, int], feedback: Mapping[str, int]
    ) -> None:
        """Raise NotCounted where too many of the requests and of the feedback of a version are not counted."""
        found = self._slices(f"{DURATION}_count", begin, end), self._slices(FEEDBACK, begin, end)
        missing = []
        for what, sent, slices in zip(("answers", "feedback"), (requests, feedback), found, strict=True):
            for version, number in sent.items():
                seen = sum(sum(row) for labels, row in slices if labels["model_version"] == version)
                if seen < number * (1 - UNCOUNTED):
                    missing.append(f"{seen} of {number} {what} of version {version}")
        if missing:
            raise NotCounted(f"Prometheus has counted only {', '.join(missing)}: did their pods end meanwhile?")

    def between(self, begin: float, end: float, bound: float) -> dict[str, Counted]:
        """What was counted of each version between two moments. Slow is a good answer beyond a `bound` of bound()."""
        requests = self._slices(f"{DURATION}_count", begin, end)
        buckets = self._slices(f"{DURATION}_bucket", begin, end)
        feedback = self._slices(FEEDBACK, begin, end)
        p95 = {
            item.labels["model_version"]: item.value
            for item in self._prometheus.query(
                f"histogram_quantile(0.95, sum by (model_version, le) (increase({DURATION}_bucket"
                f'{{{self._labels},code=~"2.."}}[{max(1, round(end - begin))}s])))',
                at=end,
            )
            if math.isfinite(item.value)
        }

        def rows(found: Sequence[tuple[Mapping[str, str], list[int]]], wanted: Callable[..., bool]) -> list[int]:
            """The sum of the series that are wanted, slice by slice."""
            kept = [[0] * SLICES, *(row for labels, row in found if wanted(labels))]
            return [sum(column) for column in zip(*kept, strict=True)]

        def counted(version: str) -> Counted:
            def of(labels: Mapping[str, str]) -> bool:
                return labels["model_version"] == version

            def good(labels: Mapping[str, str]) -> bool:
                return of(labels) and not failed(labels["code"])

            everything, answered = rows(requests, of), rows(requests, good)
            quick = rows(buckets, lambda labels: good(labels) and float(labels["le"]) == bound)
            told = rows(feedback, of)
            wrong = rows(feedback, lambda labels: of(labels) and labels["outcome"] == "bad")
            errors = [number - fine for number, fine in zip(everything, answered, strict=True)]
            slow = [number - fast for number, fast in zip(answered, quick, strict=True)]
            return Counted(
                errors=Sample.of(list(zip(errors, everything, strict=True))),
                slow=Sample.of(list(zip(slow, answered, strict=True))),
                feedback=Sample.of(list(zip(wrong, told, strict=True))),
                p95=p95.get(version),
            )

        return {version: counted(version) for version in self._versions}

    def _slices(self, metric: str, begin: float, end: float) -> list[tuple[Mapping[str, str], list[int]]]:
        """The labels of each series, and by how much it rose in each slice of a time."""
        step = max(0.001, math.ceil((end - begin) / SLICES * 1000) / 1000)
        last = begin + SLICES * step
        found = self._prometheus.query_range(f"{metric}{{{self._labels}}}", begin, last, step)
        return [(series.labels, rises(series, begin, step, SLICES)) for series in found]


def failed(code: str) -> bool:
    """Whether a status says that the server failed; what it refuses is the client's fault."""
    return code.startswith("5")


def rises(series: Series, begin: float, step: float, slices: int) -> list[int]:
    """By how much a counter rose in each of some slices of `step` seconds.

    A series that is not there at the beginning began later, at 0. One that is missing for a while is where it was; one
    that is lower than before began anew at 0. Prometheus cuts a step to whole milliseconds, so that its moments are not
    quite those that it was asked for.
    """
    known = {round((moment - begin) / step): value for moment, value in series.points}
    found, before = [], known.get(0, 0.0)
    for number in range(1, slices + 1):
        now = known.get(number, before)
        found.append(round(now - before if now >= before else now))
        before = now
    return found


def wait(missing: Callable[[], str], seconds: float, say: Progress, what: str) -> None:
    """Return when nothing is missing any more. Raises NotCounted with what was missing to the end."""
    deadline, said = time.monotonic() + seconds, ""
    while lacking := missing():
        if time.monotonic() > deadline:
            raise NotCounted(f"{what}: after {seconds:.0f} s {lacking}")
        if lacking != said:
            said = lacking
            say(f"{what}: waits, {lacking}")
        time.sleep(POLL_SECONDS)
