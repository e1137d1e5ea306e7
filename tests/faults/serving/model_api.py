"""What goes wrong with the plain serving API."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Service
from ansible_collections.mlops.platform.plugins.module_utils.checks.mlflow import MlflowApi
from faults.faults import Fault, Inject, crashed_often, unguarded
from faults.platform import STRANGER, Platform, until

REGISTERED = "model is registered"
ALIAS = {"name": "iris", "alias": "champion"}


@contextlib.contextmanager
def administrator(platform: Platform) -> Iterator[MlflowApi]:
    """MLflow as its administrator has it."""
    with platform.at("mlflow").access() as access:
        yield MlflowApi(access.url(Service("mlflow", 5000)), *access.secret("mlflow-admin", "username", "password"))


def champion(api: MlflowApi) -> str:
    """The version of Iris that has the alias."""
    return str(api.call("GET", "registered-models/alias", **ALIAS)["model_version"]["version"])


def alias_deleted(platform: Platform) -> Iterator[None]:
    """Somebody deletes the alias of the model."""
    with administrator(platform) as api:
        version = champion(api)
        api.call("DELETE", "registered-models/alias", **ALIAS)
        yield
        api.call("POST", "registered-models/alias", **ALIAS, version=version)


def broken_version(platform: Platform) -> Iterator[None]:
    """Somebody moves the alias to a version whose files are not there."""
    with administrator(platform) as api:
        version = champion(api)
        run = api.call("POST", "runs/create", experiment_id="0")["run"]["info"]
        source, run_id = f"{run['artifact_uri']}/there-is-none", run["run_id"]
        made = api.call("POST", "model-versions/create", name="iris", source=source, run_id=run_id)
        broken = made["model_version"]["version"]
        api.call("POST", "registered-models/alias", **ALIAS, version=broken)
        yield
        api.call("POST", "registered-models/alias", **ALIAS, version=version)
        api.call("DELETE", "model-versions/delete", name="iris", version=broken)
        api.call("POST", "runs/delete", run_id=run_id)


def password_changed(platform: Platform) -> Iterator[None]:
    """Somebody changes the password of the service's user in MLflow."""
    with administrator(platform) as api:
        api.call("PATCH", "users/update-password", username="model-api", password="another-password-than-that")
    yield


def registry_away(platform: Platform) -> Iterator[None]:
    """MLflow is away; what is loaded is served on."""
    platform.at("mlflow").scale("Deployment", "mlflow", 0)
    until(lambda: not platform.at("mlflow").pods("mlflow"))
    yield


def crash_loop(platform: Platform) -> Iterator[None]:
    """Somebody gives the service a port that is none."""
    here = platform.at("model_api")
    here.patch_container("Deployment", "model-api", env=[{"name": "MODEL_API_PORT", "value": "http"}])
    until(lambda: any(map(crashed_often, here.pods("model-api"))))
    yield


def patched(api_version: str, kind: str, spec: dict[str, object], seen: str = "") -> Inject:
    """Somebody edits the specification of an object, and its controller has `seen` it."""

    def inject(platform: Platform) -> Iterator[None]:
        here = platform.at("model_api")
        path = here.cluster.resource(api_version, kind).path(here.namespace, "model-api")
        query = {"fieldManager": STRANGER}
        # Custom resources, such as routes, know no other kind of patch.
        here.cluster.request(
            "PATCH", path, query=query, body={"spec": spec}, content_type="application/merge-patch+json"
        )
        until(lambda: seen in str(here.cluster.get(api_version, kind, "model-api", here.namespace)))
        yield

    return inject


FAULTS = (
    Fault(
        "the alias of the model is deleted",
        "model_api", REGISTERED, "iris has no alias 'champion'.*register it", alias_deleted, alone=True,
    ),
    Fault(
        "its password in MLflow is not the one in its Secret",
        "model_api", REGISTERED, "answered 401", password_changed,
    ),
    Fault(
        "the registry is away",
        "model_api", REGISTERED, "Service \\S+/mlflow leads nowhere", registry_away, seconds=45, alone=True,
    ),
    Fault(
        "the alias leads to a version that cannot be loaded",
        "model_api", "predicts as the model itself", "iris version \\d+ cannot be loaded", broken_version, alone=True,
    ),
    Fault(
        "its Service selects no pod",
        "model_api", "predicts as the model itself", "no pod has its selector app.kubernetes.io/name=model-apl",
        patched("v1", "Service", {"selector": {"app.kubernetes.io/name": "model-apl"}}),
    ),
    Fault(
        "it crashes again and again",
        "model_api", "rollout", "crashed \\d+ times.*MODEL_API_PORT is 'http'; allowed are whole numbers", crash_loop,
    ),
    Fault(
        "its route leads other hosts to it",
        "model_api", "edge", "answered 404",
        patched("gateway.networking.k8s.io/v1", "HTTPRoute", {"hostnames": ["other.example.org"]}),
    ),
    Fault(
        "the autoscaler scales what is not there",
        "model_api", "autoscaler", "FailedGetScale", patched(
            "autoscaling/v2", "HorizontalPodAutoscaler",
            {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "nobody"}}, "FailedGetScale",
        ),
    ),
    unguarded("model_api"),
)  # fmt: skip
