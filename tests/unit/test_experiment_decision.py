"""Decisions of experiments: each outcome, and how often chance gets a wrong one, by simulation with fixed seeds."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest
from ansible_collections.mlops.platform.plugins.module_utils.experiments.decision import (
    Certainty,
    Comparison,
    Demand,
    Measure,
    Sample,
    compare,
    decide,
    least_requests,
)
from scipy.stats import binom

ALPHA, POWER = 0.1, 0.8
CERTAINTY = Certainty(ALPHA, POWER)
MARGINS = {"errors": 0.01, "latency": 0.05, "feedback": 0.03}
SHARES = {"errors": 0.002, "latency": 0.04, "feedback": 0.1}
"""What a champion has in the simulations."""


def measure(name: str, champion: Sample, candidate: Sample) -> Measure:
    return Measure(name, "are bad", "a simulation", champion, candidate, MARGINS[name])


def drawn(
    generator: np.random.Generator, total: int, candidate: Mapping[str, float] | None = None, split: int = 50
) -> list[Measure]:
    """What `total` requests bring where the candidate has some shares of bad events, else the champion's."""
    second = total * split // 100
    return [
        measure(
            name,
            Sample(int(generator.binomial(total - second, share)), total - second),
            Sample(int(generator.binomial(second, (candidate or {}).get(name, share))), second),
        )
        for name, share in SHARES.items()
    ]


def outcomes(
    total: int,
    candidate: Mapping[str, float] | None = None,
    runs: int = 1000,
    certainty: Certainty = CERTAINTY,
    demand: Demand = "better",
) -> Counter[str]:
    generator = np.random.default_rng(20261121)
    return Counter(
        decide(drawn(generator, total, candidate, certainty.split), certainty, demand).outcome for _ in range(runs)
    )


def most(runs: int, probability: float) -> int:
    """As many events of a probability as come about in all but one of a million simulations."""
    return int(binom.isf(1e-6, runs, probability))


# What is decided


def test_a_better_candidate_is_promoted() -> None:
    found = decide(
        [
            measure("errors", Sample(0, 1500), Sample(0, 1500)),
            measure("latency", Sample(20, 1500), Sample(25, 1500)),
            measure("feedback", Sample(300, 1500), Sample(75, 1500)),
        ],
        CERTAINTY,
        "better",
    )
    assert found.outcome == "promote"
    assert [item.verdict for item in found.comparisons] == ["no worse", "no worse", "better"]
    assert found.reason.startswith("feedback better: 5.0 % of 1500 are bad, of the champion's 1500 20.0 %")
    assert found.needed == 0


@pytest.mark.parametrize("name", MARGINS)
def test_a_candidate_that_is_worse_by_any_measure_is_rejected_whatever_else_it_does_better(name: str) -> None:
    measures = [
        measure(each, Sample(300, 1500), Sample(600 if each == name else 0, 1500)) for each in MARGINS
    ]  # fmt: skip
    found = decide(measures, CERTAINTY, "better")
    assert found.outcome == "reject"
    assert found.reason.startswith(f"{name} worse: 40.0 % of 1500")
    assert "feedback better" not in found.reason
    assert decide(measures, CERTAINTY, "no worse").outcome == "reject"


def test_equal_versions_are_undecided_and_promoted_where_no_worse_is_enough() -> None:
    measures = [measure(name, Sample(30, 3000), Sample(30, 3000)) for name in MARGINS]
    found = decide(measures, CERTAINTY, "better")
    assert found.outcome == "undecided"
    assert found.needed > 6000
    assert "no worse by any measure, and better by none" in found.reason
    assert f"{found.needed} requests in all would tell with a probability of 80.0 %" in found.reason
    assert decide(measures, CERTAINTY, "no worse").outcome == "promote"


def test_a_champion_without_a_bad_event_leaves_nothing_to_better() -> None:
    found = decide([measure(name, Sample(0, 3000), Sample(0, 3000)) for name in MARGINS], CERTAINTY, "better")
    assert found.outcome == "undecided"
    assert found.needed == 0
    assert found.reason.endswith("the champion leaves nothing to better")


def test_a_difference_that_does_not_matter_is_none() -> None:
    found = compare(measure("latency", Sample(1000, 100_000), Sample(1500, 100_000)), 0.01)
    assert 0 < found.low < found.high < found.measure.margin
    assert found.verdict == "no worse"


def test_too_few_requests_tell_nothing_and_are_said_to_be_too_few() -> None:
    measures = [measure(name, Sample(2, 40), Sample(3, 40)) for name in MARGINS]
    for demand in ("better", "no worse"):
        found = decide(measures, CERTAINTY, demand)
        assert found.outcome == "undecided"
        assert found.needed > 80
    nothing = compare(measure("errors", Sample(0, 0), Sample(0, 40)), 0.01)
    assert (nothing.low, nothing.high, nothing.verdict) == (-1.0, 1.0, "unclear")


