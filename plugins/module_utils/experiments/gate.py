# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An experiment as a gate of a release: at one share of the requests it measures both versions, decides, records.

All that moves requests is the release's, so that a run that is killed leaves a state of a release and the next run goes
on from it. What a killed run had measured is thrown away unseen.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import requests
import urllib3
from ansible_collections.mlops.platform.plugins.module_utils import certificates, events
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import (
    Access,
    CheckFailed,
    External,
    parse_endpoint,
)
from ansible_collections.mlops.platform.plugins.module_utils.checks.inference import InferenceCheck
from ansible_collections.mlops.platform.plugins.module_utils.component import build
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.experiments import counters, load
from ansible_collections.mlops.platform.plugins.module_utils.experiments.counters import Counted, Counters, NotCounted
from ansible_collections.mlops.platform.plugins.module_utils.experiments.decision import (
    Certainty,
    Decision,
    Demand,
    Measure,
    Sample,
    decide,
)
from ansible_collections.mlops.platform.plugins.module_utils.experiments.record import Record
from ansible_collections.mlops.platform.plugins.module_utils.experiments.settings import Settings
from ansible_collections.mlops.platform.plugins.module_utils.models.inference_service import service_name
from ansible_collections.mlops.platform.plugins.module_utils.models.lifecycle import Model
from ansible_collections.mlops.platform.plugins.module_utils.models.predict import V2Client
from ansible_collections.mlops.platform.plugins.module_utils.models.registry import ModelVersion, Tracking
from ansible_collections.mlops.platform.plugins.module_utils.models.release import Release, Rules, StepFailed, at
from ansible_collections.mlops.platform.plugins.module_utils.models.releasing import NotReleased, Releasing, Versions
from ansible_collections.mlops.platform.plugins.module_utils.models.verdict import (
    SLOWEST,
    percentile,
    sane,
)
from ansible_collections.mlops.platform.plugins.module_utils.prometheus import Prometheus

MOST_WARMING = 1000
"""Requests at the most until both versions have answered one: at a share of 1 % none of so many is of the one in
20,000 times."""


