"""What pods run and take, from what the API server says of them."""

from __future__ import annotations

from typing import Any, cast

from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster
from ansible_collections.mlops.platform.plugins.module_utils.usage import amounts, images, nodes, resources, usage

DIGEST = f"sha256:{'a' * 64}"


def pod(name: str, image: str = "r/web:1", image_id: str = f"r/web@{DIGEST}", **more: Any) -> dict[str, Any]:
    container = {"name": "web", "image": image, "resources": {"requests": {"cpu": "50m"}, "limits": {"memory": "1Gi"}}}
    status = {"phase": "Running", "containerStatuses": [{"name": "web", "image": "other", "imageID": image_id}]}
    return {"metadata": {"name": name}, "spec": {"containers": [container]}, "status": {**status, **more}}


def metrics(name: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "containers": [{"name": "web", "usage": {"cpu": "3815710n", "memory": "214864Ki"}}],
    }


class Answers:
    """A cluster that lists what it is given by kind, and refuses all else."""

    def __init__(self, **known: list[dict[str, Any]]) -> None:
        self.known = known
        self.asked: list[tuple[str, str | None, str]] = []

    def list(self, api_version: str, kind: str, namespace: str | None = None, selector: str = "") -> Any:
        self.asked.append((kind, namespace, selector))
        if kind not in self.known:
            raise ApiError("not served", 404)
        return self.known[kind]


def test_images_are_listed_once_with_their_digest_and_users() -> None:
    found = images([pod("a"), pod("b"), pod("c", "r/web:2", "")])
    assert found == [
        {"image": "r/web:1", "digest": DIGEST, "containers": ["a/web", "b/web"]},
        {"image": "r/web:2", "digest": "", "containers": ["c/web"]},
    ]


def test_init_containers_have_images_too_and_a_digest_may_stand_alone() -> None:
    item = pod("a", image_id=DIGEST)
    item["spec"]["initContainers"] = [{"name": "first", "image": "r/first:1"}]
    assert [(found["image"], found["digest"]) for found in images([item])] == [("r/first:1", ""), ("r/web:1", DIGEST)]


def test_only_pods_that_run_take_something() -> None:
    found = resources([pod("a"), pod("done", phase="Succeeded"), pod("new", phase="Pending")], [metrics("a")])
    assert found == [
        {
            "pod": "a", "container": "web", "requests": {"cpu": 0.05}, "limits": {"memory_bytes": 2**30},
            "usage": {"cpu": 0.0038, "memory_bytes": 214864 * 1024},
        },
        {"pod": "new", "container": "web", "requests": {"cpu": 0.05}, "limits": {"memory_bytes": 2**30}, "usage": {}},
    ]  # fmt: skip


def test_amounts_of_nothing() -> None:
    assert amounts(None) == {}
    assert amounts({"ephemeral-storage": "1Gi"}) == {}


def test_two_requests_a_component() -> None:
    cluster = Answers(Pod=[pod("a")], PodMetrics=[metrics("a")])
    found = usage(cast(Cluster, cluster), "web", ["ml"])
    assert found["resources"][0]["usage"]["cpu"] == 0.0038
    assert cluster.asked == [(kind, "ml", "mlops.platform/component=web") for kind in ("Pod", "PodMetrics")]


def test_a_cluster_without_metrics_or_rights_leaves_gaps() -> None:
    assert usage(cast(Cluster, Answers(Pod=[pod("a")])), "web", ["ml"])["resources"][0]["usage"] == {}
    assert usage(cast(Cluster, Answers()), "web", ["ml"]) == {"images": [], "resources": []}
    assert nodes(cast(Cluster, Answers())) == []


def test_nodes() -> None:
    node = {"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "1900m", "memory": "8Gi", "pods": "110"}}}
    assert nodes(cast(Cluster, Answers(Node=[node]))) == [{"name": "n", "cpu": 1.9, "memory_bytes": 2**33, "pods": 110}]
