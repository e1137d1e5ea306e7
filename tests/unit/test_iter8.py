"""Iter8's client and checks, against a server of this process that speaks Iter8's protocol and does as it is told."""

from __future__ import annotations

import http.server
import json
import re
import statistics
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import grpc
import pytest
from ansible.parsing.dataloader import DataLoader
from ansible_collections.mlops.platform.plugins.module_utils.checks import iter8 as checks
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access, CheckFailed, Service
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster
from ansible_collections.mlops.platform.plugins.module_utils.configure.iter8 import Iter8Step
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.iter8 import Iter8, Iter8Error, Summary, messages
from inventory_mutations import ROOT, Site, read

IRIS = "models/iris"
Place = tuple[str, int]


@dataclass
class Server:
    """What Iter8 keeps: the versions of users by application, and the values of metrics by application and name."""

    versions: dict[str, Callable[[str], int]] = field(default_factory=lambda: {IRIS: lambda user: len(user) % 2})
    values: dict[str, dict[str, list[tuple[int, float]]]] = field(default_factory=dict)
    kept: Callable[[float], float | None] = lambda value: value
    wait: threading.Event = field(default_factory=threading.Event)

    def version(self, name: str, user: str, context: grpc.ServicerContext) -> int:
        if name not in self.versions:
            context.abort(grpc.StatusCode.UNKNOWN, f"routemap not found for application {name}")
        return self.versions[name](user)

    def lookup(self, asked: Any, context: grpc.ServicerContext) -> Any:
        version = self.version(asked.name, asked.user, context)
        return messages()["VersionRecommendation"](versionNumber=version)

    def write(self, asked: Any, context: grpc.ServicerContext) -> Any:
        version, value = self.version(asked.application, asked.user, context), self.kept(float(asked.value))
        if value is not None:
            self.values.setdefault(asked.application, {}).setdefault(asked.name, []).append((version, value))
        return messages()["Empty"]()

    def summary(self, name: str) -> dict[str, Any]:
        found = self.values.get(name, {})
        return {metric: {"SummaryOverTransactions": _summaries(values)} for metric, values in found.items()}


def _summaries(values: list[tuple[int, float]]) -> list[dict[str, Any]]:
    by_version = {version: [value for number, value in values if number == version] for version in (0, 1)}
    return [
        {"Version": version, "Count": len(some), "Mean": statistics.fmean(some), "StdDev": statistics.pstdev(some),
         "Min": min(some), "Max": max(some)}
        for version, some in by_version.items() if some
    ] + [{"Version": 2, "Count": 0, "Mean": 0, "StdDev": 0, "Min": 0, "Max": 0}]  # fmt: skip


@pytest.fixture
def server() -> Server:
    """What the server keeps."""
    return Server()


@pytest.fixture
def places(server: Server) -> Iterator[tuple[Place, Place]]:
    """Where the server answers, by gRPC and by HTTP."""

    def handler(act: Callable[..., Any], request: str) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(
            act, messages()[request].FromString, lambda answer: answer.SerializeToString()
        )

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = parse_qs(urlsplit(self.path).query)
            name = f"{asked['namespace'][0]}/{asked['application'][0]}"
            known = name in server.versions
            body = json.dumps(server.summary(name)) if known else f"unknown application {name}\n"
            self.send_response(200 if known else 400)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    methods = {"Lookup": handler(server.lookup, "Application"), "WriteMetric": handler(server.write, "MetricValue")}
    with ThreadPoolExecutor(4) as pool, http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as summaries:
        rpc = grpc.server(pool)
        rpc.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("main.ABN", methods)])
        port = rpc.add_insecure_port("127.0.0.1:0")
        rpc.start()
        threading.Thread(target=summaries.serve_forever, args=(0.02,), daemon=True).start()
        yield ("127.0.0.1", port), ("127.0.0.1", summaries.server_address[1])
        summaries.shutdown()
        rpc.stop(0).wait()


@pytest.fixture
def users(places: tuple[Place, Place]) -> Iterator[Iter8]:
    """The users of iris."""
    with Iter8.at(*places, IRIS) as client:
        yield client


def test_messages_are_those_of_the_protocol() -> None:
    """Bytes as protoc's own code writes them: field number and wire type, length, text."""
    made = messages()
    application = made["Application"](name="a/b", user="ann").SerializeToString()
    assert application == b"\x0a\x03a/b\x12\x03ann"
    metric = made["MetricValue"](name="m", value="1.5", application="a/b", user="ann").SerializeToString()
    assert metric == b"\x0a\x01m\x12\x031.5\x1a\x03a/b\x22\x03ann"
    assert made["VersionRecommendation"].FromString(b"\x08\x01").versionNumber == 1
    assert made["VersionRecommendation"].FromString(b"").versionNumber == 0


def test_users_get_versions_and_what_they_bring_counts_for_these(users: Iter8) -> None:
    assert [users.lookup(user) for user in ("ann", "john")] == [1, 0]
    for user, value in (("ann", 1.0), ("ann", 4.0), ("john", 0.25)):
        users.write_metric(user, "orders", value)
    assert users.summary() == {"orders": {0: Summary(1, 0.25, 0.0, 0.25, 0.25), 1: Summary(2, 2.5, 1.5, 1.0, 4.0)}}