class Experiment:
    """A Gate that compares the versions of a release by what users experience; `document` is what came of it.

    `prometheus` is where it answers, {name, port, namespace} or {url, ...}. `demand` is what a candidate must be by
    some measure to be promoted, besides no worse by any.
    """

    def __init__(
        self, model: Model, settings: Settings, rules: Rules, prometheus: Mapping[str, Any], demand: Demand
    ) -> None:
        self.document: dict[str, Any] | None = None
        self._model, self._settings, self._rules = model, settings, rules
        self._prometheus, self._demand = prometheus, demand

    @property
    def percent(self) -> int:
        """The candidate's share of the requests at which it is decided."""
        return self._settings.split

    @property
    def needs_two(self) -> bool:
        """Whether there must be two versions: a release may find that its version serves already."""
        return self._demand == "better"

    def finished(self, access: Access, candidate: ModelVersion) -> bool:
        """Whether the last experiment with a candidate promoted it, so that what it left may be finished."""
        return self._record(access).decisions(candidate)[:1] == ["promote"]

    @contextlib.contextmanager
    def opened(
        self, access: Access, versions: Versions, stable: str, candidate: str, check: InferenceCheck
    ) -> Iterator[None]:
        """Be ready to prove a state. Raises PlatformError for all that speaks against it: nothing is touched yet."""
        settings, model = self._settings, self._model
        name = model.settings.name
        if versions.broken:
            raise PlatformError(
                f"versions {stable} and {candidate} of the model {name} cannot be compared: no request suits both "
                f"({', '.join(versions.broken)})"
            )
        pair = versions.known[candidate], versions.known[stable]
        self._look = len(self._record(access).decisions(*pair)) + 1
        settings.refuse_too_few(self._look)
        labels = versions.own[stable].labels
        if not labels and self._demand == "better":
            raise PlatformError(
                f"the rows of the model {name} ({versions.own[stable].source}) have no labels, so that nothing tells "
                "which version predicts better: log held_out.json with labels, or name a file with a column label "
                "(-e rows=...)"
            )
        own = {number: versions.own[number] for number in (stable, candidate)}
        try:
            rows = load.Rows.of(own, labels, settings.feedback_tolerance)
        except ValueError as error:
            raise PlatformError(f"the rows of the model {name}: {error}") from error
        self._access, self._pair, self._rows = access, pair, rows
        with contextlib.ExitStack() as stack:
            self._client: V2Client = stack.enter_context(check.client(access, load.at_once(settings.rate)))
            found = stack.enter_context(self._asked(access))
            self._counters = Counters(found, model.serving.namespace, service_name(name), (stable, candidate))
            if labels:
                self._refuse_deaf(stable)
            yield

    def prove(self, state: Release) -> None:
        """Measure both versions at the share of a state. Raises StepFailed where the candidate is not promoted."""
        try:
            with events.phase(self._model.name, "validate", f"{at(state)}: compares the versions"):
                decision = self._decided(state)
        except (NotCounted, PlatformError, CheckFailed) as error:
            raise StepFailed(f"{at(state)}: the experiment came to no decision: {error}") from error
        except (urllib3.exceptions.HTTPError, requests.RequestException, OSError) as error:
            said = f"{type(error).__name__}: {error}"
            raise StepFailed(f"{at(state)}: the experiment came to no decision: {said}") from error
        if decision.outcome != "promote":
            raise StepFailed(f"{at(state)}: {decision.outcome}: {decision.reason}")

    def _decided(self, state: Release) -> Decision:
        """The decision, once it is on record."""
        settings, say, seed = self._settings, self._model.say, secrets.randbelow(1 << 31)
        versions, waited = (state.stable, state.candidate), self._rules.timeout_seconds
        sender = load.Sender(self._client, self._rows, settings.rate, settings.seconds, say)
        if silent := load.until_both_answer(sender.version, versions, MOST_WARMING):
            raise NotCounted(f"none of {MOST_WARMING} requests was answered by version {silent}")
        ready = self._counters.now()
        counters.wait(lambda: self._counters.scraped(ready), waited, say, "before the requests")
        limit = max(state.baseline_seconds * self._rules.latency_ratio, self._rules.latency_allowed_ms / 1000)
        bound, began = self._counters.bound(limit), self._counters.now()
        say(
            f"sends {settings.requests} requests, {settings.rate:g} a second, {settings.split} % of them to version "
            f"{state.candidate}; it is decided once, when all of them are counted"
        )
        sent = sender.run(seed)
        self._sane(state, sent)
        ended = self._counters.now()
        answered = {number: sum(item.version == number for item in sent.answers) for number in versions}
        counters.wait(lambda: self._counters.scraped(ended), waited, say, "after the requests")
        # What was counted until then is in that scrape.
        until = self._counters.now()
        self._counters.refuse_uncounted(began, until, answered, sent.told)
        counted = self._counters.between(began, until, bound)
        measures, lost = self._measures(state, counted, sent, limit, bound)
        decision = decide(measures, self._certainty(), self._demand)
        for comparison in decision.comparisons:
            say(str(comparison))
        say(f"{decision.outcome}: {decision.reason}")
        facts = {"began": began, "seed": seed, "limit_seconds": limit, "bound_seconds": bound, "lost": lost}
        self._keep(decision, counted, sent, facts)
        return decision

    def _certainty(self) -> Certainty:
        settings = self._settings
        return Certainty(settings.alpha, settings.power, self._look, settings.split)

    def _sane(self, state: Release, sent: load.Load) -> None:
        """Raise StepFailed where the answers are no ground for a comparison: wrong ones, or another share."""
        for finding in sane(sent.answers, self._rules.expected(state)):
            if not finding.healthy:
                raise StepFailed(f"{at(state)}: check {finding.name}: {finding.message}")

    def _measures(
        self, state: Release, counted: Mapping[str, Counted], sent: load.Load, limit: float, bound: float
    ) -> tuple[list[Measure], int]:
        """What is compared, and how many requests failed that no version has counted: they are the candidate's."""
        settings, stable, candidate = self._settings, counted[state.stable], counted[state.candidate]
        seen = stable.errors.bad + candidate.errors.bad
        lost = max(0, sum(bool(item.error) for item in sent.answers) - seen)
        blamed = replace(candidate.errors, bad=candidate.errors.bad + lost, total=candidate.errors.total + lost)
        where = "Prometheus, all requests"

        def waited(version: str) -> Sample:
            return sent.slow(version, limit, counters.SLICES)

        slow = f"took longer than {1000 * bound:.0f} ms in the server"
        late = f"came later than {1000 * limit:.0f} ms"
        measures = [
            Measure("errors", "requests failed", where, stable.errors, blamed, settings.error_margin),
            Measure("latency", f"answers {slow}", where, stable.slow, candidate.slow, SLOWEST),
            Measure(
                "client latency",
                f"answers {late}",
                "the client",
                waited(state.stable),
                waited(state.candidate),
                SLOWEST,
            ),
        ]
        if self._rows.labels:
            told = "predictions turned out to be bad"
            margin = settings.feedback_margin
            measures.append(
                Measure("feedback", told, "Prometheus, all clients", stable.feedback, candidate.feedback, margin)
            )
        return measures, lost

    def _keep(
        self, decision: Decision, counted: Mapping[str, Counted], sent: load.Load, facts: Mapping[str, Any]
    ) -> None:
        """Record the decision in MLflow, and tell it and its picture to the report."""
        from ansible_collections.mlops.platform.plugins.module_utils.experiments import plot

        candidate, champion = self._pair
        roles = {"champion": champion, "candidate": candidate}
        seconds = {
            role: [item.seconds for item in sent.answers if item.version == version.version and not item.error]
            for role, version in roles.items()
        }
        document = {
            "model": self._model.settings.name,
            "demand": self._demand,
            "look": self._look,
            "requests": len(sent.requests),
            **vars(self._settings),
            **facts,
            **decision.result(),
        }
        for role, version in roles.items():
            document[role] = {
                "version": version.version,
                "run_id": version.run_id,
                "p95_seconds": counted[version.version].p95,
                "client_p95_seconds": percentile(seconds[role]) if seconds[role] else None,
                "feedback_told": sent.told.get(version.version, 0),
            }
        picture = plot.draw(document, seconds)
        record = self._record(self._access)
        run = record.write(document, picture)
        self._model.say(f"recorded as run {run} of the experiment {record.name}")
        self.document = {**document, "record": {"experiment": record.name, "run_id": run}}
        # By way of an event: Ansible prints results, and nobody reads 50 KB of SVG in a terminal.
        events.progress(self._model.name, f"drew run {run}", plot=picture, run_id=run)

    def _record(self, access: Access) -> Record:
        """The record, by a connection of its own: minutes lie between its uses."""
        tracking = Tracking.parse(self._model.mlflow)
        return Record(tracking.api(access), self._model.settings.name, tracking.artifact_root)

    @contextlib.contextmanager
    def _asked(self, access: Access) -> Iterator[Prometheus]:
        """The platform's Prometheus. Raises PlatformError where it does not answer."""
        place = parse_endpoint(self._prometheus, "platform_prometheus")
        with contextlib.ExitStack() as stack:
            if isinstance(place, External):
                trusted = stack.enter_context(certificates.trusted(self._model.authorities))
                found = stack.enter_context(Prometheus.at(access.url(place), trusted))
            else:
                pool = stack.enter_context(urllib3.HTTPConnectionPool(*access.address(place)))
                # Minutes lie between questions, which no forwarded connection outlives.
                found = Prometheus(pool, headers={"Connection": "close"})
            try:
                found.query("time()")
            except urllib3.exceptions.HTTPError as error:
                reason = access.trouble(place) or error
                raise PlatformError(
                    f"Prometheus ({place}), which an experiment asks, does not answer: {reason}"
                ) from error
            yield found

    def _refuse_deaf(self, stable: str) -> None:
        """Raise PlatformError where the model's server does not take feedback."""
        answer = self._client.feedback(stable, 0, 0)
        if answer.status != 200:
            raise PlatformError(
                f"the model server of version {stable} takes no feedback (POST .../feedback answered {answer.status}): "
                "serve the model by the platform's own model server, or experiment without labels by "
                "release-model.yml -e gate=metrics"
            )


def experiment(model: Model, release: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    """Release the version that a model's settings name if an experiment promotes it; returns the result of a task.

    `release` is as releasing.release has it, `about` {settings, prometheus, demand}. An experiment for its own sake
    (the demand `better`) has done its work whatever it decides; one that is the gate of a release fails with it.
    """
    rules = build(Rules, {**release["rules"], "steps": tuple(release["rules"]["steps"])}, "release")
    demand: Demand = about["demand"]
    gate = Experiment(model, Settings(**about["settings"]), rules, about["prometheus"], demand)
    releasing = Releasing(model, rules, str(release["alias"]), str(release["knative_namespace"]), gate)
    try:
        result = releasing.run()
    except NotReleased as error:
        if gate.document is None or gate.document["outcome"] == "promote" or demand != "better":
            error.details |= {"experiment": gate.document} if gate.document else {}
            raise
        model.say(f"version {gate.document['champion']['version']} has all requests as before")
        result = {**model.validate(), "changed": True}
    return {**result, **({"experiment": gate.document} if gate.document else {})}
