# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release in the cluster: brings the InferenceService into each state of a release and proves the state by requests.

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
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster, Object
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.manifests import Manifest
from ansible_collections.mlops.platform.plugins.module_utils.models.release import (
    Done,
    Release,
    Rules,
    StepFailed,
    marked,
    under_way,
)
from ansible_collections.mlops.platform.plugins.module_utils.models.verdict import (
    Answer,
    Expected,
    Finding,
    baseline,
    judge,
)
from ansible_collections.mlops.platform.plugins.module_utils.rollout import Problem, conditions, pod_problem
from ansible_collections.mlops.platform.plugins.module_utils.waiting import REPEAT_SECONDS, Progress, Waker, complaint

KSERVE, KNATIVE = "serving.kserve.io/v1beta1", "serving.knative.dev/v1"
VERSION_LABEL = "mlops.platform/model-version"
REVISION_LABEL = "serving.knative.dev/revision"
MODEL_CONTAINER = "kserve-container"
REQUESTS_TO_REVISION = 20
"""Requests to the new revision alone, before it gets a share of anybody's."""
WORKERS = 8
"""Requests under way at once, at most."""


@dataclass(frozen=True)
class Traffic:
    """Where a Knative Service sends requests: percentages by revision, once it does what its spec says.

    `version` is that of the newest revision, `newest` its name, `ready` whether it can serve.
    """

    shares: Mapping[str, int]
    version: str
    newest: str
    ready: bool
    settled: bool


def traffic(service: Object) -> Traffic:
    """The traffic of a Knative Service."""
    status = service.get("status") or {}
    shares: dict[str, int] = {}
    for target in status.get("traffic") or []:
        shares[target["revisionName"]] = shares.get(target["revisionName"], 0) + target.get("percent", 0)
    newest = status.get("latestCreatedRevisionName", "")
    seen = status.get("observedGeneration") == service["metadata"]["generation"]
    found = conditions(service)
    return Traffic(
        shares={name: share for name, share in shares.items() if share},
        version=service["spec"]["template"]["metadata"]["labels"].get(VERSION_LABEL, ""),
        newest=newest,
        ready=seen and bool(newest) and status.get("latestReadyRevisionName") == newest,
        settled=seen and found.get("RoutesReady", {}).get("status") == "True",
    )


def reached(state: Release | Done, now: Traffic) -> bool:
    """Whether the traffic is what a state says."""
    if isinstance(state, Done):
        return now.settled and now.ready and now.version == state.version and now.shares == {now.newest: 100}
    alone = now.settled and now.shares == {state.revision: 100}
    if state.cause and not state.restored:
        return alone
    present = now.ready and now.version == state.version and now.newest != state.revision
    if not state.percent:
        return present and alone
    expected = {state.revision: 100 - state.percent, now.newest: state.percent}
    return present and now.settled and now.shares == {name: share for name, share in expected.items() if share}


