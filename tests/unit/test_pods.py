"""What a site says about pods reaches all of them, and takes nothing away that a template says."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.component import Component
from ansible_collections.mlops.platform.plugins.module_utils.pods import (
    HOSTNAME,
    ZONE,
    PodSettings,
    furnish,
    merged,
    registry_secret,
)


def workload(kind: str, replicas: int | None, **pod: Any) -> dict[str, Any]:
    """A workload with one container."""
    labels = {"app.kubernetes.io/name": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web"}], **pod}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "web"},
        "spec": spec | ({"replicas": replicas} if replicas else {}),
    }


def pod(manifest: dict[str, Any], settings: PodSettings) -> dict[str, Any]:
    (done,) = furnish([manifest], settings)
    found: dict[str, Any] = done["spec"]["template"]
    return found


def test_without_settings_one_pod_is_as_its_template_says() -> None:
    manifest = workload("StatefulSet", 1)
    assert furnish([manifest], PodSettings()) == [manifest]


def test_other_kinds_are_left_alone() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {}}
    assert furnish([service], PodSettings(node_selector={"a": "b"}, pull_secrets=["login"])) == [service]


def test_settings_reach_the_proxies_that_envoy_gateway_makes() -> None:
    deployment = {"name": "proxies", "pod": {"labels": {"component": "gateway"}}}
    manifest = {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "EnvoyProxy",
        "metadata": {"name": "platform"},
        "spec": {"provider": {"kubernetes": {"envoyDeployment": deployment}}},
    }
    settings = PodSettings(pod_labels={"team": "ml"}, priority_class="high", pull_secrets=["login"])
    (done,) = furnish([manifest], settings)
    assert done["spec"]["provider"]["kubernetes"]["envoyDeployment"] == {
        "name": "proxies",
        "pod": {
            "labels": {"team": "ml", "component": "gateway"},
            "priorityClassName": "high",
            "imagePullSecrets": [{"name": "login"}],
        },
    }


def test_settings_reach_the_pods_of_prometheus_and_alertmanager() -> None:
    given = {"apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus", "metadata": {"name": "platform"}}
    spec = {"replicas": 2, "podMetadata": {"labels": {"own": "1"}}, "securityContext": {"runAsUser": 1}}
    settings = PodSettings(
        node_selector={"pool": "ml"}, pod_labels={"team": "ml"}, pull_secrets=["registry"], any_user=True
    )
    (done,) = furnish([{**given, "spec": spec}], settings)
    found = done["spec"]
    assert found["podMetadata"]["labels"] == {"own": "1", "team": "ml"}
    assert (found["nodeSelector"], found["imagePullSecrets"]) == ({"pool": "ml"}, [{"name": "registry"}])
    assert found["securityContext"] == {}
    (constraint,) = found["topologySpreadConstraints"]
    assert constraint["labelSelector"]["matchLabels"] == {
        "app.kubernetes.io/name": "prometheus",
        "app.kubernetes.io/managed-by": "prometheus-operator",
        "app.kubernetes.io/instance": "platform",
    }
    (alone,) = furnish([{**given, "spec": {"replicas": 1}}], PodSettings(spread="required"))
    assert "affinity" not in alone["spec"]


def test_the_cluster_may_choose_the_user_of_a_pod() -> None:
    manifest = workload(
        "Deployment",
        1,
        securityContext={"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532},
        initContainers=[{"name": "first", "securityContext": {"runAsUser": 1, "readOnlyRootFilesystem": True}}],
    )
    assert pod(manifest, PodSettings())["spec"]["securityContext"]["runAsUser"] == 65532
    found = pod(manifest, PodSettings(any_user=True))["spec"]
    assert found["securityContext"] == {"runAsNonRoot": True}
    assert found["initContainers"][0]["securityContext"] == {"readOnlyRootFilesystem": True}
    assert found["containers"] == [{"name": "web"}]


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "Job"])
def test_settings_reach_every_kind_of_workload(kind: str) -> None:
    settings = PodSettings(
        node_selector={"pool": "ml"},
        tolerations=[{"key": "dedicated"}],
        priority_class="high",
        pod_annotations={"team": "ml"},
        pod_labels={"team": "ml", "app.kubernetes.io/name": "stolen"},
        pull_secrets=["one", "two"],
    )
    found = pod(workload(kind, 1, nodeSelector={"disk": "ssd"}, tolerations=[{"key": "own"}]), settings)
    assert found["metadata"]["annotations"] == {"team": "ml"}
    assert found["metadata"]["labels"] == {"team": "ml", "app.kubernetes.io/name": "web"}
    assert found["spec"]["nodeSelector"] == {"pool": "ml", "disk": "ssd"}
    assert found["spec"]["tolerations"] == [{"key": "own"}, {"key": "dedicated"}]
    assert found["spec"]["priorityClassName"] == "high"
    assert found["spec"]["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}]


@pytest.mark.parametrize("replicas", [None, 3])
def test_pods_prefer_different_nodes(replicas: int | None) -> None:
    found = pod(workload("Deployment", replicas), PodSettings())["spec"]
    (constraint,) = found["topologySpreadConstraints"]
    assert (constraint["topologyKey"], constraint["whenUnsatisfiable"]) == (HOSTNAME, "ScheduleAnyway")
    assert "affinity" not in found


@pytest.mark.parametrize(("kind", "keys"), [("Deployment", ["pod-template-hash"]), ("StatefulSet", None)])
def test_pods_that_must_be_apart_are_and_their_successors_need_no_more_nodes(kind: str, keys: list[str] | None) -> None:
    settings = PodSettings(spread="required", affinity={"nodeAffinity": {"some": "rule"}})
    found = pod(workload(kind, 3), settings)["spec"]
    (term,) = found["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert (term["topologyKey"], term.get("matchLabelKeys")) == (HOSTNAME, keys)
    assert term["labelSelector"] == {"matchLabels": {"app.kubernetes.io/name": "web"}}
    assert found["affinity"]["nodeAffinity"] == {"some": "rule"}
    assert [item["topologyKey"] for item in found["topologySpreadConstraints"]] == [ZONE]


@pytest.mark.parametrize(("kind", "replicas"), [("Job", None), ("DaemonSet", None), ("Deployment", 1)])
def test_there_is_nothing_to_keep_apart(kind: str, replicas: int | None) -> None:
    found = pod(workload(kind, replicas), PodSettings(spread="required"))["spec"]
    assert set(found) == {"containers"}


def test_what_is_there_wins_and_lists_grow() -> None:
    assert merged({"a": 1, "b": [1], "c": {"x": 1}}, {"a": 2, "b": [2], "c": {"y": 2}}) == {
        "a": 2,
        "b": [2, 1],
        "c": {"x": 1, "y": 2},
    }


def test_a_login_becomes_the_secret_that_kubernetes_pulls_with() -> None:
    component = Component("ml_flow", "1", "ml", namespaces={"ml-jobs": "restricted"})
    made = registry_secret(component, "registry.example.org:5443/team", "user", 'p"a:ss')
    assert (made.name, made.namespace, made.type) == ("ml-flow-registry", "ml", "kubernetes.io/dockerconfigjson")
    assert made.copies == ("ml-jobs",)
    (host, login), = json.loads(made.values[".dockerconfigjson"])["auths"].items()  # fmt: skip
    assert (host, login["username"], login["password"]) == ("registry.example.org:5443", "user", 'p"a:ss')
    assert base64.b64decode(login["auth"]).decode() == 'user:p"a:ss'
