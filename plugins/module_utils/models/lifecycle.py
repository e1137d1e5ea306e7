# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done with one model: served and proven, validated, removed; each returns the result of a task."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils import engine, events, gateway, health
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access
from ansible_collections.mlops.platform.plugins.module_utils.checks.inference import reference
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster, Object, connect
from ansible_collections.mlops.platform.plugins.module_utils.component import Component, build
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards
from ansible_collections.mlops.platform.plugins.module_utils.manifests import COMPONENT_LABEL
from ansible_collections.mlops.platform.plugins.module_utils.models import (
    deploy,
    inference_service,
    predict,
    registry,
    route,
)
from ansible_collections.mlops.platform.plugins.module_utils.models.deploy import Record, component_name
from ansible_collections.mlops.platform.plugins.module_utils.models.inference_service import Serving, Settings
from ansible_collections.mlops.platform.plugins.module_utils.models.registry import (
    ModelVersion,
    NotRegistered,
    Tracking,
    lacking,
    pinned,
    resolve,
)
from ansible_collections.mlops.platform.plugins.module_utils.models.room import refuse_homeless
from ansible_collections.mlops.platform.plugins.module_utils.report import write
from ansible_collections.mlops.platform.plugins.module_utils.waiting import Progress, Waker

CHECK_SECONDS = 60.0
"""For the checks of a model."""
START_SECONDS = 30.0
"""What is added where a model may be scaled to nothing: the first answer comes after its start."""
GONE_SECONDS = 120.0
"""For the pods of a removed model to end: they have 30 s to finish what they do, and a node may be busy."""
LOCK = Path(__file__).parents[3] / "images" / "model-server" / "requirements.txt"
"""The packages of the platform's own model server, with their versions."""


