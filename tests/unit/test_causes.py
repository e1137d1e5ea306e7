"""Causes that are told from what the cluster says: of Services that lead nowhere, of refused pods, of logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest
from ansible_collections.mlops.platform.plugins.module_utils import waiting
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards, NobodyReady


class Answers:
    """A cluster with one Service and some pods, none of which is ready behind it."""

    def __init__(self, target: object, pods: list[dict[str, Any]]) -> None:
        self._target, self._pods = target, pods

    def get(self, api_version: str, kind: str, name: str, namespace: str) -> dict[str, Any]:
        spec = {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": self._target}]}
        return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}

    def list(self, api_version: str, kind: str, namespace: str, selector: str) -> list[dict[str, Any]]:
        return self._pods if kind == "Pod" else []


POD = {"spec": {"containers": [{"name": "web", "ports": [{"name": "http", "containerPort": 8080}]}]}}


@pytest.mark.parametrize(
    ("target", "pods", "message", "may_pass"),
    [
        ("http", [], "Service ml/web leads nowhere: no pod has its selector app=web", False),
        ("htpp", [POD], "Service ml/web leads nowhere: its pods have no port named 'htpp'", False),
        ("http", [POD], "no pod is ready behind Service ml/web", True),
        (8080, [POD], "no pod is ready behind Service ml/web", True),
    ],
)
def test_why_nothing_is_behind_a_service(
    target: object, pods: list[dict[str, Any]], message: str, may_pass: bool
) -> None:
    with Forwards(cast(Cluster, Answers(target, pods))) as forwards, pytest.raises(PlatformError) as caught:
        forwards.port("ml", "web", 80)
    assert (str(caught.value), isinstance(caught.value, NobodyReady)) == (message, may_pass)


def refused(at: str, uid: str = "w", reason: str = "FailedCreate") -> dict[str, Any]:
    return {
        "metadata": {}, "involvedObject": {"uid": uid}, "reason": reason, "message": f"refused {at}",
        "lastTimestamp": f"2026-01-01T00:00:{at}Z",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("events", "cause"),
    [
        ([refused("09"), refused("11")], "refused 11"),
        ([refused("11"), refused("12"), refused("09")], "refused 12"),
        ([refused("09")], None),  # of what the workload was before
        ([refused("10")], None),  # in the second of the change: of before or after it
        ([refused("11", uid="other"), refused("11", reason="Killing")], None),
    ],
)
def test_a_refusal_counts_where_it_is_of_the_workload_as_it_is_now(
    events: list[dict[str, Any]], cause: str | None
) -> None:
    managed = [
        {"manager": "mlops.platform", "time": "2026-01-01T00:00:10Z"},
        {"manager": "kube-controller-manager", "subresource": "status", "time": "2026-01-01T00:00:30Z"},
    ]
    workload = {"metadata": {"namespace": "ml", "uid": "w", "managedFields": managed}}
    assert waiting._refusal(lambda *_: events, workload) == cause


def test_the_last_complaint_of_a_log() -> None:
    lines = [
        "INFO starting",
        "OSError: [Errno 28] No space left on device",
        '10.0.0.1 - "PUT /artifacts/error.bin HTTP/1.1" 500 Internal Server Error',
        "INFO goodbye",
    ]
    assert waiting.complaint(lines) == "OSError: [Errno 28] No space left on device"
    assert waiting.complaint(["INFO all is well"]) == ""
    goodbye = ["RuntimeError: no weights are here", "INFO: shutting down", "asyncio.exceptions.CancelledError"]
    assert waiting.complaint(goodbye) == "RuntimeError: no weights are here"


class Logs:
    """A cluster in which every container wrote the same."""

    def __init__(self, *lines: str) -> None:
        self._lines = list(lines)

    def last_lines(self, pod: Mapping[str, Any], container: str, lines: int = 0) -> list[str]:
        return self._lines


@pytest.mark.parametrize(
    ("lines", "words"),
    [(["a", "fatal: no configuration", "bye"], ": fatal: no configuration"), (["a", "b", ""], ": b"), ([], "")],
)
def test_the_last_words_of_a_container(lines: list[str], words: str) -> None:
    assert waiting._last_words(cast(Cluster, Logs(*lines)), {}, "main") == words
