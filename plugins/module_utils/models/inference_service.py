# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The InferenceService of a model: what was asked for, how the platform serves, and what KServe is told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.manifests import SPEC_HASH, Manifest, digest
from ansible_collections.mlops.platform.plugins.module_utils.models.registry import ModelVersion
from ansible_collections.mlops.platform.plugins.module_utils.preflight.needs import Pods, requests_of

API_VERSION = "serving.kserve.io/v1beta1"
KIND = "InferenceService"
MODEL_LABEL = "mlops.platform/model"
VERSION_LABEL = "mlops.platform/model-version"
RUN_LABEL = "mlops.platform/run-id"
SERVICE_ACCOUNT = "models"
CHAMPION = "champion"
LONGEST_NAME = 46
"""A revision of Knative is called `<name>-predictor-00001`, and that is a label of its pods: 63 characters at most."""
NAME = re.compile(rf"[a-z]([-a-z0-9]{{0,{LONGEST_NAME - 2}}}[a-z0-9])?")
"""What KServe admits (its validation webhook), in the length that Knative leaves."""
UTILIZATION = ("cpu", "memory")
"""Metrics that a HorizontalPodAutoscaler goes by; Knative's own autoscaler counts requests."""
METRICS = (*UTILIZATION, "concurrency", "rps")


@dataclass(frozen=True)
class Settings:
    """What a user says of one model that is to be served; an entry of `platform_models`.

    What is None (or empty) is as the platform serves models in general. `version` (0: none) stands in place of the
    alias. `rows` is the path of a file with the rows that are predicted for comparison. `drift` asks for the comparison
    of what the model is given with what it was trained with, for which `log_percent` of the requests are logged.
    """

    name: str
    alias: str = ""
    version: int = 0
    min_replicas: int | None = None
    max_replicas: int | None = None
    scale_metric: str = ""
    scale_target: int | None = None
    resources: Mapping[str, Any] = field(default_factory=dict)
    gpu: bool = False
    runtime: str = ""
    rows: str = ""
    timeout_seconds: int = 300
    signature_may_change: bool = False
    log_inputs: bool = False
    log_percent: int = 100
    drift: bool = False

    @property
    def logs(self) -> bool:
        """Whether its rows and predictions are written to S3: without them there is nothing to compare."""
        return self.log_inputs or self.drift

    @property
    def asked_alias(self) -> str:
        """The alias by which the version is found; empty where a version is asked for."""
        return "" if self.version else self.alias or CHAMPION


@dataclass(frozen=True)
class Serving:
    """How the platform serves models, from the variables of the roles kserve, knative and gateway.

    `standard`: KServe makes Deployments itself; else Knative Services, which the Service `knative_gateway` {name,
    namespace, port} leads requests to. `labels` are put on all InferenceServices. `edge` is what checks of the edge
    have in common (`service` {name, namespace} of the Gateway, `listener`, `issuer`, `openshift`), empty where there is
    none. `room_checked`: there are no more nodes than there are now. `inputs` is where models log what they are given:
    {uri, endpoint_url, region, secret, authorities}, `secret` "" where nobody has said who may write there.
    """

    namespace: str = "models"
    labels: Mapping[str, str] = field(default_factory=dict)
    domain: str = "mlops.internal"
    standard: bool = False
    mlflow_runtime: bool = True
    min_replicas: int = 1
    max_replicas: int = 3
    scale_metric: str = "concurrency"
    scale_target: int = 8
    resources: Mapping[str, Any] = field(default_factory=dict)
    gpu_resource: str = "nvidia.com/gpu"
    gpu_limit: int = 1
    gpu_node_selector: Mapping[str, str] = field(default_factory=dict)
    gpu_tolerations: tuple[Mapping[str, Any], ...] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    priority_class: str = ""
    knative_domain: str = "mlops.internal"
    knative_gateway: Mapping[str, Any] = field(
        default_factory=lambda: {"name": "kourier", "namespace": "kourier-system", "port": 80}
    )
    edge: Mapping[str, Any] = field(default_factory=dict)
    request_seconds: int = 300
    room_checked: bool = True
    inputs: Mapping[str, Any] = field(default_factory=dict)


def service_name(model: str) -> str:
    """The name of a model's InferenceService, a DNS label: its own name in small letters, - for what is none.

    Raises PlatformError for a name of which none can be made.
    """
    name = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")
    if not NAME.fullmatch(name):
        raise PlatformError(
            f"the model {model!r} would be served as {name!r}: allowed is a name that begins with a letter and is "
            f"not longer than {LONGEST_NAME}"
        )
    return name


def host_name(model: str, serving: Serving) -> str:
    """The host at which the edge answers for a model."""
    return f"{service_name(model)}.{serving.domain}"


def predictor(model: str) -> str:
    """The name of what KServe makes of an InferenceService: a Knative Service, or a Deployment and its Service."""
    return f"{service_name(model)}-predictor"