@dataclass(frozen=True)
class Model:
    """One model of a run.

    `mlflow` is the registry as plain data (registry.Tracking). `own_server`: the platform's own image serves it, whose
    packages are known. `directory` is that of the run, None where nothing is written.
    """

    cluster: Cluster
    record: Record
    serving: Serving
    mlflow: Mapping[str, Any]
    own_server: bool
    authorities: str
    directory: Path | None
    say: Progress
    check_mode: bool = False

    @classmethod
    def parse(cls, raw: Mapping[str, Any], say: Progress, check_mode: bool = False) -> Model:
        """A model as the action `models` describes it, as plain data."""
        record = raw["record"]
        return cls(
            cluster=connect(raw["kubeconfig"]),
            record=Record(build(Settings, record["settings"], "the settings of a model"), bool(record["declared"])),
            serving=build(Serving, raw["serving"], "how models are served"),
            mlflow=raw["mlflow"],
            own_server=bool(raw["own_server"]),
            authorities=raw["authorities"],
            directory=Path(raw["run_directory"]) if raw["run_directory"] else None,
            say=say,
            check_mode=check_mode,
        )

    @property
    def settings(self) -> Settings:
        """What is asked for."""
        return self.record.settings

    @property
    def name(self) -> str:
        """How the run calls it."""
        return component_name(self.settings.name)

    def provision(self) -> dict[str, Any]:
        """Serve the version that is asked for, and prove it.

        What speaks against it is told before anything is touched (PlatformError).
        """
        service = deploy.deployed(self.cluster, self.serving, self.settings.name)
        deploy.refuse_foreign(service, self.settings.name)
        with events.phase(self.name, "render") as rendering, self.access() as access:
            version = self.resolved(access, service)
            known = self.predicted(access, version)
            rendering.message = f"version {version.version}, {known.rows} rows predicted in-process"
        component = self._component(version.version)
        manifests = deploy.objects(version, self.record, self.serving)
        refuse_homeless(self.cluster, self.settings, self.serving, service, manifests)
        with events.phase(self.name, "apply", of=len(manifests)) as applying:
            objects = engine.provision(self.cluster, component, manifests, self.say, self.check_mode)
            applying.message = objects.summary()
        done = {"changed": objects.touched, "objects": objects.__dict__, "run_id": version.run_id}
        return self._about(component) | done | ({} if self.check_mode else self._proven(component, known))

    def validate(self) -> dict[str, Any]:
        """Prove the version that is served."""
        service = deploy.deployed(self.cluster, self.serving, self.settings.name)
        component = self._component(deploy.deployed_version(service))
        return self._about(component) | {"changed": False} | self._proven(component, None)

    def remove(self) -> dict[str, Any]:
        """Serve it no more. What says that it is served goes last, so that a run that was killed can be repeated."""
        service = deploy.deployed(self.cluster, self.serving, self.settings.name)
        deploy.refuse_foreign(service, self.settings.name)
        component = self._component(deploy.deployed_version(service))
        with events.phase(self.name, "apply") as applying:
            if service and not self.check_mode:
                name = service["metadata"]["name"]
                self.cluster.delete(inference_service.API_VERSION, inference_service.KIND, name, self.serving.namespace)
                self._await_end()
            objects = engine.provision(self.cluster, component, [], self.say, self.check_mode)
            if not self.check_mode:
                engine.forget(self.cluster, component)
            applying.message = objects.summary()
        return self._about(component) | {"changed": objects.touched or bool(service), "objects": objects.__dict__}

    def _component(self, version: str) -> Component:
        return deploy.component(self.settings, self.serving, self.mlflow, version)

    def _about(self, component: Component) -> dict[str, Any]:
        return {"component": {"name": self.name, "version": component.version, "namespace": component.namespace}}

    @contextlib.contextmanager
    def access(self) -> Iterator[Access]:
        """Access to the registry, from wherever the controller is."""
        with Forwards(self.cluster) as forwards:
            yield Access(self.cluster, forwards, self.serving.namespace)

    def resolved(self, access: Access, service: Object | None) -> ModelVersion:
        """The version that is asked for, which the platform can serve."""
        tracking, settings = Tracking.parse(self.mlflow), self.settings
        api, root = tracking.api(access), tracking.artifact_root
        number = str(settings.version or "")
        found = resolve(api, settings.name, root, alias=settings.asked_alias, version=number)
        present, before = deploy.deployed_version(service), None
        if present and present != found.version:
            try:
                before = resolve(api, settings.name, root, version=present)
            except NotRegistered:  # deleted since: nothing is known of its signature
                before = None
        deploy.refuse_unservable(found, settings, before)
        return replace(found, reference=registry.reference(api, found, root)) if settings.drift else found

    def predicted(self, access: Access, version: ModelVersion, rows: str = "") -> predict.Reference:
        """What a version predicts in a process of this machine, for the rows of a file or its own."""
        tracking, file = Tracking.parse(self.mlflow), rows or self.settings.rows
        return reference(access, tracking, version.name, version.version, file, self._hidden(version))

    def _hidden(self, version: ModelVersion) -> list[str]:
        """The packages that a version was logged with and that the platform's own server lacks."""
        own = self.own_server and not self.settings.runtime
        return lacking(version, pinned(LOCK.read_text(encoding="utf-8"))) if own else []

    def _proven(self, component: Component, known: predict.Reference | None) -> dict[str, Any]:
        starts = not inference_service.least_replicas(self.settings, self.serving)
        seconds = CHECK_SECONDS + (START_SECONDS if starts else 0)
        checks = health.validate(self.cluster, component, seconds, self.say, self.authorities)
        found = health.verdict(self.cluster, component, checks)
        return found | ({"access": self._ways(known)} if found["healthy"] else {})

    def _ways(self, known: predict.Reference | None) -> list[str]:
        """How people reach it: its URL, and a request that can be sent as it is."""
        name, serving = self.settings.name, self.serving
        path = f"/v2/models/{inference_service.service_name(name)}/infer"
        if not serving.edge:
            inner = route.backend(name, serving)
            forward = f"kubectl -n {inner.namespace} port-forward service/{inner.name} {inner.port}"
            return [f"{name}: {forward}, host {route.inner_host(name, serving)}, path {path}"]
        host = inference_service.host_name(name, serving)
        if serving.edge.get("openshift"):
            return [f"{name}: {gateway.url(host, 443)}{path}"]
        place = serving.edge["service"]
        address, port = gateway.entrance(self.cluster, place["name"], place["namespace"])
        url = f"{gateway.url(host, port)}{path}"
        if not address or known is None or self.directory is None:
            return [f"{name}: {url}"]
        body = self.directory / f"{self.name}.json"
        write(body, predict.row(known.request))
        trusted = gateway.keep_authority(self.cluster, serving.edge, self.directory)
        sent = os.path.relpath(self.directory.parent / "latest" / body.name)
        request = f"{gateway.curl(address, port, trusted)} {url} --json @{sent}"
        return [f"{name}: {url}", f"Try it: {request}"]

    def _await_end(self) -> None:
        """Return when the InferenceService and its pods are gone. Raises PlatformError where they stay."""
        space, selector = self.serving.namespace, f"{COMPONENT_LABEL}={self.name}"
        kinds = ((inference_service.API_VERSION, inference_service.KIND), ("v1", "Pod"))
        deadline = time.monotonic() + GONE_SECONDS
        said = ""
        with Waker(self.cluster, {self.cluster.resource(*kind).path(space) for kind in kinds}, selector) as waker:
            while left := [
                f"{kind[1]} {item['metadata']['name']}"
                for kind in kinds
                for item in self.cluster.list(*kind, space, selector)
            ]:
                if time.monotonic() > deadline:
                    raise PlatformError(f"{self.name} is not gone after {GONE_SECONDS:.0f} s: {', '.join(left)}")
                if (message := f"waits for the end of {', '.join(left)}") != said:
                    said = message
                    self.say(message)
                waker.wait(5.0)
