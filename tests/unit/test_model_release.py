"""Releases: the state machine against a model of KServe, killed at every point; what their answers are held to."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.models.canary import (
    Traffic,
    reached,
    traffic,
)
from ansible_collections.mlops.platform.plugins.module_utils.models.reference import asked, request
from ansible_collections.mlops.platform.plugins.module_utils.models.release import (
    ANNOTATION,
    LONGEST_CAUSE,
    Done,
    Release,
    Rules,
    StepFailed,
    at,
    marked,
    play,
    refuse_during_release,
    resumed,
    under_way,
)
from ansible_collections.mlops.platform.plugins.module_utils.models.verdict import (
    Answer,
    Bounds,
    Expected,
    baseline,
    bounds,
    judge,
    least_requests,
    percentile,
)
from scipy.stats import binom

STEPS = (10, 50, 100)
OLDEST, STABLE, CANDIDATE = "1", "2", "3"
PREFIX = "iris-predictor-"


class Killed(Exception):
    """The run ends here, as by kill -9."""


class KServe:
    """KServe 0.20 and Knative as far as a release sees them: revisions, and where requests go.

    Follows ksvc_reconciler.go and PropagateStatus of inference_service_status.go, with the worst order of what the
    controllers see: Knative's status still lacks the new revision when the new traffic is there already.
    """

    def __init__(self, history: Sequence[str], broken: Sequence[str] = ()) -> None:
        self.broken = broken
        self.revisions = list(history)  # the version of each revision; its number is its place
        self.newest = self.ready = self.rolled_out = len(history) - 1
        self.previous: int | None = self.newest - 1 if self.newest else None
        self.version = history[-1]
        self.percent: int | None = None
        self.annotation: str | None = None
        self.target: tuple[int | None, int] = (None, self.rolled_out)
        self.seen: list[dict[str, int]] = []

    def apply(self, version: str, percent: int | None, annotation: str | None) -> None:
        changed = version != self.version
        self.version, self.percent, self.annotation = version, percent, annotation
        self._route()
        self._status()  # Knative's status before the new revision
        if changed:
            self.revisions.append(version)
            self.newest = len(self.revisions) - 1
            self._status()
            if version not in self.broken:
                self.ready = self.newest
        for _ in range(3):
            self._status()
            self._route()

    def _route(self) -> None:
        """What KServe writes into the Knative Service's traffic."""
        self.target = (self.percent, self.rolled_out)

    def shares(self) -> dict[str, int]:
        """Percent of the requests by version."""
        percent, rest = self.target
        found = {self.revisions[self.ready]: 100 if percent is None else percent}
        if percent is not None:
            found[self.revisions[rest]] = found.get(self.revisions[rest], 0) + 100 - percent
        return {version: share for version, share in found.items() if share}

    def _status(self) -> None:
        percent, rest = self.target
        if self.rolled_out != self.ready:
            if percent in (None, 100):
                self.previous, self.rolled_out = self.rolled_out, self.ready
        elif self.ready == self.newest == rest and percent not in (None, 100) and self.previous is not None:
            self.rolled_out = self.previous
        self.seen.append(self.shares())


class Play:
    """A Stage on a model of a mode; `bad` are the shares at which the checks fail, `kill` is where the run ends."""

    def __init__(self, model: KServe, bad: Sequence[int] = (), kill: int = -1) -> None:
        self.model, self.bad, self.left = model, bad, kill

    def _alive(self) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1

    def begin(self) -> Release:
        self._alive()
        model = self.model
        model.previous = None
        return Release(model.version, f"{PREFIX}{model.newest}", CANDIDATE, baseline_seconds=0.01)

    def apply(self, before: Release | None, state: Release | Done) -> None:
        self._alive()
        assert self.found() == before
        self._write(state)
        self._alive()

    def _write(self, state: Release | Done) -> None:
        """As the stages of canary.py do."""
        if isinstance(state, Done):
            self.model.apply(state.version, None, None)
        else:
            self.model.apply(state.version, state.percent, state.encode())

    def prove(self, state: Release | Done) -> float:
        self._alive()
        taken_back = isinstance(state, Release) and bool(state.cause)
        if CANDIDATE in self.model.broken and isinstance(state, Release) and not taken_back:
            raise StepFailed("crashed")
        expected = {STABLE: 100} if taken_back else {state.version: 100}
        if isinstance(state, Release) and not state.cause:
            expected = {STABLE: 100 - state.percent, CANDIDATE: state.percent}
        assert self.model.shares() == {version: share for version, share in expected.items() if share}, state
        if isinstance(state, Release) and not state.cause and state.percent in self.bad:
            raise StepFailed(f"bad at {state.percent}")
        self._alive()
        return 0.02

    def found(self) -> Release | None:
        written = self.model.annotation
        return under_way({"metadata": {"name": "iris", "annotations": {ANNOTATION: written} if written else None}})

    def run(self, candidate: str = CANDIDATE) -> Done:
        """One run of the playbook."""
        found = self.found()
        state = resumed(found, candidate)
        if state is None:
            if self.model.version == candidate:
                return Done(candidate)
            state = self.begin()
        return play(found, state, self, STEPS)