def test_an_application_that_nobody_knows_is_refused(places: tuple[Place, Place]) -> None:
    with Iter8.at(*places, "models/none") as users:
        with pytest.raises(Iter8Error, match="refuses models/none: routemap not found for application models/none"):
            users.lookup("ann")
        with pytest.raises(Iter8Error, match=r"no summary of models/none: unknown application models/none$"):
            users.summary()


def test_silence_is_no_refusal() -> None:
    nobody = ("127.0.0.1", 1)
    with Iter8.at(nobody, nobody, IRIS) as users, pytest.raises(ConnectionError, match="does not answer"):
        users.lookup("ann")


@pytest.mark.parametrize(
    ("user", "metric", "value", "said"),
    [
        ("", "orders", 1.0, "the user is ''"),
        ("a:b", "orders", 1.0, "the user is 'a:b'.* without :"),
        ("ann", "orders:eur", 1.0, "the metric is 'orders:eur'"),
        ("ann", "orders", float("nan"), "orders is nan; allowed are finite numbers"),
    ],
)
def test_what_it_would_drop_or_stumble_over_is_refused(
    users: Iter8, server: Server, user: str, metric: str, value: float, said: str
) -> None:
    with pytest.raises(PlatformError, match=said):
        users.write_metric(user, metric, value)
    assert server.values == {}


class Objects:
    """The ConfigMaps of a namespace, which the server takes for routemaps as soon as they are there."""

    def __init__(self, server: Server, versions: Callable[[str], int]) -> None:
        self.server, self.versions = server, versions
        self.there: dict[str, dict[str, Any]] = {}

    def resource(self, *_: str) -> Any:
        class Path:
            def path(self, namespace: str) -> str:
                return namespace

        return Path()

    def request(self, verb: str, path: str, body: Any = None, content_type: str = "") -> dict[str, Any]:
        if verb == "GET":
            name = path.rpartition("/")[2]
            if name not in self.there:
                raise ApiError(f"{path} is not there", 404)
            return self.there[name]
        if verb == "PATCH":
            self.there[path.rpartition("/")[2]]["metadata"]["labels"] |= body["metadata"]["labels"]
            return {}
        self.there[body["metadata"]["name"]] = body
        if "strSpec" in body["data"]:
            self.server.versions[f"{path}/{body['metadata']['name']}"] = self.versions
        return {}

    def delete(self, api_version: str, kind: str, name: str, namespace: str) -> bool:
        self.server.versions.pop(f"{namespace}/{name}", None)
        return self.there.pop(name, None) is not None

    def last_lines(self, *_: object, **__: object) -> list[str]:
        return []

    def list(self, *_: str) -> Sequence[dict[str, Any]]:
        return tuple(self.there.values())


def alternate(user: str) -> int:
    """The versions of the users of a check, in turn."""
    return checks.USERS.index(user) % 2


@pytest.fixture
def access(places: tuple[Place, Place]) -> Callable[[Objects], Access]:
    """Access to these objects and to the server."""

    class Forwarded:
        def port(self, _: str, __: str, port: int) -> int:
            return places[0][1] if port == 50051 else places[1][1]

    return lambda objects: Access(cast(Cluster, objects), cast(Any, Forwarded()), "iter8")


@pytest.fixture
def validate(server: Server, access: Callable[[Objects], Access]) -> Callable[..., tuple[object, object]]:
    """Run the check with users of its own, for a way of giving versions; nothing of it is left."""

    def run(versions: Callable[[str], int] = alternate) -> tuple[object, object]:
        objects = Objects(server, versions)
        check = checks.Iter8UsersCheck("users", Service("iter8", 50051), watched="models")
        try:
            return check.run(access(objects))
        finally:
            assert objects.there == {}

    return run


def test_a_test_with_users_of_its_own_passes(validate: Callable[..., tuple[object, object]]) -> None:
    assert validate()[0] == "10 and 10 users of two versions, each counted for the own one"


