# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release in the cluster: brings it into each state of a release and proves the state by requests.

What KServe 0.20 does with canaryTrafficPercent in Knative mode, read in its source and seen: so many percent go to the
newest ready revision, the rest to `latestRolledoutRevision`, the last one that was the newest and had 100 %. So:

- A model that is put back into the spec makes a new revision, and until that one is ready the newest ready one is the
  canary: `release.py` puts it back at 0 %.
- Where Knative's status says that the newest revision is the rolled out one, has all requests, and less than 100 % of
  them as the newest, KServe takes that for a rollback and sends them to `previousRolledoutRevision`. This is how 100 %
  goes back to 0 %. Knative's status can say the same for a moment when a release begins, before the new revision
  exists: the old version's requests would go to the one before it. So KServe is made to forget that one first.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

from ansible_collections.mlops.platform.plugins.module_utils import events
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster, Object
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.manifests import COMPONENT_LABEL, SPEC_HASH, Manifest
from ansible_collections.mlops.platform.plugins.module_utils.models import inference_service as isvc
from ansible_collections.mlops.platform.plugins.module_utils.models.release import (
    Done,
    Release,
    Rules,
    StepFailed,
    at,
    marked,
    under_way,
)
from ansible_collections.mlops.platform.plugins.module_utils.models.verdict import (
    Answer,
    Finding,
    baseline,
    judge,
)
from ansible_collections.mlops.platform.plugins.module_utils.rollout import conditions, pod_problem
from ansible_collections.mlops.platform.plugins.module_utils.waiting import (
    REPEAT_SECONDS,
    NotReady,
    Progress,
    Waker,
    wait_ready,
)

KNATIVE = "serving.knative.dev/v1"
REVISION_LABEL = "serving.knative.dev/revision"
MODEL_CONTAINER = "kserve-container"
REQUESTS_TO_ONE = 20
"""Requests to a new revision alone, before it gets a share of anybody's."""
WORKERS = 8
"""Requests under way at once, at most."""


@dataclass(frozen=True)
class Line:
    """How the rows of a version are sent: the way that users' are, or to one revision or Service alone, by its name."""

    ask: Callable[[str], Answer]
    ask_one: Callable[[str, str], Answer]


class Gate(Protocol):
    """What a release must pass besides its own checks, at one `percent` of the requests."""

    @property
    def percent(self) -> int:
        """The share of the requests at which it stands."""

    def prove(self, state: Release) -> None:
        """Return when a state has passed. Raises StepFailed where it does not."""


