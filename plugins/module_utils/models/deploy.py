# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model as a component of the engine: its objects, its check, and why a version is refused untouched."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster, Object
from ansible_collections.mlops.platform.plugins.module_utils.component import Component, build
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.manifests import Manifest, stamp
from ansible_collections.mlops.platform.plugins.module_utils.models import inference_service, route
from ansible_collections.mlops.platform.plugins.module_utils.models.inference_service import (
    MODEL_LABEL,
    VERSION_LABEL,
    Serving,
    Settings,
    host_name,
    service_name,
)
from ansible_collections.mlops.platform.plugins.module_utils.models.registry import (
    PYFUNC,
    ModelVersion,
    broken_promises,
)
from ansible_collections.mlops.platform.plugins.module_utils.models.release import ANNOTATION
from ansible_collections.mlops.platform.plugins.module_utils.preflight.capacity import Served

RECORD = "model.json"
"""The key of a model's ConfigMap: what was asked for, so that it can be validated without the inventory."""


@dataclass(frozen=True)
class Record:
    """A model that the platform serves, as it was asked for; `declared` by `platform_models` or by hand."""

    settings: Settings
    declared: bool = False

    @classmethod
    def parse(cls, text: str) -> Record:
        """From the ConfigMap of a model."""
        raw = json.loads(text)
        return cls(build(Settings, raw["settings"], "the record of a model"), bool(raw["declared"]))


def component_name(model: str) -> str:
    """How a run calls a model: as a host of its own, beside the components."""
    return f"model-{service_name(model)}"


def served(settings: Settings, serving: Serving) -> Served:
    """The pods of a model, as whoever counts what fits where knows them."""
    return Served(serving.namespace, component_name(settings.name), inference_service.pods(settings, serving))


def component(settings: Settings, serving: Serving, mlflow: Mapping[str, Any], version: str) -> Component:
    """A version of a model as the engine knows components. `mlflow` is plain data as registry.Tracking reads it."""
    name = settings.name
    edge = {**serving.edge, "host": host_name(name, serving), "route": route.name(name)} if serving.edge else {}
    inner = route.backend(name, serving)
    check = {
        "name": "predicts as the model itself",
        "type": "inference",
        "service": {"name": inner.name, "port": inner.port, "namespace": inner.namespace},
        "host": route.inner_host(name, serving),
        "model": name,
        "endpoint": service_name(name),
        "version": version,
        "mlflow": mlflow,
        "edge": {key: value for key, value in edge.items() if key not in ("type", "listener")},
        "rows": settings.rows,
    }
    return Component(
        name=component_name(name),
        version=version,
        namespace=serving.namespace,
        checks=(check,),
        timeout_seconds=settings.timeout_seconds,
    )


def objects(model: ModelVersion, record: Record, serving: Serving) -> list[Manifest]:
    """Everything that the platform applies for a model, stamped and in order."""
    name = model.name
    made = [inference_service.manifest(model, record.settings, serving), _record(record, serving)]
    if way := route.manifest(name, serving):
        made.append(way)
    return stamp(made, component_name(name), model.version)


def _record(record: Record, serving: Serving) -> Manifest:
    name = record.settings.name
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": component_name(name),
            "namespace": serving.namespace,
            "labels": {MODEL_LABEL: service_name(name)},
        },
        "data": {RECORD: json.dumps(asdict(record), sort_keys=True)},
    }


def recorded(cluster: Cluster, namespace: str) -> list[Record]:
    """The models that the platform serves, in the order of their names; none where the namespace is not there."""
    found = cluster.list("v1", "ConfigMap", namespace, MODEL_LABEL)
    return [Record.parse(item["data"][RECORD]) for item in found if RECORD in (item.get("data") or {})]


def deployed(cluster: Cluster, serving: Serving, model: str) -> Object | None:
    """The InferenceService of a model; None where there is none, or no KServe."""
    try:
        kind, name = inference_service.KIND, service_name(model)
        return cluster.get(inference_service.API_VERSION, kind, name, serving.namespace)
    except ApiError as error:
        if error.status != 404:
            raise
        return None


def deployed_version(service: Object | None) -> str:
    """The version that an InferenceService was made of; empty where it is not known."""
    return str(((service or {}).get("metadata", {}).get("labels") or {}).get(VERSION_LABEL, ""))


def refuse_foreign(service: Object | None, name: str) -> None:
    """Refuse to touch an InferenceService that is not the model's own, or that a release is working on."""
    if service is None:
        return
    metadata = service["metadata"]
    if (metadata.get("labels") or {}).get(MODEL_LABEL) != service_name(name):
        raise PlatformError(
            f"InferenceService {metadata['namespace']}/{metadata['name']} is there and is not the platform's: "
            "remove it, or register the model under another name"
        )
    if ANNOTATION in (metadata.get("annotations") or {}):
        raise PlatformError(
            f"a release of the model {name} is under way, nothing was touched: "
            f"release-model.yml -e model={name} finishes it or takes it back"
        )


def refuse_unservable(model: ModelVersion, settings: Settings, before: ModelVersion | None) -> None:
    """Refuse a version that no runtime for MLflow models loads, or that clients of the present one do not understand.

    `before` is the version that is served.
    """
    problems = [*_unloadable(model, settings), *_changed(model, settings, before)]
    if problems:
        raise PlatformError(f"{model} was not deployed, nothing was touched: {'; '.join(problems)}")


def _unloadable(model: ModelVersion, settings: Settings) -> Sequence[str]:
    if settings.runtime or PYFUNC in model.flavors:
        return []
    known = ", ".join(model.flavors) or "none"
    return [
        f"its flavours are {known}; the platform's runtime loads the flavour {PYFUNC}: log it with that one, or name a "
        "runtime of your own (runtime)"
    ]


def _changed(model: ModelVersion, settings: Settings, before: ModelVersion | None) -> Sequence[str]:
    """What clients of the version that is served could no longer rely on."""
    if before is None or settings.signature_may_change or before.version == model.version:
        return []
    broken = broken_promises(before.signature, model.signature)
    if not broken:
        return []
    return [
        f"clients of version {before.version}, which is served, would not understand it: {', '.join(broken)}; serve "
        "it under another name, or say signature_may_change: true"
    ]
