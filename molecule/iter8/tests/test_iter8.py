"""Iter8 as its clients use it: users of an application whose versions come and go, and what is counted for them."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards
from ansible_collections.mlops.platform.plugins.module_utils.iter8 import Iter8
from running import until
from urllib3.exceptions import HTTPError

NAMESPACE, WATCHED = "iter8", "models"
USERS = [f"user-{number}" for number in range(400)]
PASSING = (PlatformError, ConnectionError, HTTPError)
"""What is raised by what is on its way."""
Client = Callable[[], contextlib.AbstractContextManager[Iter8]]


def service(name: str, weight: str) -> dict[str, Any]:
    """A Service without pods: what Iter8 knows of a version is that its objects are there."""
    labels, weights = {"iter8.tools/watch": "true"}, {"iter8.tools/weight": weight} if weight else {}
    metadata = {"name": name, "namespace": WATCHED, "labels": labels, "annotations": weights}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}]}}


@pytest.fixture
def name(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """An application of two versions, Services of the names `<name>-0` and `<name>-1`; the second has a weight."""
    made = f"test-{secrets.token_hex(3)}"
    parts = [f"{made}-{version}" for version in (0, 1)]
    versions = [
        {"resources": [{"gvrShort": "svc", "name": part, "namespace": WATCHED}], "weight": 10} for part in parts
    ]
    labels = {"iter8.tools/kind": "routemap", "iter8.tools/version": "v1.1"}
    routemap = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"strSpec": json.dumps({"versions": versions})},
                "metadata": {"name": made, "namespace": WATCHED, "labels": labels}}  # fmt: skip
    try:
        for part, weight in zip(parts, ("", getattr(request, "param", "")), strict=True):
            cluster.apply(service(part, weight))
        cluster.apply(routemap)
        yield made
    finally:
        cluster.delete("v1", "ConfigMap", made, WATCHED)
        for part in parts:
            cluster.delete("v1", "Service", part, WATCHED)


@pytest.fixture
def client(forwards: Forwards, name: str) -> Client:
    """A client of the application."""

    def connect() -> contextlib.AbstractContextManager[Iter8]:
        grpc, http = (("127.0.0.1", forwards.port(NAMESPACE, "iter8", port)) for port in (50051, 8080))
        return Iter8.at(grpc, http, f"{WATCHED}/{name}")

    return connect


def shared_out(users: Iter8, versions: set[int]) -> dict[str, int]:
    """The version of each user, once just these versions are given."""

    def look() -> dict[str, int]:
        found = {user: users.lookup(user) for user in USERS}
        return found if set(found.values()) == versions else {}

    found: dict[str, int] = until(look, 30, PASSING)
    return found


def test_users_keep_their_versions_when_many_ask_at_once(client: Client) -> None:
    with client() as users:
        versions = shared_out(users, {0, 1})
        assert 0.35 < sum(versions.values()) / len(USERS) < 0.65  # six standard deviations about a half
        with ThreadPoolExecutor(16) as pool:
            again = list(pool.map(users.lookup, USERS * 5))
        assert again == list(versions.values()) * 5


@pytest.mark.parametrize("name", ["1"], indirect=True)
def test_the_smaller_weight_gets_half_of_the_ratio(client: Client) -> None:
    with client() as users:
        versions = shared_out(users, {0, 1})
        assert 4 <= sum(versions.values()) <= 45  # 5 % are 20


def test_who_had_a_version_that_goes_gets_another(cluster: Cluster, client: Client, name: str) -> None:
    with client() as users:
        shared_out(users, {0, 1})
        cluster.delete("v1", "Service", f"{name}-0", WATCHED)
        shared_out(users, {1})
    assert cluster.get("v1", "Service", f"{name}-0", WATCHED) is None, "a finalizer keeps it"


def test_what_was_counted_outlives_the_pod(cluster: Cluster, client: Client) -> None:
    with client() as users:
        versions = shared_out(users, {0, 1})
        for user in USERS[:50]:
            users.write_metric(user, "orders", 1.5 + versions[user])
        counted = users.summary()["orders"]
    assert {version: item.mean for version, item in counted.items()} == {0: 1.5, 1: 2.5}
    assert sum(item.count for item in counted.values()) == 50
    before = cluster.get("v1", "Pod", "iter8-0", NAMESPACE)
    assert before
    cluster.delete("v1", "Pod", "iter8-0", NAMESPACE)

    def of_the_next_pod() -> Any:
        pod = cluster.get("v1", "Pod", "iter8-0", NAMESPACE)
        if pod and pod["metadata"]["uid"] != before["metadata"]["uid"]:
            with client() as users:
                return users.summary().get("orders")
        return None

    assert until(of_the_next_pod, 60, PASSING) == counted


@pytest.mark.parametrize(
    ("verb", "group", "resource", "namespace", "allowed"),
    [
        ("watch", "", "configmaps", WATCHED, True),
        ("list", "", "services", WATCHED, True),
        ("update", "", "services", WATCHED, False),
        ("patch", "", "configmaps", WATCHED, False),
        ("get", "", "secrets", WATCHED, False),
        ("list", "", "configmaps", NAMESPACE, False),
        ("list", "", "configmaps", "", False),
    ],
)
def test_it_may_read_what_it_watches_and_no_more(
    cluster: Cluster, verb: str, group: str, resource: str, namespace: str, allowed: bool
) -> None:
    attributes = {"verb": verb, "group": group, "resource": resource, "namespace": namespace}
    spec = {"user": f"system:serviceaccount:{NAMESPACE}:iter8", "resourceAttributes": attributes}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    answer = cluster.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body=review)
    assert answer["status"]["allowed"] is allowed


def test_the_report_says_the_same(checks: Callable[[str], dict[str, Any]]) -> None:
    assert checks("iter8") == {
        "rollout": True,
        "users get versions, metrics are counted": True,
        "iris is shared out": True,
    }