def invariants(model: KServe) -> None:
    """At no moment did a request go to the version before the stable one, nor more to the candidate than was proven."""
    shares = [0, *STEPS]
    for before, after in itertools.pairwise(model.seen):
        assert OLDEST not in after, model.seen
        gained = after.get(CANDIDATE, 0)
        assert gained in shares, after
        assert shares.index(gained) <= shares.index(before.get(CANDIDATE, 0)) + 1, model.seen


MODELS = pytest.mark.parametrize(
    "make",
    [lambda *b: KServe((STABLE,), *b), lambda *b: KServe((OLDEST, STABLE), *b)],
    ids=["Knative", "Knative with three revisions"],
)
BAD = pytest.mark.parametrize(
    "bad", [(), (0,), (10,), (50,), (100,)], ids=lambda bad: f"bad at {bad[0]}" if bad else "good"
)
Make = Callable[..., KServe]


@MODELS
@BAD
def test_a_release_ends_with_one_version_alone(make: Make, bad: Sequence[int]) -> None:
    model = make()
    done = Play(model, bad).run()
    assert done == (Done(STABLE, f"bad at {bad[0]}") if bad else Done(CANDIDATE))
    assert model.shares() == {done.version: 100}
    assert (model.version, model.percent, model.annotation) == (done.version, None, None)
    invariants(model)


@MODELS
def test_a_version_that_does_not_load_never_gets_a_request(make: Make) -> None:
    model = make([CANDIDATE])
    assert Play(model).run() == Done(STABLE, "crashed")
    assert all(CANDIDATE not in shares for shares in model.seen)
    assert model.shares() == {STABLE: 100}
    invariants(model)


@pytest.mark.parametrize("broken", [(), (CANDIDATE,)], ids=["loads", "crashes"])
@MODELS
@BAD
def test_the_next_run_ends_what_a_killed_one_left(make: Make, bad: Sequence[int], broken: Sequence[str]) -> None:
    """Killed at every point, then killed again at every point of the next run, then let go."""
    good, points = not bad and not broken, 0
    for first in itertools.count():
        model = make(broken)
        try:
            Play(model, bad, kill=first).run()
            break
        except Killed:
            left = dict(model.__dict__)
        for second in itertools.count():
            model.__dict__.update(
                {key: list(value) if isinstance(value, list) else value for key, value in left.items()}
            )
            try:
                done = Play(model, bad, kill=second).run()
                over = True
            except Killed:
                done, over = Play(model, bad).run(), False
            points += 1
            assert model.shares() == {CANDIDATE if good else STABLE: 100}
            assert done.version == (CANDIDATE if good else STABLE)
            assert bool(done.cause) != good
            assert (model.percent, model.annotation) == (None, None)
            invariants(model)
            if over:
                break
    assert points > 20


def test_another_version_takes_a_release_back_first() -> None:
    kserve = KServe((OLDEST, STABLE))
    with pytest.raises(Killed):
        Play(kserve, kill=6).run()
    assert kserve.shares() == {STABLE: 90, CANDIDATE: 10}
    assert Play(kserve).run("4") == Done(STABLE, "version 4 was asked for instead")
    assert kserve.shares() == {STABLE: 100}
    invariants(kserve)


def test_kserve_must_forget_the_revision_before() -> None:
    """The model shows what a release without that step would do: the race sends all requests to the oldest version."""
    kserve = KServe((OLDEST, STABLE))
    kserve.apply(CANDIDATE, 10, None)
    assert any(shares.get(OLDEST) for shares in kserve.seen)


def test_the_old_model_must_go_back_at_0_percent() -> None:
    """And what the obvious rollback would do: until the old model is loaded, the bad one has all requests."""
    kserve = KServe((STABLE,))
    kserve.apply(CANDIDATE, 10, None)
    kserve.seen.clear()
    kserve.apply(STABLE, None, None)
    assert {CANDIDATE: 100} in kserve.seen