def test_users_who_get_another_version_are_seen(validate: Callable[..., tuple[object, object]]) -> None:
    asked: list[str] = []

    def fickle(user: str) -> int:
        asked.append(user)
        return (alternate(user) + len(asked) // (len(checks.USERS) + 1)) % 2

    with pytest.raises(CheckFailed, match="looked up again get another version"):
        validate(fickle)


def test_one_version_for_all_is_seen(
    validate: Callable[..., tuple[object, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "PATIENCE_SECONDS", 0.2)
    with pytest.raises(CheckFailed, match=r"does not follow a new routemap: all users get version \[0\] of two"):
        validate(lambda _: 0)


@pytest.mark.parametrize("kept", [lambda _: None, lambda value: value + 1], ids=["lost", "changed"])
def test_values_that_are_lost_or_changed_are_seen(
    validate: Callable[..., tuple[object, object]], server: Server, kept: Callable[[float], float | None]
) -> None:
    server.kept = kept
    with pytest.raises(CheckFailed, match="20 values were written, and others counted"):
        validate()


def test_a_server_that_knows_every_application_is_seen(
    validate: Callable[..., tuple[object, object]], server: Server
) -> None:
    class Everything(dict[str, Callable[[str], int]]):
        def __contains__(self, _: object) -> bool:
            return True

        def __missing__(self, _: str) -> Callable[[str], int]:
            return alternate

    server.versions = Everything()
    with pytest.raises(CheckFailed, match="-absent is not there, and a user gets version 0 of it"):
        validate()


SVC = {"name": "svc", "group": "", "version": "v1", "resource": "services"}
ISVC = {"name": "isvc", "group": "serving.kserve.io", "version": "v1beta1", "resource": "inferenceservices"}


@pytest.fixture
def routemap(server: Server, access: Callable[[Objects], Access]) -> Callable[[dict[str, Any]], tuple[object, object]]:
    """Run the check of a routemap of iris with two versions, where these objects are there."""

    def run(there: dict[str, Any]) -> tuple[object, object]:
        objects = Objects(server, alternate)
        objects.there = {name: {"metadata": {"labels": labels}} for name, labels in there.items()}
        versions = [{"objects": [{"type": "isvc", "name": "iris"}]},
                    {"objects": [{"type": "isvc", "name": "iris-b"}, {"type": "svc", "name": "iris-b"}]}]  # fmt: skip
        check = checks.Iter8RoutemapCheck(
            "iris", Service("iter8", 50051), application=IRIS, versions=versions, types=[SVC, ISVC]
        )
        return check.run(access(objects))

    return run


def test_a_routemap_tells_which_versions_are_there(routemap: Callable[[dict[str, Any]], tuple[object, object]]) -> None:
    watched = {"iter8.tools/watch": "true"}
    assert routemap({"iris": watched})[0] == "known, versions that are there: [0]"
    assert routemap({"iris": watched, "iris-b": watched})[0] == "known, versions that are there: [0, 1]"


def test_an_object_without_the_label_is_seen(routemap: Callable[[dict[str, Any]], tuple[object, object]]) -> None:
    with pytest.raises(CheckFailed, match=r"does not see isvc models/iris: its label iter8.tools/watch is ''"):
        routemap({"iris": {}})


def test_what_versions_are_made_of_gets_the_label_once_it_is_there(
    server: Server, access: Callable[[Objects], Access]
) -> None:
    objects = Objects(server, alternate)
    objects.there = {name: {"metadata": {"labels": {}}} for name in ("iris", "other")}
    names = [{"type": "isvc", "name": "iris"}, {"type": "svc", "name": "iris-b"}]
    step = Iter8Step(Service("iter8", 50051), watched="models", objects=names, types=[SVC, ISVC])
    changes = ["isvc models/iris labelled iter8.tools/watch"]
    assert step.apply(access(objects), check_mode=True) == changes
    assert step.apply(access(objects), check_mode=False) == changes
    assert step.apply(access(objects), check_mode=False) == []
    assert {name: item["metadata"]["labels"] for name, item in objects.there.items()} == {
        "iris": {"iter8.tools/watch": "true"},
        "other": {},
    }


def test_a_routemap_that_iter8_does_not_know_is_seen(
    routemap: Callable[[dict[str, Any]], tuple[object, object]], server: Server
) -> None:
    del server.versions[IRIS]
    with pytest.raises(Iter8Error, match="unknown application models/iris"):
        routemap({})


def one(objects: list[dict[str, str]], name: str = "iris", **more: Any) -> dict[str, Any]:
    """A routemap of one version."""
    return {"name": name, "versions": [{"objects": objects, **more}]}


IRIS_SERVICE = [{"type": "svc", "name": "iris"}]


@pytest.fixture(scope="module")
def loader() -> DataLoader:
    """Ansible's loader."""
    return DataLoader()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("routemaps", [one([{"type": "ivsc", "name": "iris"}])], "types ivsc .*; allowed are cm, svc, deploy, isvc"),
        ("routemaps", [one(IRIS_SERVICE), one(IRIS_SERVICE, "b")], "an object in one version of one routemap only"),
        ("routemaps", [{"name": "iris", "versions": []}], "needs one version or more"),
        ("routemaps", [one([], "iter8-ready")], "give it another name"),
        ("routemaps", [one([], weight=-1)], "a weight is 0 or more"),
        ("routemaps", [one([]), one([])], "'iris' is there 2 times"),
        ("resource_types", [{"name": "cm", "group": "", "version": "v1", "resource": "pods"}], "another name"),
    ],
)
def test_what_iter8_would_stumble_over_is_refused(
    tmp_path: Path, loader: DataLoader, variable: str, value: object, said: str
) -> None:
    site = Site(ROOT / "inventories" / "local", tmp_path)
    site.components["iter8"] = {f"iter8_{variable}": value}
    site.write()
    (problem,) = read(site.path, loader).problems()
    assert re.search(rf"hosts\.yml:\d+: iter8_{variable}\b.*{said}", problem)
