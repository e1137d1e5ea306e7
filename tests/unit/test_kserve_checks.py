"""The checks of KServe tell what is wrong with what the cluster would make of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access, CheckFailed, Service
from ansible_collections.mlops.platform.plugins.module_utils.checks.kserve import (
    KserveAdmissionCheck,
    KservePodCheck,
    KserveRuntimesCheck,
)
from ansible_collections.mlops.platform.plugins.module_utils.checks.lasting import lasting
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Resource
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards

WEBHOOK = Service("kserve-webhook-server-service", 443)
ADMISSION = KserveAdmissionCheck("admitted", WEBHOOK, "models", ("mlflow", "sklearn"), "Standard")
RUNTIMES = KserveRuntimesCheck("served", WEBHOOK, ("mlflow", "sklearn"), "server:1")
POD = KservePodCheck("pods", WEBHOOK, "models", "models", "fetch:1", "http://s3:9000", "minio-models", "s3://bucket/x")
DENIED = 'admission webhook "inferenceservice.kserve-webhook-server.validator" denied the request: '

Json = dict[str, Any]


@dataclass
class Server:
    """An API server: what it makes of an object that it is to create, what it has, and which Secrets."""

    make: Callable[[Json], Json] = lambda item: item
    items: tuple[Json, ...] = ()
    secrets: Mapping[str, Mapping[str, str]] = None  # type: ignore[assignment]

    def resource(self, api_version: str, kind: str) -> Resource:
        return Resource(api_version, kind, f"{kind.lower()}s", True)

    def request(self, method: str, path: str, *, query: Json, body: Json) -> Json:
        assert (method, query) == ("POST", {"dryRun": "All"})
        assert path.endswith(f"/namespaces/models/{body['kind'].lower()}s")
        return self.make(body)

    def list(self, api_version: str, kind: str) -> list[Json]:
        return list(self.items)

    def secret(self, name: str, namespace: str) -> Mapping[str, str] | None:
        return (self.secrets or {}).get(f"{namespace}/{name}")


def access(server: Server) -> Access:
    return Access(cast(Any, server), cast(Forwards, None), "kserve-system")


def kserve(item: Json) -> Json:
    """What KServe makes of an InferenceService."""
    scale = item["spec"]["predictor"]
    if scale["minReplicas"] > scale["maxReplicas"]:
        raise ApiError(f"{DENIED}'MinReplicas' cannot be greater than MaxReplicas.", 403)
    item["metadata"]["annotations"] = {"serving.kserve.io/deploymentMode": "Standard"}
    return item


def everything(item: Json) -> Json:
    item["metadata"]["annotations"] = {"serving.kserve.io/deploymentMode": "Standard"}
    return item


def silence(item: Json) -> Json:
    raise ApiError("failed calling webhook: no endpoints available", 500)


def test_models_are_admitted_and_wrong_ones_refused() -> None:
    observed, expected = ADMISSION.run(access(Server(kserve)))
    assert observed == expected == {"mlflow": "Standard", "sklearn": "Standard", "wrong": "refused"}


def test_a_webhook_that_lets_everything_in_is_seen() -> None:
    with pytest.raises(CheckFailed, match="cannot scale was admitted"):
        ADMISSION.run(access(Server(everything)))


def test_another_mode_is_seen() -> None:
    with pytest.raises(CheckFailed, match=r"another mode: .*Standard"):
        replace(ADMISSION, mode="Knative").run(access(Server(kserve)))


@pytest.mark.parametrize("check", [ADMISSION, POD])
def test_a_webhook_that_does_not_answer_says_so(check: KserveAdmissionCheck | KservePodCheck) -> None:
    with pytest.raises(ApiError, match="no endpoints available"):
        check.run(access(Server(silence, secrets=SECRETS)))


def test_a_denial_is_believed_sooner_than_silence() -> None:
    assert lasting(ApiError(f"{DENIED}no", 500))
    assert not lasting(ApiError("failed calling webhook: no endpoints available", 500))


def runtime(model_format: str, image: str = "server:1", **fields: object) -> Json:
    supported = [{"name": model_format, "autoSelect": True}]
    containers = [{"name": "kserve-container", "image": image}]
    return {
        "spec": {"supportedModelFormats": supported, "protocolVersions": ["v2"], "containers": containers, **fields}
    }


def test_every_format_has_a_runtime() -> None:
    observed, expected = RUNTIMES.run(access(Server(items=(runtime("mlflow"), runtime("sklearn")))))
    assert observed == expected == {"mlflow": ["server:1"], "sklearn": ["server:1"]}


@pytest.mark.parametrize(
    ("other", "those"),
    [
        (runtime("xgboost"), "none"),
        (runtime("sklearn", disabled=True), "none"),
        (runtime("sklearn", protocolVersions=["v1"]), "none"),
        (runtime("sklearn", supportedModelFormats=[{"name": "sklearn"}]), "none"),
        (runtime("sklearn", image="server:2"), "server:2"),
    ],
)
def test_a_format_without_its_runtime_is_named(other: Json, those: str) -> None:
    with pytest.raises(CheckFailed, match=f"server:1 takes sklearn; those that do: {those}"):
        RUNTIMES.run(access(Server(items=(runtime("mlflow"), other))))


def injected(**changes: str) -> Callable[[Json], Json]:
    """A webhook that puts a storage initializer into pods, as told."""
    told = {"name": "storage-initializer", "image": "fetch:1", "endpoint": "http://s3:9000", "secret": "minio-models"}
    told |= changes
    reference = {"valueFrom": {"secretKeyRef": {"name": told["secret"], "key": "access-key"}}}

    def mutate(pod: Json) -> Json:
        assert pod["metadata"]["labels"]["serving.kserve.io/inferenceservice"]
        env = [{"name": "AWS_ENDPOINT_URL", "value": told["endpoint"]}, {"name": "AWS_ACCESS_KEY_ID", **reference}]
        pod["spec"]["initContainers"] = [{"name": told["name"], "image": told["image"], "env": env}]
        return pod

    return mutate


SECRETS = {"models/minio-models": {"access-key": "models", "secret-key": "x"}}


def test_a_pod_gets_its_bytes() -> None:
    observed, expected = POD.run(access(Server(injected(), secrets=SECRETS)))
    assert observed == expected == {"image": "fetch:1", "endpoint": "http://s3:9000", "secrets": ["minio-models"]}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (injected(name="another"), "no storage initializer"),
        (lambda pod: pod, "no storage initializer"),
        (injected(image="fetch:2"), "image is fetch:2, not fetch:1"),
        (injected(endpoint="https://s3"), "endpoint is https://s3, not http://s3:9000"),
        (injected(secret="other"), "secrets is .'other'., not .'minio-models'."),
    ],
)
def test_a_pod_that_would_not_get_them_is_seen(make: Callable[[Json], Json], message: str) -> None:
    with pytest.raises(CheckFailed, match=message):
        POD.run(access(Server(make, secrets=SECRETS)))


def test_a_login_that_is_not_there_is_named() -> None:
    with pytest.raises(PlatformError, match="Secret models/minio-models does not exist"):
        POD.run(access(Server(injected())))