def test_where_taking_back_fails_the_state_stays() -> None:
    class Stuck(Play):
        def prove(self, state: Release | Done) -> float:
            if isinstance(state, Release) and state.cause:
                raise StepFailed("no room for the pod")
            return super().prove(state)

    kserve = KServe((STABLE,))
    with pytest.raises(StepFailed, match="no room"):
        Stuck(kserve, bad=(10,)).run()
    assert kserve.shares() == {STABLE: 100}
    found = Play(kserve).found()
    assert found is not None
    assert found.cause == "bad at 10"
    assert Play(kserve).run() == Done(STABLE, "bad at 10")


# What is written


MANIFEST: dict[str, Any] = {"metadata": {"name": "iris", "namespace": "models"}, "spec": {"predictor": {"model": {}}}}
STATE = Release(STABLE, f"{PREFIX}00002", CANDIDATE, 10, 0.02)


def test_a_state_is_read_back_as_it_was_written() -> None:
    for state in (STATE, STATE.failed("x" * 9999), replace(STATE.failed("why"), exchanged=True)):
        made = marked(MANIFEST, state)
        assert under_way(made) == state
        assert made["spec"]["predictor"]["canaryTrafficPercent"] == state.percent
    assert len(STATE.failed("x" * 9999).cause) == LONGEST_CAUSE
    assert marked(MANIFEST, Done(CANDIDATE)) == MANIFEST
    assert under_way(MANIFEST) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", json.dumps({"stable": "1", "what": 1})])
def test_an_annotation_that_is_no_state_is_told(text: str) -> None:
    with pytest.raises(PlatformError, match=f"InferenceService iris: annotation {ANNOTATION}"):
        under_way({"metadata": {"name": "iris", "annotations": {ANNOTATION: text}}})


def test_others_keep_away_from_a_release() -> None:
    refuse_during_release(MANIFEST)
    with pytest.raises(PlatformError, match=r"version 3 is under way and has 10 %: .* -e model=iris -e version=3"):
        refuse_during_release(marked(MANIFEST, STATE))
    with pytest.raises(PlatformError, match="is being taken back"):
        refuse_during_release(marked(MANIFEST, STATE.failed("why")))


# Where requests go


def service(spec_hash: str, newest: str, ready: str, shares: dict[str, int], **changes: Any) -> dict[str, Any]:
    return {
        "metadata": {"generation": 4},
        "spec": {"template": {"metadata": {"annotations": {"mlops.platform/spec-hash": spec_hash}}}},
        "status": {
            "observedGeneration": 4,
            "latestCreatedRevisionName": newest,
            "latestReadyRevisionName": ready,
            "traffic": [{"revisionName": name, "percent": share} for name, share in shares.items()],
            "conditions": [{"type": "RoutesReady", "status": "True"}],
            **changes,
        },
    }


BACK = replace(STATE.failed("why"), exchanged=True)


@pytest.mark.parametrize(
    ("state", "found", "expected"),
    [
        (replace(STATE, percent=0), service("now", "c", "c", {"b": 100, "c": 0}), True),
        (replace(STATE, percent=0), service("now", "c", "b", {"b": 100}), False),
        (replace(STATE, percent=0), service("old", "b", "b", {"b": 100}), False),
        (STATE, service("now", "c", "c", {"b": 90, "c": 10}), True),
        (STATE, service("now", "c", "c", {"b": 100}), False),
        (STATE, service("now", "c", "c", {"a": 90, "c": 10}), False),
        (STATE, service("now", "c", "c", {"b": 90, "c": 10}, observedGeneration=3), False),
        (STATE, service("now", "c", "c", {"b": 90, "c": 10}, conditions=[]), False),
        (replace(STATE, percent=100), service("now", "c", "c", {"c": 100}), True),
        (STATE.failed("why"), service("now", "c", "b", {"b": 100}), True),
        (STATE.failed("why"), service("now", "c", "c", {"b": 90, "c": 10}), False),
        (BACK, service("now", "d", "c", {"b": 100}), False),
        (BACK, service("now", "d", "d", {"b": 100}), True),
        (Done("2"), service("now", "d", "d", {"b": 100}), False),
        (Done("2"), service("now", "d", "d", {"d": 100}), True),
        (Done("2"), service("old", "d", "d", {"d": 100}), False),
    ],
)
def test_when_a_state_is_reached(state: Release | Done, found: dict[str, Any], expected: bool) -> None:
    state = replace(state, revision="b") if isinstance(state, Release) else state
    assert reached(state, traffic(found, "now")) is expected