class KnativeStage:
    """The InferenceService of one model in KServe's Knative mode; see the module for what KServe does.

    `manifests` are the InferenceService with either version, by version. `ask` sends one request the way that users'
    requests come, `ask_revision` one to a revision alone. `tell` is given the findings of each proven state.
    """

    def __init__(
        self,
        cluster: Cluster,
        manifests: Mapping[str, Manifest],
        ask: Callable[[], Answer],
        ask_revision: Callable[[str], Answer],
        rules: Rules,
        say: Progress,
        tell: Callable[[str, Sequence[Finding]], None],
    ) -> None:
        self._cluster, self._manifests, self._rules = cluster, manifests, rules
        self._ask, self._ask_revision, self._say, self._tell = ask, ask_revision, say, tell
        metadata = next(iter(manifests.values()))["metadata"]
        self._name, self._namespace = metadata["name"], metadata["namespace"]

    def service(self) -> Object:
        """The InferenceService. Raises PlatformError where there is none."""
        found = self._cluster.get(KSERVE, "InferenceService", self._name, self._namespace)
        if found is None:
            place = f"{self._namespace}/{self._name}"
            raise PlatformError(
                f"InferenceService {place} does not exist: deploy the model first, with deploy-model.yml"
            )
        return found

    def traffic(self) -> Traffic:
        """Where requests go now. Raises PlatformError where KServe has not made a Knative Service."""
        found = self._cluster.get(KNATIVE, "Service", f"{self._name}-predictor", self._namespace)
        if found is None:
            raise PlatformError(f"Knative Service {self._namespace}/{self._name}-predictor does not exist")
        return traffic(found)

    def begin(self, stable: str, candidate: str, baseline_seconds: float) -> Release:
        """The first state of a release. Makes KServe forget the revision before the present one; see the module.

        Raises PlatformError where requests do not go to one revision alone.
        """
        now = self.traffic()
        if not reached(Done(stable), now):
            raise PlatformError(
                f"InferenceService {self._name} is not served by its newest revision alone ({_shares(now)}): deploy "
                f"version {stable} again with deploy-model.yml, then release version {candidate}"
            )
        status = self.service().get("status") or {}
        if ((status.get("components") or {}).get("predictor") or {}).get("previousRolledoutRevision"):
            forgotten = {"status": {"components": {"predictor": {"previousRolledoutRevision": None}}}}
            path = self._cluster.resource(KSERVE, "InferenceService").path(self._namespace, self._name)
            patch = "application/merge-patch+json"
            self._cluster.request("PATCH", f"{path}/status", body=forgotten, content_type=patch)
        return Release("Knative", stable, now.newest, candidate, baseline_seconds=baseline_seconds)

    def apply(self, before: Release | None, state: Release | Done) -> None:
        """Write a state: model, share and annotation in one request; see Stage.

        Raises PlatformError where something else than `before` is written there.
        """
        found = under_way(self.service())
        if found != before:
            raise PlatformError(f"InferenceService {self._name}: another run changes it, too; its release is {found}")
        self._cluster.apply(marked(self._manifests[state.version], state))

    def prove(self, state: Release | Done) -> float:
        """Wait for a state, then send requests; see Stage."""
        self.settle(state)
        if isinstance(state, Done) or (state.cause and not state.restored):
            return 0.0
        newest = self.traffic().newest
        if state.percent or state.restored:
            answers = self.measure(self._rules.requests, self._ask)
            self._judge(state, answers, self._expected(state, state.percent, timed=not state.restored), newest)
            return baseline(answers, state.stable)
        answers = self.measure(REQUESTS_TO_REVISION, lambda: self._ask_revision(newest))
        self._judge(state, answers, self._expected(state, 100, timed=False), newest)
        return 0.0

    def settle(self, state: Release | Done) -> None:
        """Wait until requests go where a state says. Raises StepFailed with the first cause that is final."""
        leaving = isinstance(state, Release) and bool(state.cause) and not state.restored
        started, said, saying = time.monotonic(), 0.0, ""
        kinds = ((KNATIVE, "Service"), ("v1", "Pod"))
        waker = Waker(self._cluster, [self._cluster.resource(*kind).path(self._namespace) for kind in kinds], "")
        try:
            while not reached(state, now := self.traffic()):
                elapsed = time.monotonic() - started
                awaited = now.newest if now.version == state.version and not now.ready and not leaving else ""
                problem = self._problem(awaited) if awaited else None
                final = problem and problem.final
                if final or elapsed > self._rules.timeout_seconds:
                    late = "" if final else f"not reached after {elapsed:.0f} s: "
                    cause = problem.message if problem else _shares(now)
                    raise StepFailed(f"{at(state)}: {late}{cause}", logged=self.logged(awaited))
                message = problem.message if problem else f"{at(state)}: {_shares(now)} so far"
                if message != saying or elapsed - said >= REPEAT_SECONDS:
                    said, saying = elapsed, message
                    self._say(message)
                waker.wait(5.0)
        finally:
            waker.close()

    def _pods(self, revision: str) -> list[Object]:
        selector = f"{REVISION_LABEL}={revision}"
        return self._cluster.list("v1", "Pod", self._namespace, selector) if revision else []

    def _problem(self, revision: str) -> Problem | None:
        """What keeps a revision's pods from being ready, with the last complaint of what ended."""
        for pod in self._pods(revision):
            problem = pod_problem(pod)
            if problem:
                last = complaint(self._cluster.last_lines(pod, problem.ended)) if problem.ended else ""
                return replace(problem, message=f"{problem.message}: {last}") if last else problem
        return None

    def logged(self, revision: str) -> list[str]:
        """The last lines that the model's container, or one that prepares it, wrote in the pods of a revision."""
        lines: list[str] = []
        for pod in self._pods(revision):
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

        with ThreadPoolExecutor(WORKERS) as pool:
            return list(pool.map(one, range(count)))

    def _expected(self, state: Release, percent: int, *, timed: bool) -> Expected:
        rules = self._rules
        return Expected(
            stable=state.stable,
            candidate=state.candidate,
            percent=percent,
            error_ratio=rules.error_ratio,
            latency_ratio=rules.latency_ratio,
            latency_allowed_ms=rules.latency_allowed_ms,
            baseline_seconds=state.baseline_seconds,
            alarm=rules.alarm,
            timed=timed,
        )

    def _judge(self, state: Release, answers: Sequence[Answer], expected: Expected, revision: str) -> None:
        """Judge a step's answers. Raises StepFailed for the first check that fails, naming it."""
        found, where = judge(answers, expected), at(state)
        self._tell(where, found)
        for finding in found:
            if not finding.healthy:
                raise StepFailed(f"{where}: check {finding.name}: {finding.message}", found, self.logged(revision))


def at(state: Release | Done) -> str:
    """A state in words, as messages begin."""
    if isinstance(state, Done):
        return f"version {state.version} alone"
    if state.restored:
        return f"version {state.stable} put back"
    if state.cause:
        return f"version {state.candidate} taken back to 0 %"
    return f"version {state.candidate} at {state.percent} %"


def _shares(now: Traffic) -> str:
    return ", ".join(f"{share} % to {name}" for name, share in now.shares.items()) or "no requests go anywhere yet"
