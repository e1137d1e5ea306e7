# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release by canary as a state machine: pure functions on a state that stands on the InferenceService itself.

The state is one annotation. It is written by the same server-side apply as the model and the share of requests that
it speaks of, so that there is no moment at which one of them is there without the others: whoever kills a release
leaves one of these states, and the next run goes on from it.

    begun at 0 % -> 10 % -> 50 % -> 100 %               -> the new version alone, no annotation
    any of these -> taken back to 0 % -> put back at 0 % -> the old version alone, no annotation

At each state the cluster is first given time to become what the state says, then requests prove it. The old version's
model goes back into the InferenceService only when no request goes to the new one any more, and still at 0 %: what is
meant for the newest revision goes to the newest ready one, and that is the new version's until the old one's is ready.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from ansible_collections.mlops.platform.plugins.module_utils.component import build
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.models.verdict import Expected, least_requests

ANNOTATION = "mlops.platform/release"
LONGEST_CAUSE = 2000
"""Characters of a cause that are kept in the cluster."""


class StepFailed(Exception):
    """A state that could not be proven: the cause in one line, and what the model's pods `logged`."""

    def __init__(self, cause: str, logged: Sequence[str] = ()) -> None:
        super().__init__(cause)
        self.logged = logged


@dataclass(frozen=True)
class Rules:
    """What a release must keep to, in the variables release_*; see meta/argument_specs.yml.

    `steps` are percentages, `requests` how many are sent at each step, `rate` how many a second. `error_ratio` is the
    part of the new version's answers that may be errors. An answer is slow where it takes longer than `latency_ratio`
    times the 95th percentile of the old version's, and longer than `latency_allowed_ms`. A `gate` is the step that is
    proven by something else, with requests of its own; 0 where there is none.
    """

    steps: tuple[int, ...] = (10, 50, 100)
    requests: int = 300
    rate: float = 50.0
    error_ratio: float = 0.0
    latency_ratio: float = 2.0
    latency_allowed_ms: int = 250
    timeout_seconds: float = 300.0
    gate: int = 0

    def __post_init__(self) -> None:
        """Raise PlatformError where the rules contradict themselves."""
        rising = all(before < after for before, after in zip(self.steps, self.steps[1:], strict=False))
        if not self.steps or self.steps[0] < 1 or self.steps[-1] != 100 or not rising:
            raise PlatformError(
                f"release_steps is {list(self.steps)}: allowed are rising percentages that end with 100, "
                "such as [10, 50, 100]"
            )
        if not 0 <= self.error_ratio < 1:
            raise PlatformError(f"release_error_ratio is {self.error_ratio}: allowed is a part of 1, such as 0.01")
        if self.latency_ratio < 1:
            raise PlatformError(f"release_latency_ratio is {self.latency_ratio}: allowed is 1 or more")
        for name in ("rate", "timeout_seconds"):
            if getattr(self, name) <= 0:
                raise PlatformError(f"release_{name} is {getattr(self, name)}: allowed is more than 0")
        least = max(least_requests(percent / 100, self.alarm) for percent in self.steps if percent != self.gate)
        if self.requests < least:
            raise PlatformError(
                f"release_requests is {self.requests}: with release_steps {list(self.steps)} allowed is {least} or "
                "more, else a share of requests could not be told from none or all"
            )

    @property
    def alarm(self) -> float:
        """How probable a false alarm may be in one test of one step, so that it is below FALSE_ALARM in a release."""
        return FALSE_ALARM / (TESTS_OF_A_STEP * (len(self.steps) + 1))

    def expected(self, state: Release) -> Expected:
        """What the answers at a state must be."""
        return Expected(
            stable=state.stable,
            candidate=state.candidate,
            percent=state.percent,
            error_ratio=self.error_ratio,
            latency_ratio=self.latency_ratio,
            latency_allowed_ms=self.latency_allowed_ms,
            baseline_seconds=state.baseline_seconds,
            alarm=self.alarm,
        )


FALSE_ALARM = 1e-6
"""How probable it may be that chance alone stops a release of a version that is as good as the one before."""
TESTS_OF_A_STEP = 2
"""What chance has a part in at each step: the share of requests, and the latency."""