def test_shares_of_one_revision_are_added_up() -> None:
    found = service("now", "c", "b", {})
    found["status"]["traffic"] = [
        {"latestRevision": True, "revisionName": "b", "percent": 10},
        {"revisionName": "b", "percent": 90, "tag": "prev"},
    ]
    now = traffic(found, "now")
    assert now == Traffic({"b": 100}, "c", ready=False, current=True, settled=True)
    assert str(now) == "100 % to b"


def test_states_in_words() -> None:
    states: list[Release | Done] = [STATE, STATE.failed("x"), BACK, Done("3")]
    assert [at(state) for state in states] == [
        "version 3 at 10 %",
        "version 3 taken back to 0 %",
        "version 2 put back",
        "version 3 alone",
    ]


@pytest.mark.parametrize(
    "rows",
    [
        pd.DataFrame({"a": [1.5, 2.5], "b": [1, 2], "c": ["x", "y"], "d": [True, False]}),
        np.asarray([[1.0, 2.0], [3.0, 4.0]], dtype="float32"),
        {"a": np.asarray([1, 2], dtype="int32"), "b": np.asarray([[1.0], [2.0]])},
    ],
    ids=["columns", "a tensor", "tensors"],
)
def test_rows_come_out_of_the_request_that_they_went_into(rows: Any) -> None:
    """So that both versions are asked for the same rows."""
    sent = json.loads(json.dumps(request(rows)))
    assert request(asked(sent)) == sent