class ClusterStage(ABC):
    """A Stage in a cluster: the InferenceService of one model.

    `manifests` are the InferenceService with either version, by version. `tell` is given the findings of each state at
    which requests were sent. A `gate` takes the place of the checks at its share.
    """

    def __init__(
        self,
        cluster: Cluster,
        manifests: Mapping[str, Manifest],
        line: Line,
        rules: Rules,
        say: Progress,
        tell: Callable[[str, Sequence[Finding]], None],
        gate: Gate | None = None,
    ) -> None:
        self._cluster, self._manifests, self._line, self._rules = cluster, manifests, line, rules
        self._say, self._tell, self._gate = say, tell, gate
        metadata = next(iter(manifests.values()))["metadata"]
        self._name, self._namespace = metadata["name"], metadata["namespace"]
        self._component = metadata["labels"][COMPONENT_LABEL]

    # What the modes do each in their way

    @abstractmethod
    def begin(self, stable: str, candidate: str, baseline_seconds: float) -> Release:
        """The first state of a release. Raises PlatformError where the stable version does not serve alone."""

    @abstractmethod
    def write(self, state: Release | Done) -> None:
        """Make the objects what a state says."""

    @abstractmethod
    def awaited(self, state: Release | Done) -> list[Manifest]:
        """The InferenceServices that must be ready for a state."""

    @abstractmethod
    def shared_out(self, state: Release | Done) -> str:
        """What keeps requests from going where a state says, in words; empty once they do."""

    @abstractmethod
    def alone(self, state: Release | Done) -> tuple[str, str]:
        """What answers for the model that a state has brought alone, and the selector of its pods."""

    # What they have in common

    def open(self, stable: str, candidate: str) -> Release:
        """The first state of a release, after requests have shown that the stable version serves alone, and how fast.

        Raises StepFailed where it does not: nothing was touched.
        """
        now = Release(stable, "", candidate)
        answers = self.measure(self._rules.requests, lambda: self._line.ask(stable))
        self._judge(now, answers, 0, timed=False, where=f"before the release, version {stable} alone")
        return self.begin(stable, candidate, baseline(answers, stable))

    def service(self) -> Object:
        """The InferenceService. Raises PlatformError where there is none."""
        found = self._cluster.get(isvc.API_VERSION, isvc.KIND, self._name, self._namespace)
        if found is None:
            place = f"{self._namespace}/{self._name}"
            raise PlatformError(f"InferenceService {place} is not there: deploy the model first, with deploy-model.yml")
        return found

    def apply(self, before: Release | None, state: Release | Done) -> None:
        """Write a state; see Stage. Raises PlatformError where something else than `before` is written there."""
        found = under_way(self.service())
        if found != before:
            raise PlatformError(f"InferenceService {self._name}: another run changes it, too; its release is {found}")
        self.write(state)

    def prove(self, state: Release | Done) -> float:
        """Wait for a state, then send requests; see Stage."""
        self.settle(state)
        if isinstance(state, Done) or (state.cause and state.version != state.stable):
            return 0.0
        if self._gate and state.percent == self._gate.percent and not (state.cause or state.exchanged):
            self._gate.prove(state)
            return 0.0
        if state.cause or (state.percent and not state.exchanged):
            rows = state.stable if state.cause else state.candidate
            answers = self.measure(self._rules.requests, lambda: self._line.ask(rows))
            self._judge(state, answers, state.percent, timed=not state.cause)
            return baseline(answers, state.stable)
        place, _ = self.alone(state)
        answers = self.measure(REQUESTS_TO_ONE, lambda: self._line.ask_one(state.candidate, place))
        self._judge(state, answers, 100, timed=False)
        return 0.0

    def settle(self, state: Release | Done) -> None:
        """Wait until requests go where a state says. Raises StepFailed with the first cause that is final."""
        if awaited := self.awaited(state):
            try:
                wait_ready(self._cluster, awaited, self._component, self._rules.timeout_seconds, self._say)
            except NotReady as error:
                raise StepFailed(f"{at(state)}: {error}", logged=self.logged(state)) from error
        started, said, saying = time.monotonic(), 0.0, ""
        kinds = [(isvc.API_VERSION, isvc.KIND), *self.watched]
        with Waker(self._cluster, [self._cluster.resource(*kind).path(self._namespace) for kind in kinds], "") as waker:
            while missing := self.shared_out(state):
                elapsed = time.monotonic() - started
                if elapsed > self._rules.timeout_seconds:
                    raise StepFailed(f"{at(state)}: not reached after {elapsed:.0f} s: {missing}")
                if missing != saying or elapsed - said >= REPEAT_SECONDS:
                    said, saying = elapsed, missing
                    self._say(f"{at(state)}: {missing}")
                waker.wait(1.0)

    watched: Sequence[tuple[str, str]] = ()
    """The kinds whose changes may mean that requests go elsewhere."""

    def logged(self, state: Release | Done) -> list[str]:
        """The last lines that a model's container, or one that prepares it, wrote in the pods that a state brought."""
        _, selector = self.alone(state)
        lines: list[str] = []
        for pod in self._cluster.list("v1", "Pod", self._namespace, selector):
            problem = pod_problem(pod)
            container = problem.ended if problem and problem.ended else MODEL_CONTAINER
            lines += [f"{pod['metadata']['name']}: {line}" for line in self._cluster.last_lines(pod, container)]
        return lines

    def measure(self, count: int, ask: Callable[[], Answer]) -> list[Answer]:
        """The answers to `count` requests, sent at the rules' rate."""
        started = time.monotonic()

        def one(number: int) -> Answer:
            time.sleep(max(0.0, started + number / self._rules.rate - time.monotonic()))
            return ask()

        with events.phase(self._component, "validate", f"{count} requests"), ThreadPoolExecutor(WORKERS) as pool:
            return list(pool.map(one, range(count)))

    def _judge(self, state: Release, answers: Sequence[Answer], percent: int, *, timed: bool, where: str = "") -> None:
        """Judge a state's answers. Raises StepFailed for the first check that fails, naming it."""
        where = where or at(state)
        found = judge(answers, replace(self._rules.expected(state), percent=percent, timed=timed))
        self._tell(where, found)
        for finding in found:
            if not finding.healthy:
                raise StepFailed(f"{where}: check {finding.name}: {finding.message}", self.logged(state))