@pytest.mark.parametrize("split", [10, 50, 80])
def test_the_requests_that_are_asked_for_decide_with_the_power_that_is_promised(split: int) -> None:
    """A candidate that is better by what matters is promoted by as many requests, as often as the power says."""
    certainty = Certainty(ALPHA, POWER, look=1, split=split)
    first = decide(drawn(np.random.default_rng(1), 400, split=split), certainty, "better")
    assert first.outcome == "undecided"
    second = Certainty(ALPHA, POWER, look=2, split=split)
    better = {"feedback": SHARES["feedback"] - 0.04, "latency": 0.03, "errors": 0.001}
    found = outcomes(first.needed, better, 300, second)
    assert found["promote"] >= 300 * POWER
    assert found["reject"] <= most(300, ALPHA)


def test_bursts_make_the_bounds_wider_and_chance_alone_does_not() -> None:
    generator = np.random.default_rng(7)
    even = [(int(generator.binomial(250, 0.04)), 250) for _ in range(12)]
    burst = [(120 if number == 5 else 0, 250) for number in range(12)]
    assert Sample.of(even).dispersion < 2
    assert Sample.of(burst).dispersion > 50
    calm, stormy = (compare(measure("latency", Sample(60, 3000), Sample.of(slices)), 0.01) for slices in (even, burst))
    assert calm.verdict == "no worse"
    assert stormy.verdict == "unclear"
    assert stormy.difference == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        ([], Sample(0, 0)),
        ([(0, 0), (1, 3), (0, 0)], Sample(1, 3)),
        ([(0, 10), (0, 20)], Sample(0, 30)),
        ([(10, 10), (20, 20)], Sample(30, 30)),
    ],
)
def test_slices_without_variation_have_no_dispersion(slices: list[tuple[int, int]], expected: Sample) -> None:
    assert Sample.of(slices) == expected


@pytest.mark.parametrize(("margin", "split"), list(itertools.product([0.005, 0.01, 0.05], [10, 50, 90])))
def test_fewer_requests_than_the_least_show_nothing(margin: float, split: int) -> None:
    side = CERTAINTY.side(3)
    least = least_requests(margin, side, split)

    def verdict(requests: int) -> str:
        second = int(binom.ppf(0.001, requests, split / 100))
        counted = Measure("errors", "", "", Sample(0, requests - second), Sample(0, second), margin)
        return compare(counted, side).verdict

    assert verdict(least) == "no worse"
    assert verdict(least - 1) == "unclear"
    assert verdict(2 * least) == "no worse"


# How often chance gets it wrong


@pytest.mark.parametrize("total", [300, 1000, 4000])
def test_equal_versions_are_seldom_promoted_and_seldom_rejected(total: int) -> None:
    found = outcomes(total)
    level = ALPHA / 2  # of the first look
    assert found["promote"] <= most(1000, level)
    assert found["reject"] <= most(1000, level)
    assert found["undecided"] > 850


def test_looking_again_and_again_does_not_promote_an_equal_version() -> None:
    """Eight experiments one after the other, until one decides; without the correction this is five times as often."""
    generator = np.random.default_rng(3)
    wrong = naive = 0
    for _ in range(200):
        looks = [drawn(generator, 1000) for _ in range(8)]
        wrong += any(
            decide(each, Certainty(ALPHA, POWER, look), "better").outcome != "undecided"
            for look, each in enumerate(looks, 1)
        )
        naive += any(compare(each[-1], ALPHA / 2).verdict in ("better", "worse") for each in looks)
    assert wrong <= most(200, ALPHA)
    assert naive > 3 * most(200, ALPHA) / 2


@pytest.mark.parametrize(("name", "share"), [("errors", 0.05), ("latency", 0.3), ("feedback", 0.25)])
def test_a_version_that_is_much_worse_is_rejected_and_never_promoted(name: str, share: float) -> None:
    found = outcomes(1500, {name: share}, 300)
    assert found["promote"] == 0
    assert found["reject"] >= 300 * POWER


@pytest.mark.parametrize("name", MARGINS)
def test_a_version_that_is_worse_by_what_matters_is_seldom_promoted(name: str) -> None:
    """At the margin itself, better by another measure: the side of the interval is all that keeps it out."""
    other = "errors" if name == "feedback" else "feedback"
    worse = {name: SHARES[name] + MARGINS[name], other: 0.0}
    found = outcomes(3000, worse, 1000)
    assert found["promote"] <= most(1000, CERTAINTY.side(len(MARGINS)))


def test_a_better_version_is_promoted() -> None:
    found = outcomes(3000, {"feedback": 0.03}, 300)
    assert found["promote"] >= 300 * POWER
    assert found["reject"] <= most(300, ALPHA)


def test_the_intervals_hold_what_they_promise() -> None:
    """The true difference is beyond a bound no more often than was said, also where bad events are rare."""
    generator = np.random.default_rng(11)
    side, runs = 0.02, 2000
    for champion, candidate, size in [(0.002, 0.002, 600), (0.05, 0.1, 300), (0.3, 0.25, 200), (0.0, 0.01, 500)]:
        beyond = Counter[str]()
        for _ in range(runs):
            found: Comparison = compare(
                measure(
                    "errors",
                    Sample(int(generator.binomial(size, champion)), size),
                    Sample(int(generator.binomial(size, candidate)), size),
                ),
                side,
            )
            beyond["low"] += candidate - champion < found.low
            beyond["high"] += candidate - champion > found.high
        assert max(beyond.values()) <= most(runs, 1.25 * side), (champion, candidate, beyond)
