# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A new version of a model that is served takes the place of the present one, step by step, or not at all."""

from __future__ import annotations

import contextlib
import json
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import urllib3
from ansible_collections.mlops.platform.plugins.module_utils import events
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access, Service
from ansible_collections.mlops.platform.plugins.module_utils.checks.inference import InferenceCheck
from ansible_collections.mlops.platform.plugins.module_utils.component import build
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.health import parse_checks
from ansible_collections.mlops.platform.plugins.module_utils.models import deploy, predict
from ansible_collections.mlops.platform.plugins.module_utils.models.canary import (
    WORKERS,
    ClusterStage,
    Gate,
    KnativeStage,
    Line,
)
from ansible_collections.mlops.platform.plugins.module_utils.models.inference_service import KIND, service_name
from ansible_collections.mlops.platform.plugins.module_utils.models.lifecycle import Model
from ansible_collections.mlops.platform.plugins.module_utils.models.registry import (
    ModelVersion,
    Tracking,
    broken_promises,
    resolve,
)
from ansible_collections.mlops.platform.plugins.module_utils.models.release import (
    Release,
    Rules,
    StepFailed,
    play,
    resumed,
    under_way,
)
from ansible_collections.mlops.platform.plugins.module_utils.models.room import refuse_homeless
from ansible_collections.mlops.platform.plugins.module_utils.models.verdict import Answer, Finding

ACTIVATOR = "activator-service"
"""The Service by which Knative reaches the pods of any revision, whether they are there or must start first."""
LONGEST_ANSWER = 200
"""Characters of an answer that a message shows."""


@dataclass(frozen=True)
class Versions:
    """The versions that a release has to do with, by number, and what each predicts itself.

    `broken` is what callers of the stable one could no longer rely on; then each version has rows of its own.
    """

    known: Mapping[str, ModelVersion]
    own: Mapping[str, predict.Reference]
    broken: Sequence[str]

    def answer(self, rows: str, got: predict.Answer) -> Answer:
        """What an endpoint answered to the rows of a version, held against the version that it names."""
        if got.status != 200:
            return Answer(got.seconds, error=f"HTTP {got.status}: {predict.shortened(got.body, LONGEST_ANSWER)}")
        named = self.own.get(got.version)
        wrong = ""
        if named and named.request == self.own[rows].request:
            wrong = "; ".join(predict.differences(named.outputs, got.outputs))
        return Answer(got.seconds, got.version, wrong=wrong)


class NotReleased(PlatformError):
    """A release that was taken back: the version before has all requests again."""


class Deciding(Gate, Protocol):
    """A gate that must be opened first, and that remembers what it decided."""

    def opened(
        self, access: Access, versions: Versions, stable: str, candidate: str, check: InferenceCheck
    ) -> AbstractContextManager[None]:
        """Make it ready. Raises PlatformError where it cannot stand, before anything is touched."""

    @property
    def needs_two(self) -> bool:
        """Whether it is an error that there is nothing to decide, since the candidate serves already."""

    def finished(self, access: Access, candidate: ModelVersion) -> bool:
        """Whether it has let a candidate pass before."""