# The rules


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": ()}, r"release_steps is \[\]: allowed are rising"),
        ({"steps": (10, 50)}, "end with 100"),
        ({"steps": (50, 10, 100)}, "rising"),
        ({"steps": (0, 100)}, "rising"),
        ({"steps": (50, 120)}, "end with 100"),
        ({"error_ratio": 1.0}, "release_error_ratio is 1.0: allowed is a part of 1"),
        ({"error_ratio": -0.1}, "release_error_ratio"),
        ({"latency_ratio": 0.5}, "release_latency_ratio is 0.5: allowed is 1 or more"),
        ({"rate": 0}, "release_rate is 0: allowed is more than 0"),
        ({"timeout_seconds": -1}, "release_timeout_seconds"),
        ({"requests": 100}, r"release_requests is 100: with release_steps \[10, 50, 100\] allowed is 158 or more"),
        ({"steps": (1, 100)}, r"release_requests is 300: with release_steps \[1, 100\] allowed is 1622 or more"),
    ],
)
def test_rules_that_contradict_themselves(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(PlatformError, match=message):
        Rules(**wrong)


@pytest.mark.parametrize("steps", [(100,), (10, 50, 100), (50, 100), (5, 10, 25, 50, 100)])
def test_a_whole_release_raises_a_false_alarm_less_than_once_in_a_million(steps: tuple[int, ...]) -> None:
    rules = Rules(steps=steps, requests=1000)
    alarms = 0.0
    for percent in steps:
        allowed = bounds(rules.requests, percent / 100, rules.alarm)
        inside = binom.cdf(allowed.high, 1000, percent / 100) - binom.cdf(allowed.low - 1, 1000, percent / 100)
        own = 10 * percent
        alarms += (1 - inside) + binom.sf(bounds(own, 0.05, 2 * rules.alarm).high, own, 0.05)
    assert alarms < 1e-6


# The verdict


@pytest.mark.parametrize("count", [1, 7, 30, 300, 5000])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("alarm", [1e-2, 1e-6 / 8])
def test_bounds_are_the_quantiles_of_the_binomial_distribution(count: int, share: float, alarm: float) -> None:
    assert bounds(count, share, alarm) == Bounds(
        int(binom.ppf(alarm / 2, count, share)), int(binom.isf(alarm / 2, count, share))
    )


def test_bounds_of_all_and_none() -> None:
    assert bounds(300, 1.0, 1e-6) == Bounds(300, 300)
    assert bounds(300, 0.0, 1e-6) == Bounds(0, 0)
    assert (str(Bounds(3, 9)), str(Bounds(3, 3))) == ("3 to 9", "3")


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_the_least_number_of_requests_tells_a_share_from_none_and_all(share: float) -> None:
    least = least_requests(share, 1e-6)
    allowed = bounds(least, share, 1e-6)
    assert allowed.low > 0
    assert allowed.high < least
    fewer = bounds(least - 1, share, 1e-6)
    assert fewer.low == 0 or fewer.high == least - 1


@pytest.mark.parametrize(
    ("seconds", "part", "expected"),
    [([], 0.95, 0.0), ([3.0], 0.95, 3.0), ([3.0, 1.0, 2.0], 0.5, 2.0), ([float(n) for n in range(1, 101)], 0.95, 95.0)],
)
def test_percentiles(seconds: list[float], part: float, expected: float) -> None:
    assert percentile(seconds, part) == expected


def expected(**changes: Any) -> Expected:
    return Expected(**{
        "stable": STABLE, "candidate": CANDIDATE, "percent": 10, "error_ratio": 0.0, "latency_ratio": 2.0,
        "latency_allowed_ms": 50, "baseline_seconds": 0.02, "alarm": 1e-6 / 8, **changes,
    })  # fmt: skip


def answers(stable: int = 270, candidate: int = 30, **changes: Any) -> list[Answer]:
    """Answers of both versions, 10 ms each; `changes` are the candidate's."""
    own = [Answer(**{"seconds": 0.01, "version": CANDIDATE, **changes}) for _ in range(candidate)]
    return [Answer(0.01, STABLE) for _ in range(stable)] + own


def failed(given: list[Answer], **changes: Any) -> dict[str, str]:
    return {item.name: item.message for item in judge(given, expected(**changes)) if not item.healthy}


def test_good_answers() -> None:
    found = judge(answers(), expected())
    assert [(item.name, item.healthy, item.message) for item in found] == [
        ("answers", True, ""), ("predictions", True, ""), ("share", True, ""), ("latency", True, ""),
    ]  # fmt: skip
    assert found[2].observed == "270 by version 2, 30 by version 3"
    assert found[2].expected == "7 to 61 by version 3"
    assert found[0].result()["observed"] == "0 errors"
    assert baseline(answers(), STABLE) == 0.01


def test_errors_are_told_with_what_was_answered() -> None:
    given = [*answers(270, 20), *(Answer(0.01, error="HTTP 500: no such column") for _ in range(10))]
    assert failed(given) == {"answers": "10 of 300 requests failed: 10 x HTTP 500: no such column"}
    assert failed(given, error_ratio=0.34) == {}
    assert list(failed(given, error_ratio=0.32)) == ["answers"]


def test_errors_may_be_of_either_version() -> None:
    given = [*answers(270, 0), *(Answer(0.01, error="HTTP 500") for _ in range(30))]
    assert list(failed(given)) == ["answers"]


def test_wrong_predictions() -> None:
    given = answers(wrong="row 1: 2, not 0")
    assert failed(given) == {
        "predictions": "30 of 300 answers are not what their version predicts, "
        "the first is of version 3: row 1: 2, not 0"
    }


@pytest.mark.parametrize(
    ("counts", "percent", "healthy"),
    [
        ((300, 0), 10, False),
        ((294, 6), 10, False),
        ((293, 7), 10, True),
        ((239, 61), 10, True),
        ((238, 62), 10, False),
        ((300, 0), 0, True),
        ((299, 1), 0, False),
        ((0, 300), 100, True),
        ((1, 299), 100, False),
    ],
)
def test_shares(counts: tuple[int, int], percent: int, healthy: bool) -> None:
    assert ("share" not in failed(answers(*counts), percent=percent)) is healthy


def test_a_version_that_nobody_knows() -> None:
    given = [*answers(270, 20), *(Answer(0.01, OLDEST) for _ in range(10))]
    assert failed(given) == {
        "share": "answers came from neither version: 270 by version 2, 20 by version 3, 10 by version 1"
    }


def test_latency_is_held_against_the_stable_version() -> None:
    slow = "30 of 30 slower than 50 ms: p50 200 ms, p95 200 ms; version 2 has p95 10 ms"
    assert failed(answers(seconds=0.2)) == {"latency": slow}
    assert failed(answers(seconds=0.2), latency_ratio=21.0) == {}
    assert failed(answers(seconds=0.2), latency_allowed_ms=200) == {}
    assert failed(answers(seconds=0.2), timed=False) == {}


def test_at_100_percent_the_baseline_is_that_of_the_step_before() -> None:
    alone = answers(0, 300, seconds=0.2)
    assert list(failed(alone, percent=100)) == ["latency"]
    assert failed(alone, percent=100, baseline_seconds=0.1) == {}


def test_a_slow_answer_now_and_then_is_no_alarm() -> None:
    """A version of the same speed, drawn many times."""
    draw = random.Random(3)  # noqa: S311  (nothing secret depends on it)
    for _ in range(200):
        given = [Answer(draw.expovariate(50), STABLE if draw.random() < 0.9 else CANDIDATE) for _ in range(300)]
        assert "latency" not in failed(given, latency_allowed_ms=0, latency_ratio=1.0)
