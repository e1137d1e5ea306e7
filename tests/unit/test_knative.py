"""Knative's checks against a gateway that listens, and an API that says what it is told to."""

from __future__ import annotations

import http.server
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
import requests
from ansible_collections.mlops.platform.plugins.module_utils.checks import knative
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access, CheckFailed, Service
from ansible_collections.mlops.platform.plugins.module_utils.checks.knative import (
    PROGRAM,
    KnativeScaleCheck,
    KnativeServiceCheck,
)
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster, Resource
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards

KOURIER = "kourier.ingress.networking.knative.dev"
GATEWAY = Service("kourier", 80, "kourier-system")
Object = dict[str, Any]


@dataclass
class Api:
    """A cluster with Knative, in which a service is as its test says."""

    ready: Mapping[str, str] = field(default_factory=lambda: {"status": "True"})
    host: str = "{name}.{namespace}.example.org"
    ingress_class: str = KOURIER
    configuration: Mapping[str, str] = field(default_factory=lambda: {"enable-scale-to-zero": "true"})
    pods: int = 0
    refusal: str = ""
    left: list[Object] = field(default_factory=list)
    made: list[Object] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)

    def resource(self, api_version: str, kind: str) -> Resource:
        return Resource(api_version, kind, kind.lower() + "s", True)

    def request(self, method: str, path: str, *, body: Object) -> Object:
        if self.refusal:
            raise ApiError(self.refusal, 500)
        assert (method, path) == ("POST", "/apis/serving.knative.dev/v1/namespaces/knative-serving/services")
        self.made.append(body)
        return body

    def get(self, api_version: str, kind: str, name: str, namespace: str) -> Object | None:
        if kind == "Ingress":
            return {"metadata": {"annotations": {knative.INGRESS_CLASS: self.ingress_class}}}
        if kind == "ConfigMap":
            return {"data": dict(self.configuration)}
        url = f"http://{self.host.format(name=name, namespace=namespace)}"
        if not self.ready:
            return {}
        return {"status": {"url": url, "conditions": [{"type": "Ready", **self.ready}]}}

    def last_lines(self, pod: Object, container: str, lines: int) -> list[str]:
        told = {"ERROR": "Unauthorized", "INFO": "an event that tells of an error"}
        return [f'{{"severity":"{level}","message":"{text}","error":"expired"}}' for level, text in told.items()]

    def list(self, api_version: str, kind: str, namespace: str, selector: str) -> list[Object]:
        if kind == "Pod":
            return [{"metadata": {"name": "controller-0"}}]
        if kind == "Deployment":
            return [{"status": {"replicas": self.pods} if self.pods else {}}]
        assert selector == "mlops.platform/probe=true"
        return self.left

    def delete(self, api_version: str, kind: str, name: str, namespace: str) -> bool:
        self.deleted.append(name)
        return True

    def watch(self, *_: object) -> Iterator[Object]:
        time.sleep(0.05)
        yield {}

    def answer(self, host: str, path: str) -> tuple[int, str]:
        """What a right gateway answers."""
        name = host.partition(".")[0]
        for service in self.made:
            if service["metadata"]["name"] == name:
                (variable,) = service["spec"]["template"]["spec"]["containers"][0]["env"]
                return 200, f"{variable['value']} {path}"
        return 404, ""