@dataclass(frozen=True)
class Traffic:
    """Where a Knative Service sends requests: percentages by revision.

    `newest` is its newest revision, `ready` whether that one can serve, `current` whether it is of what the
    InferenceService says now, `settled` whether the share of each revision is in force.
    """

    shares: Mapping[str, int]
    newest: str
    ready: bool
    current: bool
    settled: bool

    def __str__(self) -> str:
        return ", ".join(f"{share} % to {name}" for name, share in self.shares.items()) or "no requests go anywhere"


def traffic(service: Object, spec_hash: str) -> Traffic:
    """The traffic of a Knative Service; `spec_hash` is that of the InferenceService, which KServe copies."""
    status = service.get("status") or {}
    shares: dict[str, int] = {}
    for target in status.get("traffic") or []:
        shares[target["revisionName"]] = shares.get(target["revisionName"], 0) + target.get("percent", 0)
    newest = status.get("latestCreatedRevisionName", "")
    seen = status.get("observedGeneration") == service["metadata"]["generation"]
    return Traffic(
        shares={name: share for name, share in shares.items() if share},
        newest=newest,
        ready=seen and bool(newest) and status.get("latestReadyRevisionName") == newest,
        current=(service["spec"]["template"]["metadata"].get("annotations") or {}).get(SPEC_HASH) == spec_hash,
        settled=seen and conditions(service).get("RoutesReady", {}).get("status") == "True",
    )


def reached(state: Release | Done, now: Traffic) -> bool:
    """Whether the traffic of Knative mode is what a state says."""
    served = now.current and now.ready
    if isinstance(state, Done):
        return served and now.settled and now.shares == {now.newest: 100}
    expected = {state.revision: 100 - state.percent, now.newest: state.percent}
    shared = now.settled and now.shares == {name: share for name, share in expected.items() if share}
    leaving = bool(state.cause) and not state.exchanged
    return shared and (leaving or (served and now.newest != state.revision))


class KnativeStage(ClusterStage):
    """KServe's Knative mode; see the module for what KServe does."""

    watched = ((KNATIVE, "Service"),)

    def traffic(self, spec_hash: str) -> Traffic:
        """Where requests go now. Raises PlatformError where KServe has not made a Knative Service."""
        found = self._cluster.get(KNATIVE, "Service", f"{self._name}-predictor", self._namespace)
        if found is None:
            raise PlatformError(f"Knative Service {self._namespace}/{self._name}-predictor is not there")
        return traffic(found, spec_hash)

    def begin(self, stable: str, candidate: str, baseline_seconds: float) -> Release:
        service = self.service()
        now = self.traffic(service["metadata"].get("annotations", {}).get(SPEC_HASH))
        if not reached(Done(stable), now):
            raise PlatformError(
                f"InferenceService {self._name} is not served by its newest revision alone ({now}): deploy version "
                f"{stable} again with deploy-model.yml, then release version {candidate}"
            )
        predictor = ((service.get("status") or {}).get("components") or {}).get("predictor") or {}
        if predictor.get("previousRolledoutRevision"):
            forgotten = {"status": {"components": {"predictor": {"previousRolledoutRevision": None}}}}
            path = self._cluster.resource(isvc.API_VERSION, isvc.KIND).path(self._namespace, self._name)
            patch = "application/merge-patch+json"
            self._cluster.request("PATCH", f"{path}/status", body=forgotten, content_type=patch)
        return Release(stable, now.newest, candidate, baseline_seconds=baseline_seconds)

    def write(self, state: Release | Done) -> None:
        self._cluster.apply(marked(self._manifests[state.version], state))

    def awaited(self, state: Release | Done) -> list[Manifest]:
        leaving = isinstance(state, Release) and bool(state.cause) and not state.exchanged
        return [] if leaving else [self._manifests[state.version]]

    def shared_out(self, state: Release | Done) -> str:
        now = self.traffic(self._manifests[state.version]["metadata"]["annotations"][SPEC_HASH])
        return "" if reached(state, now) else f"{now} so far"

    def alone(self, state: Release | Done) -> tuple[str, str]:
        newest = self.traffic("").newest
        return newest, f"{REVISION_LABEL}={newest}"
