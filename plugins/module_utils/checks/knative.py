# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Knative: a service that a check makes is answered through the gateway, goes to zero and comes back."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import (
    PROBE_LABEL,
    Access,
    Check,
    CheckFailed,
    Service,
    abandoned,
    expect,
)
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Object
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.rollout import conditions
from ansible_collections.mlops.platform.plugins.module_utils.waiting import Waker, complaint

SERVING = "serving.knative.dev/v1"
INGRESS = "networking.internal.knative.dev/v1alpha1"
INGRESS_CLASS = "networking.knative.dev/ingress.class"
AUTOSCALING = "autoscaling.knative.dev"
PARTS = {"activator-service": 80, "autoscaler": 8080, "webhook": 443}
"""Services of Knative's own, by which requests go, with one of their ports."""
PATIENCE_SECONDS = 6.0
"""How long a service may be on its way until somebody asks why it does not arrive."""
COLD_SECONDS = 60.0
"""The time that an answer may take where a pod must be started for it."""
LAST_SECONDS = 0.2
"""Time before the deadline in which a failure is put into words: too little for another try."""
WARM_REQUESTS = 5
SHORTEST_WINDOW = "6s"
"""The shortest window that the autoscaler takes (WindowMin in knative.dev/serving/pkg/apis/autoscaling)."""
PROGRAM = """
import http.server, os, signal

class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = f"{os.environ['ANSWER']} {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Answer).serve_forever()
"""
"""What the service runs: it answers with a value of its own and the path that it was asked for."""


@dataclass(frozen=True)
class KnativeCheck(Check):
    """A check that makes a Knative service and asks it through the gateway, which is its `service`.

    `image` has python3. Hosts end in `domain`; `ingress_class` is the one that the gateway serves. `pull_secrets` are
    the names of the Secrets that the image is pulled with.
    """

    image: str
    domain: str
    ingress_class: str
    pull_secrets: Sequence[str] = ()

    @property
    def target(self) -> str:
        return f"{self.service} for *.{self.domain}"

    @contextlib.contextmanager
    def made(self, access: Access, **annotations: str) -> Iterator[Probe]:
        """A new service that is ready; it is removed at the end, like those that a killed run left."""
        _remove_left(access)
        probe = Probe(self, access, f"knative-probe-{secrets.token_hex(3)}", secrets.token_hex(8))
        probe.make(annotations)
        try:
            probe.await_ready()
            yield probe
        finally:
            access.cluster.delete(SERVING, "Service", probe.name, access.namespace)


@dataclass(frozen=True)
class KnativeServiceCheck(KnativeCheck):
    """A new service gets ready, has its host under the domain, and answers through the gateway with its own value."""

    def run(self, access: Access) -> tuple[object, object]:
        started = time.monotonic()
        with self.made(access) as probe:
            ready = time.monotonic() - started
            probe.ask()
            warm = min(probe.ask() for _ in range(WARM_REQUESTS))
        observed = {"ready_seconds": round(ready, 1), "warm_milliseconds": round(warm * 1000)}
        return observed, "an answer with the value that the service was given"


@dataclass(frozen=True)
class KnativeScaleCheck(KnativeCheck):
    """A service that nobody asks goes to zero pods, and answers again, with the same value, when it is asked."""

    def run(self, access: Access) -> tuple[object, object]:
        _see_zero_allowed(access)
        short = {"window": SHORTEST_WINDOW, "min-scale": "0", "initial-scale": "1", "class": f"kpa.{AUTOSCALING}"}
        with self.made(access, **{f"{AUTOSCALING}/{key}": value for key, value in short.items()}) as probe:
            probe.ask()
            started = time.monotonic()
            probe.await_zero()
            zero = time.monotonic() - started
            again = probe.ask()
        observed = {"to_zero_seconds": round(zero, 1), "from_zero_seconds": round(again, 1)}
        return observed, "no pod, and then the same answer"