def least_replicas(settings: Settings, serving: Serving) -> int:
    """The number of pods that a model keeps while nobody asks it."""
    return _or(settings.min_replicas, serving.min_replicas)


def manifest(model: ModelVersion, settings: Settings, serving: Serving) -> Manifest:
    """The InferenceService that serves a version, complete: whoever applies it adds nothing.

    Raises PlatformError where the settings do not go with how the platform serves.
    """
    metric = settings.scale_metric or serving.scale_metric
    low = least_replicas(settings, serving)
    # A model that asks for more pods than the platform's limit at least asks for no fewer at most.
    high = _or(settings.max_replicas, max(serving.max_replicas, low))
    labels = {MODEL_LABEL: service_name(model.name), VERSION_LABEL: model.version}
    spec = {
        "predictor": {
            "serviceAccountName": SERVICE_ACCOUNT,
            "minReplicas": low,
            "maxReplicas": high,
            "scaleMetric": metric,
            "scaleTarget": _or(settings.scale_target, serving.scale_target),
            **_placement(settings, serving),
            "model": {
                "modelFormat": {"name": "mlflow"},
                "protocolVersion": "v2",
                "storageUri": model.uri,
                **({"runtime": settings.runtime} if settings.runtime else {}),
                # Answers say which version they are of; without it nobody could tell two revisions apart.
                "env": [{"name": "MLSERVER_MODEL_VERSION", "value": model.version}, *_log(model, settings, serving)],
                "resources": _resources(settings, serving),
            },
        }
    }
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": service_name(model.name),
            "namespace": serving.namespace,
            "labels": {**serving.labels, **labels} | ({RUN_LABEL: model.run_id} if model.run_id else {}),
            # KServe copies the hash to the pods: so one sees whether they are of this manifest (rollout.served).
            "annotations": {**_annotations(metric, serving), SPEC_HASH: digest(spec)},
        },
        "spec": spec,
    }


def _log(model: ModelVersion, settings: Settings, serving: Serving) -> list[dict[str, Any]]:
    """What the platform's runtime is told of the log of inputs (images/model-server/observed/inputs.py)."""
    if not settings.logs:
        return []
    place = serving.inputs
    said = {
        "URI": place["uri"], "ENDPOINT_URL": place["endpoint_url"], "REGION": place["region"],
        "AUTHORITIES": place["authorities"], "PERCENT": str(settings.log_percent), "RUN_ID": model.run_id,
        "REFERENCE": model.reference,
    }  # fmt: skip
    keys = {"ACCESS_KEY": "access-key", "SECRET_KEY": "secret-key"}
    return [{"name": f"MODEL_LOG_{name}", "value": value} for name, value in said.items() if value] + [
        {"name": f"MODEL_LOG_{name}", "valueFrom": {"secretKeyRef": {"name": place["secret"], "key": key}}}
        for name, key in keys.items()
    ]


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _annotations(metric: str, serving: Serving) -> dict[str, str]:
    if serving.standard:
        return {"serving.kserve.io/deploymentMode": "Standard", "serving.kserve.io/autoscalerClass": "hpa"}
    scaler = "hpa" if metric in UTILIZATION else "kpa"
    return {
        "serving.kserve.io/deploymentMode": "Knative",
        "autoscaling.knative.dev/class": f"{scaler}.autoscaling.knative.dev",
    }


def _placement(settings: Settings, serving: Serving) -> dict[str, Any]:
    """Where the pods run: where all pods of the platform do, and on nodes with GPUs where they need one."""
    selector = dict(serving.node_selector) | (dict(serving.gpu_node_selector) if settings.gpu else {})
    tolerations = [*serving.tolerations, *(serving.gpu_tolerations if settings.gpu else ())]
    return {
        **({"nodeSelector": selector} if selector else {}),
        **({"tolerations": tolerations} if tolerations else {}),
        **({"priorityClassName": serving.priority_class} if serving.priority_class else {}),
    }


def pods(settings: Settings, serving: Serving) -> Pods:
    """The pods that a model has at least once it is served, for whoever counts what fits where."""
    placement = _placement(settings, serving)
    return Pods(
        owner=f"the model {settings.name}",
        count=max(1, least_replicas(settings, serving)),
        requests=requests_of({"containers": [{"resources": _resources(settings, serving)}]}),
        node_selector=placement.get("nodeSelector", {}),
        tolerations=placement.get("tolerations", []),
    )


def _resources(settings: Settings, serving: Serving) -> dict[str, Any]:
    """Requests and limits of the model's container; a GPU is limited, and so requested."""
    found = dict(settings.resources or serving.resources)
    if settings.gpu:
        found["limits"] = dict(found.get("limits") or {}) | {serving.gpu_resource: str(serving.gpu_limit)}
    return found