class Releasing:
    """A release of the version that a model's settings name, by `rules`, past a `gate` where there is one."""

    def __init__(
        self, model: Model, rules: Rules, alias: str, knative_namespace: str, gate: Deciding | None = None
    ) -> None:
        self._model, self._rules, self._alias, self._knative = model, rules, alias, knative_namespace
        self._gate = gate
        self._steps: list[dict[str, Any]] = []
        self._logged: Sequence[str] = ()

    def run(self) -> dict[str, Any]:
        """Release the version; returns the result of a task, as deploying it does.

        Raises PlatformError where it is not released, with the cause.
        """
        model, name = self._model, self._model.settings.name
        service = deploy.deployed(model.cluster, model.serving, name)
        if service is None:
            raise PlatformError(
                f"the model {name} is not served: deploy-model.yml -e model={name} serves a first version"
            )
        if model.serving.standard:
            raise PlatformError(
                f"{name} is served in KServe's Standard mode, which ignores shares of requests (canaryTrafficPercent): "
                f"deploy-model.yml -e model={name} exchanges the version at once, by a rolling update"
            )
        found = under_way(service)
        if found is None:
            deploy.refuse_foreign(service, name)
        with model.access() as access:
            tracking = Tracking.parse(model.mlflow)
            candidate = model.resolved(access, service)
            stable = found.stable if found else deploy.deployed_version(service)
            alone = not found and candidate.version == stable
            if alone and self._gate and self._gate.needs_two and not self._left(access, tracking, candidate):
                raise PlatformError(
                    f"{self._asked()} is version {stable} of the model {name}, which is served already: there is "
                    "nothing to compare it with, nothing was touched"
                )
            if found or candidate.version != stable:
                with events.phase(model.name, "render") as rendering:
                    versions = self._versions(access, tracking, candidate, stable, found)
                    rendering.message = f"versions {', '.join(versions.known)} predicted in-process"
                if not found:
                    made = deploy.objects(versions.known[candidate.version], model.record, model.serving)
                    refuse_homeless(model.cluster, model.settings, model.serving, service, made)
                if not model.check_mode:
                    self._play(access, versions, candidate.version, stable, found)
            told = self._aliases(tracking, access, stable, candidate.version)
            for line in told:
                model.say(line)
        number = 0 if self._alias else int(candidate.version)
        settings = replace(model.settings, version=number, alias=self._alias)
        done = model if model.check_mode else replace(model, record=replace(model.record, settings=settings))
        about = {"from": stable, "to": candidate.version, "steps": self._steps, "told": told}
        result = done.provision()
        return {**result, "changed": bool(result.get("changed")) or bool(self._steps), "release": about}

    def _play(self, access: Access, versions: Versions, candidate: str, stable: str, found: Release | None) -> None:
        """Play the release. Raises PlatformError where another version than the candidate serves in the end."""
        model, name = self._model, self._model.settings.name
        steps = (100,) if versions.broken else self._rules.steps
        with self._stage(access, versions, stable, candidate) as stage:
            try:
                if found:
                    model.say(f"goes on with the release of version {found.candidate}, which had {found.percent} %")
                begun = self._resumed(access, versions, found, candidate)
                done = play(found, begun or stage.open(stable, candidate), stage, steps, self._failed)
                other = found and begun and (begun.candidate, begun.cause) != (candidate, found.cause)
                if other and done.version != candidate:
                    # What another run had begun was taken back for this one.
                    done = play(None, stage.open(stable, candidate), stage, steps, self._failed)
            except StepFailed as error:
                self._failed(error)
                said = self._unfinished(name, str(error), under_way(stage.service()))
                raise PlatformError(said, **self._details()) from error
        if done.version != candidate:
            said = f"version {candidate} of the model {name} was not released: {done.cause}"
            raise NotReleased(f"{said}; version {done.version} has all requests as before", **self._details())

    def _resumed(self, access: Access, versions: Versions, found: Release | None, candidate: str) -> Release | None:
        """Where it goes on from what another run left; one that no gate has let pass is taken back first."""
        state, gate = resumed(found, candidate), self._gate
        passed = gate is None or state is None or bool(state.cause) or state.percent <= gate.percent
        if state and gate and not passed and not gate.finished(access, versions.known[candidate]):
            return state.failed(f"nothing was decided on version {candidate} at {gate.percent} %")
        return state

    def _left(self, access: Access, tracking: Tracking, candidate: ModelVersion) -> bool:
        """Whether a run let a candidate pass and was killed before it moved the alias."""
        aliases = self._known_aliases(tracking, access)
        moved = not self._alias or aliases.get(self._alias) == candidate.version
        return not moved and self._gate is not None and self._gate.finished(access, candidate)

    def _asked(self) -> str:
        """What was asked for, for people."""
        settings = self._model.settings
        return f"version {settings.version}" if settings.version else f"the alias {settings.asked_alias}"

    def _failed(self, error: StepFailed) -> None:
        """Note what failed first, and say so at once: taking back takes a while."""
        self._logged = self._logged or error.logged
        self._model.say(f"{error}: goes back")

    def _unfinished(self, name: str, cause: str, left: Release | None) -> str:
        """What is said where a release could not be begun, or not be taken back."""
        if left is None:
            return f"the model {name} was not released, nothing was touched: {cause}"
        why = f" because of {left.cause!r}" if left.cause else ""
        return f"version {left.candidate} of the model {name} is being taken back{why}, run it again to go on: {cause}"

    def _details(self) -> dict[str, Any]:
        return {"release": {"steps": self._steps}, "evidence": {"logged": list(self._logged)}}

    def _versions(
        self, access: Access, tracking: Tracking, candidate: ModelVersion, stable: str, found: Release | None
    ) -> Versions:
        """The versions and what they predict. Raises PlatformError where one is not in the registry any more."""
        model, name = self._model, self._model.settings.name
        known = {candidate.version: candidate}
        for number in [stable, *([found.candidate] if found else [])]:
            if number not in known:
                known[number] = resolve(tracking.api(access), name, tracking.artifact_root, version=number)
        broken = broken_promises(known[stable].signature, candidate.signature)
        own = {stable: model.predicted(access, known[stable])}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(own[stable].request, file)
            file.flush()
            for number in set(known) - {stable}:
                own[number] = model.predicted(access, known[number], "" if broken else file.name)
        return Versions(known, own, broken)

    @contextlib.contextmanager
    def _stage(self, access: Access, versions: Versions, stable: str, candidate: str) -> Iterator[ClusterStage]:
        """The cluster, and how requests are sent there."""
        model, name = self._model, self._model.settings.name
        made = {
            number: {item["kind"]: item for item in deploy.objects(version, model.record, model.serving)}
            for number, version in versions.known.items()
        }
        (check,) = parse_checks(deploy.component(model.settings, model.serving, model.mlflow, stable))
        assert isinstance(check, InferenceCheck)
        endpoint = service_name(name)
        with contextlib.ExitStack() as open_until_the_end:
            if self._gate:
                open_until_the_end.enter_context(self._gate.opened(access, versions, stable, candidate, check))
            client = open_until_the_end.enter_context(check.client(access))
            alone: dict[str, predict.V2Client] = {}
            opening = threading.Lock()

            def asked(way: Callable[[], predict.V2Client], rows: str) -> Answer:
                try:
                    return versions.answer(rows, way().infer(versions.own[rows].request))
                except (urllib3.exceptions.HTTPError, PlatformError) as error:
                    return Answer(0.0, error=f"{type(error).__name__}: {predict.shortened(error, LONGEST_ANSWER)}")

            def one(place: str) -> predict.V2Client:
                with opening:
                    if place not in alone:
                        alone[place] = open_until_the_end.enter_context(self._one(access, place, endpoint))
                return alone[place]

            line = Line(lambda rows: asked(lambda: client, rows), lambda rows, place: asked(lambda: one(place), rows))
            services = {number: found[KIND] for number, found in made.items()}
            yield KnativeStage(model.cluster, services, line, self._rules, model.say, self._tell, self._gate)

    @contextlib.contextmanager
    def _one(self, access: Access, place: str, endpoint: str) -> Iterator[predict.V2Client]:
        """A client of one revision, by way of Knative's activator as Kourier takes it."""
        service = Service(ACTIVATOR, 80, self._knative)
        headers = {"Knative-Serving-Namespace": self._model.serving.namespace, "Knative-Serving-Revision": place}
        with urllib3.HTTPConnectionPool(*access.address(service), maxsize=WORKERS) as pool:
            yield predict.V2Client(pool, place, endpoint, headers)

    def _tell(self, where: str, found: Sequence[Finding]) -> None:
        """Say what the requests at a state have shown, and keep it for the result."""
        self._steps.append({"state": where, "checks": [item.result() for item in found]})
        share = next(item for item in found if item.name == "share")
        self._model.say(
            f"{where}: {share.observed}; {', '.join(str(item.observed) for item in found if item is not share)}"
        )

    def _aliases(self, tracking: Tracking, access: Access, stable: str, candidate: str) -> list[str]:
        """Move the alias where that is asked for, or tell which ones lead to the version before."""
        name, api = self._model.settings.name, tracking.api(access)
        if self._alias and not self._model.check_mode:
            api.call("POST", "registered-models/alias", name=name, alias=self._alias, version=candidate)
            return [f"the alias {self._alias} leads to version {candidate} now"]
        found = self._known_aliases(tracking, access) if stable != candidate else {}
        left = [alias for alias, version in found.items() if version == stable]
        return [
            f"the alias {alias} still leads to version {stable}, which is served again when the model is next deployed "
            f"by that alias: -e release_alias={alias} moves it"
            for alias in left
        ]

    def _known_aliases(self, tracking: Tracking, access: Access) -> dict[str, str]:
        """The aliases of the model, and the version that each leads to."""
        name = self._model.settings.name
        entry = tracking.api(access).call("GET", "registered-models/get", name=name)["registered_model"]
        return {item["alias"]: str(item["version"]) for item in entry.get("aliases") or []}


def release(model: Model, about: Mapping[str, Any]) -> dict[str, Any]:
    """Release the version that a model's settings name; `about` is {rules, alias, knative_namespace}."""
    rules = build(Rules, {**about["rules"], "steps": tuple(about["rules"]["steps"])}, "release")
    return Releasing(model, rules, str(about["alias"]), str(about["knative_namespace"])).run()