@dataclass(frozen=True)
class Probe:
    """The service `name` of a check, which answers with `value`."""

    check: KnativeCheck
    access: Access
    name: str
    value: str

    @property
    def host(self) -> str:
        """The name under which the gateway must know the service."""
        return f"{self.name}.{self.access.namespace}.{self.check.domain}"

    def make(self, annotations: Mapping[str, str]) -> None:
        """Make the service; CheckFailed where the cluster refuses it."""
        path = self.access.cluster.resource(SERVING, "Service").path(self.access.namespace)
        try:
            self.access.cluster.request("POST", path, body=self.manifest(annotations))
        except ApiError as error:
            if not error.status:
                raise
            raise CheckFailed(f"the service was refused: {error}{self._nobody()}", str(error), "a service") from error

    def manifest(self, annotations: Mapping[str, str]) -> Object:
        """The service. It says nothing of security but its user: Knative's own defaults must let it in."""
        container = {
            "image": self.check.image,
            "command": ["python3", "-c", PROGRAM],
            "env": [{"name": "ANSWER", "value": self.value}],
            "securityContext": {"runAsUser": 65532},
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "128Mi"}},
        }
        pod = {
            "containers": [container],
            "timeoutSeconds": 10,  # which is also how long its pod may take to end
            "responseStartTimeoutSeconds": 10,
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "imagePullSecrets": [{"name": name} for name in self.check.pull_secrets],
        }
        return {
            "apiVersion": SERVING,
            "kind": "Service",
            "metadata": {"name": self.name, "namespace": self.access.namespace, "labels": {PROBE_LABEL: "true"}},
            "spec": {"template": {"metadata": {"annotations": dict(annotations)}, "spec": pod}},
        }

    def await_ready(self) -> None:
        """Return when the service is ready; CheckFailed with the cause where that cannot be, or is not in time."""

        def ready() -> bool:
            found = self.access.cluster.get(SERVING, "Service", self.name, self.access.namespace) or {}
            condition = conditions(found).get("Ready", {})
            if condition.get("status") == "False":
                raise CheckFailed(f"the service is not ready: {_said(condition)}", _said(condition), "Ready")
            if condition.get("status") != "True":
                return False
            host = urlsplit(str(found["status"].get("url"))).hostname
            expect(host, self.host, f"the service has the host {host}, not {self.host}")
            return True

        self._await(ready, (SERVING, "Service"), self._why_not_ready)

    def await_zero(self) -> None:
        """Return when no pod of the service is left but those that end; CheckFailed where that is not in time."""

        def gone() -> bool:
            found = self._deployments()
            return bool(found) and not any((item.get("status") or {}).get("replicas") for item in found)

        self._await(gone, ("apps/v1", "Deployment"), self._why_not_zero)

    def ask(self) -> float:
        """Ask the service through the gateway, and see its value and the path; returns the seconds it took."""
        path = f"/{secrets.token_hex(4)}"
        started = time.monotonic()
        url, seconds = self.access.url(self.check.service) + path, min(self._left(), COLD_SECONDS)
        answer = requests.get(url, headers={"Host": self.host}, timeout=max(seconds, 1.0))
        took = time.monotonic() - started
        said = f"GET {path} of {self.host} through {self.check.service} answered {answer.status_code}"
        if answer.status_code != 200:
            raise CheckFailed(f"{said}: {answer.text[:200]}{self._nobody()}", answer.status_code, 200)
        expect(answer.text, f"{self.value} {path}", f"{said}: {answer.text[:200]!r}, which is not what it was given")
        return took

    def _await(self, done: Callable[[], bool], kind: tuple[str, str], why: Callable[[bool], str]) -> None:
        """Return when `done`, which is looked at whenever the service's objects of `kind` change.

        `why` says what keeps it from that; asked with False it is "" where waiting may help.
        """
        cluster, started = self.access.cluster, time.monotonic()
        name = f"serving.knative.dev/service={self.name}" if kind[0] != SERVING else f"{PROBE_LABEL}=true"
        with Waker(cluster, [cluster.resource(*kind).path(self.access.namespace)], name) as waker:
            while not done():
                late = self._left() <= 0
                if late or time.monotonic() - started > PATIENCE_SECONDS:
                    cause = why(late)
                    if late or cause:
                        raise CheckFailed(cause, "not in time" if late else "not possible", "in time")
                waker.wait(min(2.0, max(self._left(), 0.2)))

    def _left(self) -> float:
        """Seconds until a failure must be told."""
        return self.access.left - LAST_SECONDS

    def _why_not_ready(self, late: bool) -> str:
        """What keeps the service from being ready; "" where nothing is known and it is not late."""
        space = self.access.namespace
        ingress = self.access.cluster.get(INGRESS, "Ingress", self.name, space) or {"metadata": {}}
        wanted = (ingress["metadata"].get("annotations") or {}).get(INGRESS_CLASS, self.check.ingress_class)
        if wanted != self.check.ingress_class:
            return f"its Ingress asks for the class {wanted}, the gateway serves {self.check.ingress_class}"
        nobody = self._nobody().removeprefix("; ")
        if not late or nobody:
            return nobody
        found = self.access.cluster.get(SERVING, "Service", self.name, space) or {}
        if not conditions(found):
            return f"Knative's controller does nothing about the service{self._controller_says()}"
        return f"the service did not get ready: {_said(conditions(found).get('Ready', {}))}"

    def _why_not_zero(self, late: bool) -> str:
        """What keeps the service from going to zero; "" where it is not late."""
        if not late:
            return ""
        pods = sum((item.get("status") or {}).get("replicas", 0) for item in self._deployments())
        return f"the service still has {pods} pod{self._nobody()}"

    def _controller_says(self) -> str:
        """The last complaint of Knative's controller, as the end of a sentence; "" where it has none."""
        for pod in self.access.cluster.list("v1", "Pod", self.access.namespace, "app=controller"):
            lines = self.access.cluster.last_lines(pod, "controller", lines=50)
            if told := complaint([line for line in lines if '"severity":"INFO"' not in line]):
                return f"; {pod['metadata']['name']} says: {_message(told)}"
        return ""

    def _deployments(self) -> Sequence[Object]:
        selector = f"serving.knative.dev/service={self.name}"
        return self.access.cluster.list("apps/v1", "Deployment", self.access.namespace, selector)

    def _nobody(self) -> str:
        """Which of Knative's own Services has nobody behind it, as the end of a sentence; "" where all have."""
        for name, port in PARTS.items():
            try:
                self.access.address(Service(name, port))
            except PlatformError as error:
                return f"; {error}"
        return ""


def _see_zero_allowed(access: Access) -> None:
    """See that Knative's configuration lets services go to zero."""
    config = access.cluster.get("v1", "ConfigMap", "config-autoscaler", access.namespace) or {}
    allowed = (config.get("data") or {}).get("enable-scale-to-zero")
    expect(allowed, "true", f"ConfigMap config-autoscaler says enable-scale-to-zero: {allowed}")


def _said(condition: Mapping[str, Any]) -> str:
    """What a condition says of its reason."""
    return ": ".join(str(condition[key]) for key in ("reason", "message") if condition.get(key)) or "no word yet"


def _message(line: str) -> str:
    """What a line of a log says, which Knative writes as JSON."""
    try:
        found = json.loads(line)
    except ValueError:
        return line
    return ": ".join(str(found[key]) for key in ("message", "error") if found.get(key)) or line


def _remove_left(access: Access) -> None:
    """Delete the services of checks that were killed."""
    for item in access.cluster.list(SERVING, "Service", access.namespace, f"{PROBE_LABEL}=true"):
        if abandoned(item):
            access.cluster.delete(SERVING, "Service", item["metadata"]["name"], access.namespace)
