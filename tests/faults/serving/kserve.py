"""What goes wrong with KServe."""

from __future__ import annotations

from collections.abc import Iterator

from faults.faults import Fault, unguarded
from faults.platform import Platform

ADMISSION = "InferenceServices are admitted"
FORMATS = "formats are served"
PODS = "pods of models get their bytes"
STORAGE = "models read and do not write"
RUNTIMES_API = "serving.kserve.io/v1alpha1"


def scaled_to_nothing(platform: Platform) -> Iterator[None]:
    """Somebody scales the controller to 0."""
    platform.at("kserve").scale("Deployment", "kserve-controller-manager", 0)
    yield


def webhooks_lead_nowhere(platform: Platform) -> Iterator[None]:
    """Somebody edits the selector of the webhooks' Service."""
    kserve = platform.at("kserve")
    spec = {"selector": {"control-plane": "kserve-controller"}}
    kserve.patch("v1", "Service", "kserve-webhook-server-service", {"spec": spec})
    kserve.restart("kserve-controller-manager")  # the API server keeps a connection to the pod of before
    yield


def runtime_removed(platform: Platform) -> Iterator[None]:
    """Somebody removes the runtime of a format."""
    assert platform.cluster.delete(RUNTIMES_API, "ClusterServingRuntime", "platform-sklearn")
    yield


def initializer_missing(platform: Platform) -> Iterator[None]:
    """Somebody sets a storage initializer that is not in the registry."""
    kserve = platform.at("kserve")
    (own,) = [item for item in kserve.manifests["kserve"] if item["kind"] == "ClusterStorageContainer"]
    image = own["spec"]["container"]["image"].rpartition(":")[0]
    body = {"spec": {"container": {"image": f"{image}:there-is-none"}}}
    kserve.patch(RUNTIMES_API, "ClusterStorageContainer", own["metadata"]["name"], body)
    yield


def key_changed(platform: Platform) -> Iterator[None]:
    """Somebody gives MinIO's user of the models another key than the one in its Secret."""
    with platform.at("minio").minio() as (_, admin):
        admin.user_add("models", "another-key-than-the-one-in-the-secret")
    yield


def secret_deleted(platform: Platform) -> Iterator[None]:
    """Somebody deletes the Secret that models read their bytes with."""
    assert platform.cluster.delete("v1", "Secret", "minio-models", "models")
    yield


FAULTS = (
    Fault("a runtime is removed", "kserve", FORMATS, "takes sklearn; those that do: none", runtime_removed),
    Fault(
        "the storage initializer is none that can be pulled",
        "kserve", PODS, "image is .*:there-is-none, not", initializer_missing,
    ),
    Fault(
        "the key of models is not the one in its Secret",
        "kserve", STORAGE, "SignatureDoesNotMatch", key_changed,
    ),
    Fault(
        "the Secret of models is deleted",
        "kserve", PODS, "Secret models/minio-models does not exist", secret_deleted,
        others=(("kserve", STORAGE, "Secret models/minio-models does not exist"),),
    ),
    Fault(
        "the webhooks' Service selects no pod",
        "kserve", ADMISSION, "failed calling webhook.*kserve-webhook-server-service", webhooks_lead_nowhere,
        others=(("kserve", PODS, "failed calling webhook"),), seconds=45, alone=True,
    ),
    Fault(
        "it is scaled to 0",
        "kserve", "rollout", "scaled to 0 replicas", scaled_to_nothing, alone=True,
    ),
    unguarded("kserve"),
)  # fmt: skip