@dataclass(frozen=True)
class Release:
    """A release under way, from the version `stable` to `candidate`.

    `revision` is the Knative revision that served before. `percent` is the candidate's share of requests.
    `baseline_seconds` is what 95 of 100 answers of the stable version kept below when it was last measured. A `cause`
    says that the release has failed and is being taken back; `exchanged` that the InferenceService names the stable
    version's model again.
    """

    stable: str
    revision: str
    candidate: str
    percent: int = 0
    baseline_seconds: float = 0.0
    cause: str = ""
    exchanged: bool = False

    @property
    def version(self) -> str:
        """The version whose model the InferenceService names in this state."""
        return self.stable if self.exchanged else self.candidate

    def passed(self, steps: Sequence[int], baseline_seconds: float = 0.0) -> Release | Done:
        """What comes after this state has been proven."""
        following = next((step for step in steps if step > self.percent), None)
        if following is not None and not self.cause:
            return replace(self, percent=following, baseline_seconds=baseline_seconds or self.baseline_seconds)
        staying = self.stable if self.cause else self.candidate
        return Done(staying, self.cause) if self.version == staying else replace(self, exchanged=True)

    def failed(self, cause: str) -> Release:
        """What comes after this state could not be proven: no request for the candidate any more."""
        return replace(self, percent=0, cause=cause[:LONGEST_CAUSE])

    def encode(self) -> str:
        """The annotation's value."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True)
class Done:
    """The end of a release: one `version` serves alone; `cause` says why it is not the new one."""

    version: str
    cause: str = ""


def under_way(service: Mapping[str, Any]) -> Release | None:
    """The release whose state an InferenceService carries, or None. Raises PlatformError for a state that is none."""
    text = (service["metadata"].get("annotations") or {}).get(ANNOTATION)
    if text is None:
        return None
    name = service["metadata"]["name"]
    try:
        return build(Release, json.loads(text), f"InferenceService {name}: annotation {ANNOTATION}")
    except (ValueError, TypeError) as error:
        raise PlatformError(f"InferenceService {name}: annotation {ANNOTATION} is {text!r}: {error}") from error


def refuse_during_release(service: Mapping[str, Any]) -> None:
    """Raise PlatformError where a release of the model is under way: whoever else changes it would end it half-way."""
    found = under_way(service)
    if found:
        name, state = service["metadata"]["name"], "is being taken back" if found.cause else f"has {found.percent} %"
        raise PlatformError(
            f"InferenceService {name}: a release of version {found.candidate} is under way and {state}: finish it "
            f"with release-model.yml -e model={name} -e version={found.candidate}"
        )


def marked(manifest: Mapping[str, Any], state: Release | Done) -> dict[str, Any]:
    """The InferenceService of a state: the manifest of its version, the state, and the share."""
    made: dict[str, Any] = json.loads(json.dumps(manifest))
    if isinstance(state, Release):
        made["metadata"].setdefault("annotations", {})[ANNOTATION] = state.encode()
        made["spec"]["predictor"]["canaryTrafficPercent"] = state.percent
    return made


def resumed(found: Release | None, candidate: str) -> Release | None:
    """Where a run that is to release `candidate` goes on from what another one left; None where it left nothing.

    A release of another version is taken back first.
    """
    if found is None or found.cause or found.candidate == candidate:
        return found
    return found.failed(f"version {candidate} was asked for instead")


def at(state: Release | Done) -> str:
    """A state in words, as messages begin."""
    if isinstance(state, Done):
        return f"version {state.version} alone"
    if state.exchanged:
        return (
            f"version {state.version} put back" if state.cause else f"version {state.version} made the one that stays"
        )
    return f"version {state.candidate} " + ("taken back to 0 %" if state.cause else f"at {state.percent} %")


class Stage(Protocol):
    """Where a release is played: the cluster."""

    def apply(self, before: Release | None, state: Release | Done) -> None:
        """Write a state at once, where `before` is what is written there."""

    def prove(self, state: Release | Done) -> float:
        """Return when the cluster is what a state says and requests have proven it.

        Returns the stable version's baseline in seconds, 0 where it was not measured. Raises StepFailed.
        """


def play(
    before: Release | None,
    state: Release,
    stage: Stage,
    steps: Sequence[int],
    failed: Callable[[StepFailed], None] = lambda error: None,
) -> Done:
    """Play a release from a state to its end; `before` is what stands in the cluster, `failed` is told what failed.

    Raises StepFailed where even the stable version's own state cannot be proven; the state stays, and the next run goes
    on from it.
    """
    while True:
        stage.apply(before, state)
        try:
            following = state.passed(steps, stage.prove(state))
        except StepFailed as error:
            if state.cause:
                raise
            failed(error)
            following = state.failed(str(error))
        if isinstance(following, Done):
            stage.apply(state, following)
            stage.prove(following)
            return following
        before, state = state, following
