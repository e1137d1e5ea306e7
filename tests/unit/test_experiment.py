"""Experiments: what is refused of them, how counters are read, what a load makes of answers, what killed runs leave."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
import urllib3
import yaml
from ansible_collections.mlops.platform.plugins.action.models import ActionModule
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.experiments.counters import NotCounted, rises, wait
from ansible_collections.mlops.platform.plugins.module_utils.experiments.load import (
    MOST_AT_ONCE,
    Load,
    Request,
    Rows,
    Sender,
    at_once,
    until_both_answer,
)
from ansible_collections.mlops.platform.plugins.module_utils.experiments.settings import Settings
from ansible_collections.mlops.platform.plugins.module_utils.manifests import COMPONENT_LABEL, Manifest
from ansible_collections.mlops.platform.plugins.module_utils.models import inference_service
from ansible_collections.mlops.platform.plugins.module_utils.models.canary import ClusterStage, Gate, Line
from ansible_collections.mlops.platform.plugins.module_utils.models.deploy import Record
from ansible_collections.mlops.platform.plugins.module_utils.models.plan import Verb, plan
from ansible_collections.mlops.platform.plugins.module_utils.models.predict import Reference, V2Client
from ansible_collections.mlops.platform.plugins.module_utils.models.release import Done, Release, Rules, StepFailed
from ansible_collections.mlops.platform.plugins.module_utils.models.releasing import Deciding, Releasing, Versions
from ansible_collections.mlops.platform.plugins.module_utils.models.verdict import Answer
from ansible_collections.mlops.platform.plugins.module_utils.prometheus import Series

# What is refused


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("split", 0, "experiment_split is 0: allowed is 1 to 99, such as 50"),
        ("split", 100, "experiment_split is 100: allowed is 1 to 99, such as 50"),
        ("rate", 0.0, "experiment_rate is 0: allowed is 0.1 to 500, such as 50"),
        ("rate", 501.0, "experiment_rate is 501: allowed is 0.1 to 500, such as 50"),
        ("seconds", 0, "experiment_seconds is 0: allowed is 1 to 604800, such as 60"),
        ("alpha", 0.0, "experiment_alpha is 0: allowed is 1e-06 to 0.5, such as 0.05"),
        ("alpha", 0.6, "experiment_alpha is 0.6: allowed is 1e-06 to 0.5, such as 0.05"),
        ("power", 1.0, "experiment_power is 1: allowed is 0.5 to 0.999, such as 0.8"),
        ("error_margin", 0.0, "experiment_error_margin is 0: allowed is 0.0001 to 0.5, such as 0.01"),
        ("feedback_margin", 1.0, "experiment_feedback_margin is 1: allowed is 0.0001 to 0.5, such as 0.02"),
        ("feedback_tolerance", -1.0, "experiment_feedback_tolerance is -1: allowed is 0 or more, such as 0.5"),
        ("feedback_tolerance", float("inf"), "experiment_feedback_tolerance is inf: allowed is 0 or more, such as 0.5"),
        ("rate", float("nan"), "experiment_rate is nan: allowed is 0.1 to 500, such as 50"),
    ],
)
def test_settings_beyond_what_is_allowed_are_refused(name: str, value: float, allowed: str) -> None:
    with pytest.raises(PlatformError) as caught:
        Settings(**{name: value})  # type: ignore[arg-type]
    assert str(caught.value) == allowed


def test_too_few_requests_are_refused_with_how_many_seconds_are_enough() -> None:
    Settings().refuse_too_few(1)
    with pytest.raises(PlatformError) as caught:
        Settings(seconds=10).refuse_too_few(1)
    said = str(caught.value)
    assert said.startswith("experiment_rate 50 and experiment_seconds 10 make 500 requests, of which 50 % are")
    seconds = int(said.rpartition("experiment_seconds ")[2].partition(" ")[0])
    Settings(seconds=seconds).refuse_too_few(1)
    with pytest.raises(PlatformError, match=r"\(the 1 before this one with the same versions count\)"):
        Settings(seconds=seconds).refuse_too_few(2)


def test_an_experiment_is_asked_for_like_a_release() -> None:
    served = Record(inference_service.Settings("iris", alias="champion"))
    asked = inference_service.Settings("iris", alias="challenger")
    ((verb, record),) = plan("experiment", [], [asked], [served], alone=True)
    assert (verb, record.settings.asked_alias) == ("experiment", "challenger")


# Counters


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(0, 5), (1, 5), (2, 9), (3, 9)], [0, 4, 0]),
        ([(1, 3), (2, 4), (3, 4)], [3, 1, 0]),  # began after the first moment
        ([(0, 5), (1, 7), (2, 2), (3, 3)], [2, 2, 1]),  # began anew
        ([(0, 5), (3, 8)], [0, 0, 3]),  # was not there for a while
        ([(0, 5)], [0, 0, 0]),  # its pod is gone
        ([], [0, 0, 0]),
    ],
)
def test_a_counter_rises_by_whole_numbers(points: list[tuple[float, float]], expected: list[int]) -> None:
    begin, step = 1_790_000_000.123, 5.637
    for cut in (0.0, 0.001):  # Prometheus cuts 5.637 to 5.636
        series = Series({}, tuple((begin + number * (step - cut), value) for number, value in points))
        assert rises(series, begin, step, 3) == expected


def test_what_stays_missing_is_told() -> None:
    said: list[str] = []
    answers = iter(["nothing", "nothing", "a little", ""])
    wait(lambda: next(answers), 30, said.append, "before")
    assert said == ["before: waits, nothing", "before: waits, a little"]
    with pytest.raises(NotCounted, match="before: after 0 s nothing"):
        wait(lambda: "nothing", 0, said.append, "before")


# The load


def reference(values: list[Any], outputs: int = 1, labels: list[Any] | None = None) -> Reference:
    request = {
        "parameters": {"content_type": "pd"},
        "inputs": [{"name": "x", "shape": [3, 1], "datatype": "INT64", "data": [7, 8, 9]}],
    }
    output = {"name": "output-1", "shape": [len(values)], "datatype": "INT64", "data": values}
    return Reference(request, [output] * outputs, 3, "held_out.json", labels or [])


def test_rows_are_taken_apart_with_what_each_version_predicts_for_them() -> None:
    rows = Rows.of({"1": reference([0, 1, 2]), "2": reference([0, 1, 1])}, [0, 1, 2], 0.0)
    assert [item["inputs"][0]["data"] for item in rows.requests] == [[7], [8], [9]]
    assert [item["inputs"][0]["shape"] for item in rows.requests] == [[1, 1]] * 3
    assert [item[0]["data"] for item in rows.expected["2"]] == [[0], [1], [1]]
    assert [rows.right(number, rows.expected["2"][number]) for number in range(3)] == [True, True, False]


def test_rows_of_several_values_each_are_taken_apart_where_nothing_is_held_against_labels() -> None:
    rows = Rows.of({"1": reference([1, 2, 3, 4, 5, 6], outputs=2)}, [], 0.0)
    assert [[part["data"] for part in row] for row in rows.expected["1"]] == [[[1, 2]] * 2, [[3, 4]] * 2, [[5, 6]] * 2]


@pytest.mark.parametrize(
    ("label", "given", "tolerance", "right"),
    [
        (1.5, 1.5, 0.0, True),
        (1.5, 1.6, 0.0, False),
        (1.5, 1.6, 0.2, True),
        ("setosa", "setosa", 0.0, True),
        ("setosa", "virginica", 9.0, False),
        (1, None, 9.0, False),
    ],
)
def test_a_prediction_is_right_by_its_label(label: Any, given: Any, tolerance: float, right: bool) -> None:
    assert Rows([], {}, [label], tolerance).right(0, [{"data": [given]}]) == right


@pytest.mark.parametrize(
    ("found", "labels"),
    [
        (reference([1, 2, 3, 4, 5, 6]), [1, 2, 3]),
        (reference([1, 2, 3], outputs=2), [1, 2, 3]),
        (reference([1, 2, 3]), [1]),
    ],
)
def test_labels_that_no_prediction_can_be_held_against_are_refused(found: Reference, labels: list[Any]) -> None:
    with pytest.raises(ValueError, match="one value a row can be held against its label"):
        Rows.of({"1": found}, labels, 0.0)


class Endpoint(BaseHTTPRequestHandler):
    """Answers each row as version 1 or 2 in turn, a row of 9 with an error, and keeps what it is told."""

    protocol_version = "HTTP/1.1"
    told: list[dict[str, Any]]
    seconds: float

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, found = 200, {}
        if self.path.endswith("/feedback"):
            self.told.append(content)
        else:
            (value,) = content["inputs"][0]["data"]
            time.sleep(self.seconds)
            status = 500 if value == 9 else 200
            version = "1" if value == 7 else "2"
            found = {"model_version": version, "outputs": [{"name": "output-1", "shape": [1], "data": [value - 7]}]}
        body = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


@pytest.fixture
def endpoint() -> Iterator[tuple[type[Endpoint], V2Client]]:
    """An endpoint over HTTP, and its client."""
    handler = type("Played", (Endpoint,), {"told": [], "seconds": 0.0})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with urllib3.HTTPConnectionPool("127.0.0.1", server.server_port, maxsize=64) as pool:
        yield handler, V2Client(pool, "m.example.org", "m")
    server.shutdown()
    server.server_close()


ROWS = Rows.of({"1": reference([0, 1, 2]), "2": reference([0, 1, 2])}, [0, 0, 0], 0.0)


def test_a_load_tells_what_became_of_each_request(endpoint: tuple[type[Endpoint], V2Client]) -> None:
    handler, client = endpoint
    load = Sender(client, ROWS, 100.0, 0.6, lambda _: None).run(seed=3)
    again = Sender(client, ROWS, 100.0, 0.6, lambda _: None).run(seed=3)
    assert len(load.requests) == 60
    assert [item.due for item in load.requests] == pytest.approx([number / 100 for number in range(60)])
    assert [item.answer.version for item in load.requests] == [item.answer.version for item in again.requests]
    by_version = {version: [item for item in load.requests if item.answer.version == version] for version in "12"}
    failed = [item.answer for item in load.requests if item.answer.error]
    assert len(by_version["1"]) + len(by_version["2"]) + len(failed) == 60
    assert {item.error for item in failed} == {"HTTP 500: {'model_version': '2', 'outputs': [{'name': 'output-1', 'shape': [1], 'data': [2]}]}"}  # fmt: skip # noqa: E501
    assert {item.right for item in by_version["1"]} == {True}
    assert {item.right for item in by_version["2"]} == {False}
    assert load.told == {version: len(found) for version, found in by_version.items()}
    good, bad = (sum(item[key] for item in handler.told) for key in ("good", "bad"))
    assert (good, bad) == (2 * len(by_version["1"]), 2 * len(by_version["2"]))


def test_latency_counts_from_when_a_request_was_due(endpoint: tuple[type[Endpoint], V2Client]) -> None:
    handler, client = endpoint
    handler.seconds = 0.2
    late = Sender(client, ROWS, 1.0, 1.0, lambda _: None).ask(0, 0.0, time.monotonic() - 5.0).answer
    assert 5.2 <= late.seconds < 60


def test_so_many_requests_are_under_way_at_once() -> None:
    assert [at_once(rate) for rate in (0.01, 1.0, 5.0, 500.0)] == [1, 10, 50, MOST_AT_ONCE]


def test_slow_answers_are_counted_by_slices_of_time() -> None:
    answers = [
        Answer(0.1, "1"),
        Answer(0.3, "1"),
        Answer(0.3, "2"),
        Answer(9.0, "1", error="HTTP 500"),
        Answer(0.4, "1"),
    ]
    load = Load([Request(float(number), answer) for number, answer in enumerate(answers)], {})
    found = load.slow("1", 0.25, 4)
    assert (found.bad, found.total) == (2, 3)
    assert (load.slow("3", 0.25, 4).total, Load([], {}).slow("1", 0.25, 4).total) == (0, 0)


def test_both_versions_must_answer_before_they_are_compared() -> None:
    answers = iter(["1", "", "1", "2", "1"])
    assert until_both_answer(lambda: next(answers), ("1", "2"), 10) == ""
    assert next(answers) == "1"
    assert until_both_answer(lambda: "1", ("1", "2"), 10) == "2"


# What a run that was killed leaves


class Decided:
    """A gate at 50 % that has let a candidate pass or not."""

    percent = 50

    def __init__(self, passed: bool) -> None:
        self.passed = passed

    def finished(self, access: Any, candidate: Any) -> bool:
        return self.passed


@pytest.mark.parametrize(
    ("percent", "passed", "goes_on"),
    [(0, False, True), (50, False, True), (100, True, True), (100, False, False)],
)
def test_a_release_beyond_the_gate_goes_on_only_if_it_was_let_pass(percent: int, passed: bool, goes_on: bool) -> None:
    left = Release("1", "r-1", "2", percent=percent)
    releasing = Releasing(cast(Any, None), Rules(), "", "", cast(Deciding, Decided(passed)))
    versions = Versions({"2": cast(Any, None)}, {}, ())
    found = releasing._resumed(cast(Any, None), versions, left, "2")
    expected = left if goes_on else left.failed("nothing was decided on version 2 at 50 %")
    assert found == expected
    assert Releasing(cast(Any, None), Rules(), "", "")._resumed(cast(Any, None), versions, left, "2") == left


# What a run is asked for


def asked(verb: Verb, **changes: Any) -> dict[str, Any]:
    """How the action `models` describes an experiment, or a release with a gate, where variables are changed."""
    variables: dict[str, Any] = {"__platform_has_monitoring": True, "__platform_prometheus": {"name": "prometheus"}}
    for name in ("experiment", "release"):
        path = Path(__file__).parents[2] / "group_vars" / "all" / f"{name}.yml"
        variables |= yaml.safe_load(path.read_text(encoding="utf-8"))
    action = object.__new__(ActionModule)
    value = (variables | changes).__getitem__
    return action._moving(value, "", verb, gated=True)


def test_an_experiment_is_a_release_with_one_share_before_the_last() -> None:
    found = asked("experiment", experiment_split=20, release_requests=50)
    assert found["release"]["rules"]["steps"] == (20, 100)
    assert found["release"]["alias"] == "champion"
    assert (found["experiment"]["demand"], found["experiment"]["settings"]["split"]) == ("better", 20)
    assert Settings(**found["experiment"]["settings"]) == Settings(split=20)


def test_a_release_takes_the_gate_at_its_last_share_below_all() -> None:
    found = asked("release", release_steps=[10, 25, 100])
    assert found["release"]["rules"]["steps"] == (10, 25, 100)
    assert found["release"]["alias"] == ""
    assert (found["experiment"]["demand"], found["experiment"]["settings"]["split"]) == ("no worse", 25)


@pytest.mark.parametrize(
    ("verb", "changes", "said"),
    [
        ("experiment", {"__platform_has_monitoring": False}, "add the component monitoring to the group components"),
        ("release", {"__platform_has_monitoring": False}, "add the component monitoring to the group components"),
        ("release", {"release_steps": [100]}, r"release_steps is \[100\]: the gate metrics compares two versions"),
        ("experiment", {"experiment_split": 100}, "experiment_split is 100: allowed is 1 to 99"),
        ("release", {"release_steps": [5, 50, 100]}, "release_requests is 300: with release_steps"),
    ],
)
def test_what_contradicts_itself_is_refused(verb: Verb, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(PlatformError, match=said):
        asked(verb, **changes)


# Where the gate stands


class Here(ClusterStage):
    """A stage whose states are reached at once, and that notes what it sends."""

    def __init__(self, gate: Gate) -> None:
        metadata = {"name": "iris", "namespace": "models", "labels": {COMPONENT_LABEL: "model-iris"}}
        line = Line(self._sent, lambda rows, place: self._sent(f"{rows} at {place}"))
        self.sent: set[str] = set()
        super().__init__(
            cast(Any, None), {"2": {"metadata": metadata}}, line, Rules(requests=158, rate=1e6),
            lambda _: None, lambda where, found: None, gate,
        )  # fmt: skip

    def _sent(self, rows: str) -> Answer:
        self.sent.add(rows)
        return Answer(0.01, "2" if "at" in rows or len(self.sent) > 1 else "1")

    def settle(self, state: Release | Done) -> None:
        """It is reached."""

    def logged(self, state: Release | Done) -> list[str]:
        return []

    def alone(self, state: Release | Done) -> tuple[str, str]:
        return "r-2", ""

    def begin(self, stable: str, candidate: str, baseline_seconds: float) -> Release:
        raise NotImplementedError

    def write(self, state: Release | Done) -> None:
        raise NotImplementedError

    def awaited(self, state: Release | Done) -> list[Manifest]:
        raise NotImplementedError

    def shared_out(self, state: Release | Done) -> str:
        raise NotImplementedError


class Asked:
    """A gate at 50 % that lets everybody pass, and notes what it was asked."""

    percent = 50

    def __init__(self) -> None:
        self.states: list[Release] = []

    def prove(self, state: Release) -> None:
        self.states.append(state)


@pytest.mark.parametrize(
    ("state", "asked"),
    [
        (Release("1", "r-1", "2", percent=50), True),
        (Release("1", "r-1", "2", percent=0), False),
        (Release("1", "r-1", "2", percent=50, cause="was bad", exchanged=True), False),
    ],
)
def test_the_gate_takes_the_place_of_the_checks_at_its_share_alone(state: Release, asked: bool) -> None:
    gate = Asked()
    stage = Here(gate)
    with contextlib.suppress(StepFailed):
        stage.prove(state)
    assert gate.states == ([state] if asked else [])
    assert (stage.sent == set()) == asked
