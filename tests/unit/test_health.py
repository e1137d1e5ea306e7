"""The runner of checks: tries again, ends in time, says what it saw."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, cast

import psycopg2.errors
import pytest
from ansible_collections.mlops.platform.plugins.module_utils import checks, health
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import (
    Access,
    Check,
    CheckFailed,
    Service,
    expect,
)
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster
from ansible_collections.mlops.platform.plugins.module_utils.component import Component
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards, NobodyReady, PodRefused
from botocore.exceptions import ClientError

NOWHERE = Access(cast(Cluster, None), Forwards(cast(Cluster, None)), "ml")  # the checks of these tests ask nobody


@dataclass(frozen=True)
class Scripted(Check):
    """A check that does what its script says, one entry an attempt; the last one is repeated."""

    script: tuple[object, ...] = (200,)
    tried: list[int] = field(default_factory=list)

    def run(self, access: Access) -> tuple[object, object]:
        """Raise the entry, or return it as what was observed."""
        step = self.script[min(len(self.tried), len(self.script) - 1)]
        self.tried.append(1)
        if isinstance(step, Exception):
            raise step
        return step, 200


@pytest.fixture(autouse=True)
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists the scripted check among the types."""
    monkeypatch.setitem(checks.CHECKS, "scripted", Scripted)


@pytest.fixture
def pauses() -> list[float]:
    return []


def run(script: tuple[object, ...], pauses: list[float], seconds: float = 60.0) -> dict[str, Any]:
    """The outcome of a scripted check; pauses are noted instead of made."""
    check = Scripted("probe", Service("web", 80), script)
    return health.attempt(check, NOWHERE, time.monotonic() + seconds, pauses.append)


def test_the_first_healthy_answer_ends_it(pauses: list[float]) -> None:
    outcome = run((200,), pauses)
    assert outcome.pop("duration_seconds") < 1
    assert outcome == {
        "name": "probe", "type": "scripted", "target": "web:80", "healthy": True,
        "observed": 200, "expected": 200, "message": "", "attempts": 1,
    }  # fmt: skip
    assert pauses == []


def test_it_is_tried_again_with_growing_pauses(pauses: list[float]) -> None:
    late = CheckFailed("not yet", 503, 200)
    outcome = run((late, late, late, late, late, 200), pauses)
    assert (outcome["healthy"], outcome["attempts"], outcome["message"]) == (True, 6, "")
    assert pauses == [0.25, 0.5, 1.0, 2.0, 2.0]


def test_the_deadline_ends_it_with_what_was_seen_last(pauses: list[float]) -> None:
    outcome = run((CheckFailed("answered 503", 503, 200),), pauses, seconds=-1)
    assert (outcome["healthy"], outcome["attempts"]) == (False, 1)
    assert (outcome["observed"], outcome["expected"], outcome["message"]) == (503, 200, "answered 503")


def test_no_pause_goes_beyond_the_deadline(pauses: list[float]) -> None:
    assert run((CheckFailed("no", 1, 2),), pauses, seconds=0.1)["attempts"] == 1
    assert pauses == []


def test_an_exception_of_a_library_is_an_outcome_with_its_name(pauses: list[float]) -> None:
    outcome = run((ConnectionRefusedError("nobody listens"),), pauses, seconds=-1)
    assert outcome["message"] == "ConnectionRefusedError: nobody listens"
    assert (outcome["observed"], outcome["expected"]) == (None, None)


def answer(status: int, code: str = "Some") -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject")  # type: ignore[typeddict-item]


LASTING = [
    CheckFailed("read-only", [1], [2]),
    CheckFailed("answered 500", 500, 200),
    answer(403, "SignatureDoesNotMatch"),
    answer(507, "XMinioStorageFull"),
    psycopg2.OperationalError('FATAL:  password authentication failed for user "mlflow"'),
    psycopg2.errors.DiskFull("could not extend file: No space left on device"),
    PlatformError("Secret ml/web does not exist"),
    PodRefused("port 1 of pod web-0: connection refused"),
]
PASSING = [
    CheckFailed("answered 503", 503, 200),
    answer(503, "SlowDown"),
    psycopg2.OperationalError("FATAL:  the database system is starting up"),
    psycopg2.OperationalError('connection to server at "127.0.0.1", port 1 failed: Connection refused'),
    NobodyReady("no pod is ready behind Service ml/web"),
    ApiError("the Kubernetes API cannot be reached", 0),
    ConnectionResetError("reset"),
    TimeoutError("timed out"),
]


