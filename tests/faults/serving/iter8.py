"""What goes wrong with Iter8."""

from __future__ import annotations

import json
from collections.abc import Iterator

from faults.faults import Fault, crashed_often, unguarded
from faults.platform import Platform, until

USERS = "users get versions, metrics are counted"
ROUTEMAP = "iris is shared out"


def rights_taken(platform: Platform) -> Iterator[None]:
    """Somebody takes its rights away; what it watched before it would be told on."""
    here = platform.at("iter8")
    nobody = [{"kind": "ServiceAccount", "name": "nobody", "namespace": here.namespace}]
    here.patch("rbac.authorization.k8s.io/v1", "RoleBinding", "iter8", {"subjects": nobody}, "models")
    for pod in here.pods("iter8"):
        here.cluster.delete("v1", "Pod", pod["metadata"]["name"], here.namespace)
    yield


def store_elsewhere(platform: Platform) -> Iterator[None]:
    """Somebody lets it keep metrics in a Redis that is not there."""
    here = platform.at("iter8")
    metrics = json.dumps({"port": 8080, "implementation": "redis", "redis": {"address": "127.0.0.1:6379"}})
    here.patch("v1", "ConfigMap", "iter8", {"data": {"metrics.yaml": metrics}})
    here.restart("iter8")
    yield
    here.repair("iter8")
    here.restart("iter8")


def no_selector(platform: Platform) -> Iterator[None]:
    """Somebody edits the selector of its Service."""
    platform.at("iter8").patch("v1", "Service", "iter8", {"spec": {"selector": {"app.kubernetes.io/name": "iter9"}}})
    yield


def routemap_deleted(platform: Platform) -> Iterator[None]:
    """Somebody deletes the routemap of a model."""
    here = platform.at("iter8")
    assert here.cluster.delete("v1", "ConfigMap", "iris-routemap", "models")
    yield


def label_removed(platform: Platform) -> Iterator[None]:
    """Somebody takes the label off a model by which Iter8 knows it."""
    body = {"metadata": {"labels": {"iter8.tools/watch": None}}}
    platform.patch("serving.kserve.io/v1beta1", "InferenceService", "iris", body, "models")
    yield


def crash_loop(platform: Platform) -> Iterator[None]:
    """Somebody leads it to a configuration that is not there."""
    here = platform.at("iter8")
    here.patch_container("StatefulSet", "iter8", env=[{"name": "CONFIG_FILE", "value": "/etc/iter8/none.yaml"}])
    until(lambda: any(map(crashed_often, here.pods("iter8"))))
    yield


FAULTS = (
    Fault(
        "it may read nothing",
        "iter8", "rollout", "Readiness probe failed: HTTP probe failed with statuscode: 400", rights_taken, seconds=45,
    ),
    Fault(
        "its store is not there",
        "iter8", USERS, "20 values were written, and others counted.*: {}", store_elsewhere,
    ),
    Fault(
        "its Service selects no pod",
        "iter8", USERS, "no pod has its selector app.kubernetes.io/name=iter9", no_selector,
    ),
    Fault(
        "the routemap of a model is deleted",
        "iter8", ROUTEMAP, "unknown application models/iris", routemap_deleted,
    ),
    Fault(
        "a model lacks the label by which it is known",
        "iter8", ROUTEMAP, "does not see isvc models/iris: its label iter8.tools/watch is ''", label_removed,
        alone=True,
    ),
    Fault(
        "it crashes again and again",
        "iter8", "rollout", "crashed \\d+ times.*none.yaml", crash_loop,
    ),
    unguarded("iter8"),
)  # fmt: skip
