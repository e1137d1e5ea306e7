# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of Iter8: which version of an application a user gets, and what is counted for each version.

The protocol is `service ABN` of abn/grpc/abn.proto in the module github.com/iter8-tools/iter8: small messages, made at
run time from a description.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import urllib3
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

SECONDS = 10.0
"""Time for one answer."""
GRPC_PORT, HTTP_PORT = 50051, 8080
"""The ports of the Service `iter8`: look-ups and metrics, summaries (defaults of abn/service.go, metrics/server.go)."""
WATCH_LABEL, WATCHED = "iter8.tools/watch", "true"
"""On objects that Iter8 watches (controllers/allcontrollers.go)."""
ROUTEMAP_LABELS = {"iter8.tools/kind": "routemap", "iter8.tools/version": "v1.1"}
"""On ConfigMaps that it reads as routemaps."""
SEPARATOR = ":"
"""Separates parts of its store's keys: what contains it is taken, and dropped without a word (storage/util.go)."""
DECIMALS = 6
"""The decimals with which it keeps a value (%f in storage/badgerdb/badgerdb.go)."""
MESSAGES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "Application": (("name", "STRING"), ("user", "STRING")),
    "VersionRecommendation": (("versionNumber", "INT32"),),
    "MetricValue": (("name", "STRING"), ("value", "STRING"), ("application", "STRING"), ("user", "STRING")),
    "Empty": (),
}
"""The fields of each message with their types, numbered from 1. Empty is google.protobuf.Empty, without any."""


class Iter8Error(PlatformError):
    """What Iter8 refused, in its words."""


@dataclass(frozen=True)
class Summary:
    """The values of one metric that were written for one version.

    `deviation` is the standard deviation of just these values (divided by their number, not by one less).
    """

    count: int
    mean: float
    deviation: float
    least: float
    largest: float


class Iter8:
    """The users of one application, as Iter8 shares them out among its versions.

    `application` is "namespace/name" of a routemap; `grpc` is host:port for look-ups and metrics, `http` the pool that
    summaries are asked of. Refusals raise Iter8Error; ConnectionError, or urllib3's HTTPError, is silence.
    """

    def __init__(self, grpc: str, http: urllib3.HTTPConnectionPool, application: str) -> None:
        try:
            import grpc as library  # a tenth of a second, for nobody but its users
        except ImportError as error:
            raise PlatformError("Iter8's client needs the Python packages grpcio and protobuf: install them") from error
        self.application = application
        self._http = http
        # A proxy of the environment is for the world outside.
        self._channel = library.insecure_channel(grpc, options=[("grpc.enable_http_proxy", 0)])
        self._refusal: type[Exception] = library.RpcError
        self._silence = {library.StatusCode.UNAVAILABLE, library.StatusCode.DEADLINE_EXCEEDED}
        self._lookup = self._method("Lookup", "Application", "VersionRecommendation")
        self._write = self._method("WriteMetric", "MetricValue", "Empty")

    @classmethod
    @contextmanager
    def at(cls, grpc: tuple[str, int], http: tuple[str, int], application: str) -> Iterator[Self]:
        """A client of the service whose two ports answer at these hosts and ports."""
        with urllib3.HTTPConnectionPool(*http, timeout=SECONDS, retries=False) as pool:
            found = cls(f"{grpc[0]}:{grpc[1]}", pool, application)
            try:
                yield found
            finally:
                found.close()

    def close(self) -> None:
        """Close the connection for look-ups and metrics."""
        self._channel.close()

    def lookup(self, user: str) -> int:
        """The version of a user: its place in the routemap's list, from 0.

        It is the same each time until the versions change, or the service is started anew. Looking up counts the
        user as one of the application's.
        """
        answer = self._call(self._lookup, {"name": self.application, "user": _key("user", user)})
        return int(answer.versionNumber)

    def write_metric(self, user: str, metric: str, value: float) -> None:
        """Add a value of a metric for the version that the user has. It is kept with six decimals, for a day."""
        if not math.isfinite(value):
            raise PlatformError(f"Iter8: the metric {metric} is {value}; allowed are finite numbers")
        fields = {"name": _key("metric", metric), "value": repr(float(value)), "application": self.application}
        self._call(self._write, {**fields, "user": _key("user", user)})

    def summary(self) -> dict[str, dict[int, Summary]]:
        """What was written for the versions as they are now: by metric and version.

        Values that were written before an object of a version was changed count as another version's. Iter8's own
        summary by user is left out: to users without a value it gives 0, or 10 (storage/badgerdb/badgerdb.go).
        """
        namespace, _, name = self.application.partition("/")
        answer = self._http.request("GET", "/abnDashboard", fields={"namespace": namespace, "application": name})
        if answer.status != 200:
            said = answer.data.decode(errors="replace").strip()
            raise Iter8Error(f"Iter8 has no summary of {self.application}: {said}")
        return {
            metric: {item["Version"]: _summary(item) for item in found["SummaryOverTransactions"] if item["Count"]}
            for metric, found in answer.json().items()
        }

    def _method(self, name: str, request: str, answer: str) -> Callable[..., Any]:
        made = messages()
        return self._channel.unary_unary(  # type: ignore[no-any-return]
            f"/main.ABN/{name}",
            request_serializer=lambda fields: made[request](**fields).SerializeToString(),
            response_deserializer=made[answer].FromString,
        )

    def _call(self, method: Callable[..., Any], fields: Mapping[str, str]) -> Any:
        try:
            return method(fields, timeout=SECONDS)
        except self._refusal as error:
            code, said = error.code(), error.details()  # type: ignore[attr-defined]
            if code in self._silence:
                raise ConnectionError(f"Iter8 does not answer: {said}") from error
            raise Iter8Error(f"Iter8 refuses {self.application}: {said}") from error


@functools.cache
def messages() -> dict[str, Any]:
    """The classes of the protocol's messages by name."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="abn.proto", package="main", syntax="proto3")
    for message, fields in MESSAGES.items():
        made = file.message_type.add(name=message)
        for number, (field, kind) in enumerate(fields, 1):
            made.field.add(
                name=field,
                number=number,
                type=descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{kind}"),
                label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"main.{name}")) for name in MESSAGES}


def path(namespace: str, item: Mapping[str, str], types: Sequence[Mapping[str, str]]) -> str:
    """Where the API has an object {type, name} of a version; `types` say of each {name, group, version, resource}."""
    kind = next(kind for kind in types if kind["name"] == item["type"])
    group = f"/apis/{kind['group']}" if kind["group"] else "/api"
    return f"{group}/{kind['version']}/namespaces/{namespace}/{kind['resource']}/{item['name']}"


def label(cluster: Cluster, path: str) -> str | None:
    """The value of the label by which Iter8 sees an object, "" where it has none, None where there is no object."""
    try:
        found = cluster.request("GET", path)
    except ApiError as error:
        if error.status != 404:
            raise
        return None
    return str((found["metadata"].get("labels") or {}).get(WATCH_LABEL, ""))


def _key(what: str, text: str) -> str:
    """A text that Iter8 can keep. Raises PlatformError for others, which it would drop without a word."""
    if not text or SEPARATOR in text:
        raise PlatformError(f"Iter8: the {what} is {text!r}; allowed is a text, not empty, without {SEPARATOR}")
    return text


def _summary(item: Mapping[str, Any]) -> Summary:
    return Summary(item["Count"], item["Mean"], item["StdDev"], item["Min"], item["Max"])
