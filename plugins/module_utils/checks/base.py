# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all checks share: their parameters, their access to services, their outcome."""

from __future__ import annotations

import math
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit

from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster
from ansible_collections.mlops.platform.plugins.module_utils.component import build
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError, without_login
from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards

T = TypeVar("T")

LOOPBACK = "127.0.0.1"
IN_CLUSTER = re.compile(r"([a-z0-9-]+)\.([a-z0-9-]+)\.svc(?:\..+)?")
"""The name of a Service of the cluster: <service>.<namespace>.svc, with or without the cluster's domain."""
PROBE_LABEL = "mlops.platform/probe"
"""On what checks make in a cluster and remove again."""
LEFT_SECONDS = 600
"""The age at which what a check made is something that a killed run left."""
REQUEST_SECONDS = 10
"""Time for one request of a check; the runner tries again until its own deadline."""


class CheckFailed(Exception):
    """A check that ran and saw something else than it expects."""

    def __init__(self, message: str, observed: object, expected: object) -> None:
        super().__init__(message)
        self.observed = observed
        self.expected = expected


class NotYet(CheckFailed):
    """A check that saw what may still become what it expects: what is loaded, scraped, made by somebody else."""


@dataclass(frozen=True)
class Access:
    """How checks and configuration steps reach services and their credentials.

    `ca_file` has the authorities that clients trust. `declared` are Secrets whose values the user gave, by
    "namespace/name": they count before they are in the cluster. Checks have to end by `deadline`, a time of the
    monotonic clock.
    """

    cluster: Cluster
    forwards: Forwards
    namespace: str
    ca_file: str = ""
    declared: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    deadline: float = math.inf

    @property
    def left(self) -> float:
        """Seconds until checks have to end."""
        return self.deadline - time.monotonic()

    def address(self, service: Service) -> tuple[str, int]:
        """Host and port where `service` answers on this machine."""
        return LOOPBACK, self.forwards.port(service.namespace or self.namespace, service.name, service.port)

    def reached(self, host: str, port: int) -> tuple[str, int]:
        """Where `host` answers for this machine: at its name, but a Service's name is known in its cluster alone."""
        found = IN_CLUSTER.fullmatch(host)
        return self.address(Service(found[1], port, found[2])) if found else (host, port)

    def trouble(self, service: Endpoint) -> PlatformError | None:
        """Why the last connection to `service` did not come about, where that is known."""
        if isinstance(service, External):
            return None
        return self.forwards.trouble(service.namespace or self.namespace, service.name, service.port)

    def url(self, service: Endpoint) -> str:
        """The HTTP URL of `service` without a trailing slash."""
        if isinstance(service, Service):
            host, port = self.address(service)
        else:
            parts = urlsplit(service.url)
            host, port = self.reached(parts.hostname or "", parts.port or 80)
            if parts.scheme == "https" or host == parts.hostname:
                return service.url.rstrip("/")
            host = "".join(parts.netloc.rpartition("@")[:2]) + host
        return f"http://{host}:{port}"

    def secret(self, name: str, *keys: str) -> list[str]:
        """Values of a Secret, in the order of `keys`; `name` may say "namespace/name"."""
        namespace, _, short = name.rpartition("/")
        namespace = namespace or self.namespace
        values = self.declared.get(f"{namespace}/{short}") or self.cluster.secret(short, namespace)
        if values is None:
            raise PlatformError(f"Secret {namespace}/{short} does not exist")
        for key in keys:
            if key not in values:
                raise PlatformError(f"Secret {namespace}/{short} has no key {key!r}")
        return [values[key] for key in keys]


@dataclass(frozen=True)
class Service:
    """A Service of the cluster and one of its ports."""

    name: str
    port: int
    namespace: str = ""

    @classmethod
    def parse(cls, raw: Any, where: str) -> Service:
        """A service from a role's data: {name, port, namespace}."""
        if not isinstance(raw, Mapping):
            raise PlatformError(f"{where}: service is {raw!r}; it must be a mapping with name and port")
        return build(cls, {**raw, "port": int(raw.get("port", 0))}, f"{where}: service")

    def __str__(self) -> str:
        return f"{self.name}:{self.port}"


@dataclass(frozen=True)
class External:
    """A service that is not the platform's own: its URL, whose login is not shown, and the variables that declare it.

    `login` are the variables of user and password, `place` that of the bucket or database; those that are not said are
    `variable`, which declares the URL.
    """

    url: str
    variable: str
    login: str = ""
    place: str = ""

    def __str__(self) -> str:
        return without_login(self.url)


Endpoint = Service | External


def parse_endpoint(raw: Any, where: str) -> Endpoint:
    """A service from a role's data: {name, port, namespace} in the cluster, or {url, variable, ...} elsewhere."""
    if isinstance(raw, Mapping) and "url" in raw:
        return build(External, raw, f"{where}: service")
    return Service.parse(raw, where)


@dataclass(frozen=True)
class Check(ABC):
    """One check: `name` says what is proven, `service` where.

    A `full` check may take minutes (something goes away and comes back): it runs after a change, and where it is asked
    for. A `premise` is what the pods themselves cannot become ready without: it is tried before they are waited for.
    """

    name: str
    service: Endpoint
    full: bool = field(default=False, kw_only=True)
    premise: bool = field(default=False, kw_only=True)
    beforehand: ClassVar[bool] = True
    """Whether what is not the platform's own can be proven before anything is applied."""

    @property
    def target(self) -> str:
        """What the check talks to, for people."""
        return str(self.service)

    @abstractmethod
    def run(self, access: Access) -> tuple[object, object]:
        """Perform the transaction; returns what was observed and what is expected.

        Raises CheckFailed where they differ; any other exception means the transaction failed.
        """


def parse_typed(raw: Mapping[str, Any], types: Mapping[str, type[T]], where: str) -> T:
    """What a role's data describe: an instance of the class that their `type` names.

    Raises PlatformError, beginning with `where`, for an unknown type and for wrong or missing parameters.
    """
    kind = raw.get("type")
    if kind not in types:
        raise PlatformError(f"{where}: type is {kind!r}; allowed are {', '.join(sorted(types))}")
    values = {key: value for key, value in raw.items() if key != "type"}
    return build(types[str(kind)], {**values, "service": parse_endpoint(raw.get("service"), where)}, where)


def abandoned(item: Mapping[str, Any]) -> bool:
    """Whether an object that a check made was left by a run that was killed: checks beside this one are younger."""
    made = datetime.fromisoformat(item["metadata"]["creationTimestamp"])
    return (datetime.now(UTC) - made).total_seconds() > LEFT_SECONDS


def expect(observed: object, expected: object, message: str) -> None:
    """Raise CheckFailed unless the two are equal."""
    if observed != expected:
        raise CheckFailed(message, observed, expected)