class Ways(Forwards):
    """Ways to the gateway that listens; Knative's own Services are there but for `nobody`."""

    def __init__(self, gateway: int, nobody: str = "") -> None:
        super().__init__(cast(Cluster, None))
        self._gateway, self._nobody = gateway, nobody

    def port(self, namespace: str, service: str, port: int) -> int:
        if service == self._nobody:
            raise PlatformError(f"Service {namespace}/{service} leads nowhere")
        return self._gateway


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def gateway(api: Api) -> Iterator[int]:
    """The port of a gateway that asks `api` for its answers."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = api.answer(self.headers["Host"], self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knative, "PATIENCE_SECONDS", 0)


def access(api: Api, port: int, seconds: float = 10.0, nobody: str = "") -> Access:
    deadline = time.monotonic() + seconds
    return Access(cast(Cluster, api), Ways(port, nobody), "knative-serving", deadline=deadline)


SERVES = KnativeServiceCheck("serves", GATEWAY, image="python", domain="example.org", ingress_class=KOURIER)
SCALES = KnativeScaleCheck("scales", GATEWAY, image="python", domain="example.org", ingress_class=KOURIER, full=True)


def test_a_service_is_made_asked_by_its_host_and_removed(api: Api, gateway: int) -> None:
    observed, _ = SERVES.run(access(api, gateway))
    assert set(cast(dict[str, float], observed)) == {"ready_seconds", "warm_milliseconds"}
    (made,) = api.made
    assert api.deleted == [made["metadata"]["name"]]
    (container,) = made["spec"]["template"]["spec"]["containers"]
    # The defaults of the platform are proven by a service that relies on them.
    assert container["securityContext"] == {"runAsUser": 65532}
    assert SERVES.target == "kourier:80 for *.example.org"


def test_a_service_that_goes_to_zero_is_asked_again(api: Api, gateway: int) -> None:
    observed, _ = SCALES.run(access(api, gateway))
    assert set(cast(dict[str, float], observed)) == {"to_zero_seconds", "from_zero_seconds"}
    annotations = api.made[0]["spec"]["template"]["metadata"]["annotations"]
    assert annotations["autoscaling.knative.dev/window"] == "6s"


def test_an_answer_that_is_another_service_s_is_none(api: Api, gateway: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "answer", lambda *_: (200, "It works!"))
    with pytest.raises(CheckFailed, match="answered 200: 'It works!', which is not what it was given"):
        SERVES.run(access(api, gateway))
    assert len(api.deleted) == 1


def test_a_refusal_of_the_gateway_is_told(api: Api, gateway: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "answer", lambda *_: (503, "no healthy upstream"))
    with pytest.raises(CheckFailed, match="through kourier:80 answered 503: no healthy upstream") as caught:
        SERVES.run(access(api, gateway))
    assert caught.value.observed == 503  # which may pass


@pytest.mark.parametrize(
    ("told", "nobody", "cause"),
    [
        (
            {"ready": {"status": "False", "reason": "RevisionFailed", "message": "Back-off pulling image"}},
            "",
            "the service is not ready: RevisionFailed: Back-off pulling image",
        ),
        (
            {"ready": {"status": "Unknown"}, "ingress_class": "istio.ingress.networking.knative.dev"},
            "",
            f"asks for the class istio.ingress.networking.knative.dev, the gateway serves {KOURIER}",
        ),
        ({"ready": {"status": "Unknown"}}, "autoscaler", "^Service knative-serving/autoscaler leads nowhere$"),
        ({"host": "{name}.elsewhere.org"}, "", r"has the host knative-probe-\w+.elsewhere.org, not knative-probe"),
        (
            {"refusal": 'failed calling webhook "webhook.serving.knative.dev"'},
            "webhook",
            'refused: failed calling webhook "webhook.*"; Service knative-serving/webhook leads nowhere',
        ),
    ],
)
def test_what_keeps_a_service_from_being_ready_is_found_at_once(
    api: Api, gateway: int, told: dict[str, Any], nobody: str, cause: str
) -> None:
    for name, value in told.items():
        setattr(api, name, value)
    started = time.monotonic()
    with pytest.raises(CheckFailed) as caught:
        SERVES.run(access(api, gateway, nobody=nobody))
    assert re.search(cause, str(caught.value)), caught.value
    assert time.monotonic() - started < 5
    assert len(api.deleted) == len(api.made)


def test_a_service_of_which_nothing_is_known_is_waited_for_until_the_deadline(api: Api, gateway: int) -> None:
    api.ready = {"status": "Unknown", "reason": "Deploying"}
    started = time.monotonic()
    with pytest.raises(CheckFailed, match="the service did not get ready: Deploying"):
        SERVES.run(access(api, gateway, seconds=2.0))
    assert 1.5 < time.monotonic() - started < 3


def test_a_controller_that_does_nothing_is_quoted(api: Api, gateway: int) -> None:
    api.ready = {}
    with pytest.raises(CheckFailed, match="does nothing about the service; controller-0 says: Unauthorized: expired"):
        SERVES.run(access(api, gateway, seconds=1.5))


@pytest.mark.parametrize(
    ("told", "cause"),
    [
        ({"configuration": {"enable-scale-to-zero": "false"}}, "config-autoscaler says enable-scale-to-zero: false"),
        ({}, "the service still has 1 pod; Service knative-serving/autoscaler leads nowhere"),
    ],
)
def test_what_keeps_a_service_from_going_to_zero(api: Api, gateway: int, told: dict[str, Any], cause: str) -> None:
    api.pods = 1
    for name, value in told.items():
        setattr(api, name, value)
    with pytest.raises(CheckFailed, match=cause):
        SCALES.run(access(api, gateway, seconds=2.0, nobody="autoscaler"))


def test_an_api_that_does_not_answer_may_do_so_later(api: Api, gateway: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def silence(*_: object, **__: object) -> Object:
        raise ApiError("cannot be reached", 0)

    monkeypatch.setattr(api, "request", silence)
    with pytest.raises(ApiError):
        SERVES.run(access(api, gateway))


def test_what_a_killed_run_left_is_removed(api: Api, gateway: int) -> None:
    now = datetime.now(UTC)
    ages = {"old": 3600, "of-another-run": 5}
    api.left = [
        {"metadata": {"name": name, "creationTimestamp": f"{now - timedelta(seconds=age):%Y-%m-%dT%H:%M:%SZ}"}}
        for name, age in ages.items()
    ]
    SERVES.run(access(api, gateway))
    assert api.deleted[0] == "old"
    assert "of-another-run" not in api.deleted


def test_the_program_answers_with_what_it_was_given() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as free:
        port = free.server_address[1]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env={**os.environ, "ANSWER": "secret-of-the-day", "PORT": str(port)}
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                answer = requests.get(f"http://127.0.0.1:{port}/somewhere", timeout=5)
                break
            except requests.ConnectionError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert (answer.status_code, answer.text) == (200, "secret-of-the-day /somewhere")
    finally:
        process.terminate()
    assert process.wait(5) == 0, "it must end when it is asked to"