@pytest.mark.parametrize("error", LASTING, ids=str)
def test_an_answer_that_lasts_is_believed_before_the_deadline(
    error: Exception, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    monkeypatch.setattr(health, "SETTLED_SECONDS", 0)
    assert run((error, 200), pauses)["healthy"] is False


@pytest.mark.parametrize("error", PASSING, ids=str)
def test_what_may_pass_is_tried_until_the_deadline(
    error: Exception, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    monkeypatch.setattr(health, "SETTLED_SECONDS", 0)
    assert (run((error, error, 200), pauses)["healthy"], len(pauses)) == (True, 2)


def test_an_exception_may_pass(pauses: list[float]) -> None:
    assert run((OSError("gone"), 200), pauses)["healthy"] is True


def test_expect() -> None:
    expect([1], [1], "equal")
    with pytest.raises(CheckFailed, match="differ") as caught:
        expect(1, 2, "differ")
    assert (caught.value.observed, caught.value.expected) == (1, 2)


def component(*found: dict[str, Any]) -> Component:
    return Component("web", "1", "ml", checks=found)


def test_checks_are_typed() -> None:
    (check,) = health.parse_checks(
        component({"name": "up", "type": "http", "service": {"name": "web", "port": "80"}, "path": "/health"})
    )
    assert check.name == "up"
    assert check.service == Service("web", 80)
    assert check.target == "web:80/health"


SERVICE = {"name": "web", "port": 80}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            {"name": "up", "type": "htp", "service": SERVICE},
            "check 'up': type is 'htp'; allowed are ",
        ),
        ({"type": "nothing"}, "check '(without a name)': type is 'nothing'"),
        ({"name": "up", "type": "http"}, "check 'up': service is None; it must be a mapping with name and port"),
        ({"name": "up", "type": "http", "service": {"port": 80}}, "check 'up': service: the key 'name' is missing"),
        ({"name": "up", "type": "http", "service": SERVICE, "pth": "/"}, "check 'up': unknown key 'pth'; allowed are"),
        ({"name": "up", "type": "sql_transaction", "service": SERVICE}, "check 'up': the key 'credentials' is missing"),
    ],
)
def test_a_wrong_check_is_named_with_what_is_wrong(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(PlatformError) as caught:
        health.parse_checks(component(raw))
    assert f"component_spec of web: {message}" in str(caught.value)


def test_full_checks_are_run_apart_from_the_quick_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_rollout", lambda *_: {"name": "rollout", "healthy": True})
    quick = {"name": "quick", "type": "scripted", "service": SERVICE}
    both = component(quick, {**quick, "name": "slow", "full": True})
    cluster = cast(Cluster, None)
    found = health.validate(cluster, both, 5.0, lambda _: None)
    assert [item["name"] for item in found] == ["rollout", "quick"]
    assert [item["name"] for item in health.validate_fully(cluster, both)] == ["slow"]
    assert health.validate_fully(cluster, component(quick)) == []


@pytest.mark.parametrize(("there", "patience"), [(True, 300.0), (False, 0)])
def test_pods_that_lack_a_premise_are_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, there: bool, patience: float
) -> None:
    waits: list[float] = []

    def rollout(_: Cluster, __: Component, timeout: float, ___: object) -> dict[str, Any]:
        waits.append(timeout)
        return {"name": "rollout", "healthy": there}

    monkeypatch.setattr(health, "_rollout", rollout)
    monkeypatch.setattr(health, "SETTLED_SECONDS", 0.0)
    answer = 200 if there else CheckFailed("no alias", "none", "one")
    asks = {"name": "asks it", "type": "scripted", "service": SERVICE}
    premise = {**asks, "name": "premise", "premise": True, "script": (answer,)}
    found = health.validate(cast(Cluster, None), component(asks, premise), 5.0, lambda _: None)
    assert waits == [patience]
    assert [(item["name"], item["healthy"]) for item in found] == [
        ("rollout", there), ("asks it", there), ("premise", there),
    ]  # fmt: skip
    assert there or found[2]["message"] == "no alias"
