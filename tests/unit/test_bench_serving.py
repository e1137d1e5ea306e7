"""The load of `make bench-serving`: it is open, nothing is omitted, and its numbers are those of its samples."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from bench.results import BEGIN, END
from bench.serving import load, results
from bench.serving.load import Load, Sample, Target
from bench.serving.watch import Watch, changes

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def served(answer: Callable[[], int]) -> Iterator[tuple[Target, list[str]]]:
    """A server whose answers have the status that `answer` returns, and the hosts that it was asked for."""
    hosts: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            hosts.append(self.headers["Host"])
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(answer())
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Target((("127.0.0.1", server.server_address[1]),), "iris.example.org", "/predict", b"{}"), hosts
    server.shutdown()


def test_requests_leave_at_their_time_with_the_name_of_the_host() -> None:
    with served(lambda: 200) as (target, hosts):
        found = load.run(target, 50, 1)
    assert [round(item.due, 2) for item in sorted(found.samples, key=lambda item: item.due)] == [
        round(number / 50, 2) for number in range(50)
    ]
    assert {item.outcome for item in found.samples} == {"200"}
    assert set(hosts) == {f"iris.example.org:{target.places[0][1]}"} or set(hosts) == {"iris.example.org"}
    assert found.processor_seconds > 0


def test_a_server_that_stands_still_is_slow_for_all_that_were_due() -> None:
    moving = threading.Event()

    def stands_still() -> int:
        threading.Timer(1.5, moving.set).start()
        moving.wait()
        return 200

    with served(stands_still) as (target, _):
        found = load.run(target, 20, 1)
    # A client that waits for each answer would have seen one slow request; all of them were.
    assert len(found.samples) == 20
    assert min(item.latency for item in found.samples) > 0.2


def test_errors_are_counted_by_their_kind() -> None:
    with served(lambda: 503) as (target, _):
        found = results.summary(load.run(target, 10, 1), 1)
    assert found["errors"] == {"503": 10}
    assert found["answered_per_second"] == 0
    nobody = Target((("127.0.0.1", 1),), "x", "/", b"")
    assert results.summary(load.run(nobody, 5, 1), 1)["errors"] == {"ClientConnectorError": 5}


def test_a_summary_is_of_all_samples() -> None:
    samples = [Sample(number / 100, 0.001, (number + 1) / 1000, "200") for number in range(100)]
    found = results.summary(Load([*samples, Sample(1, 0, 10, "TimeoutError")], 0.5), 1)
    assert (found["requests"], found["errors"], found["max_ms"]) == (101, {"TimeoutError": 1}, 10_000.0)
    assert (found["p50_ms"], found["p95_ms"]) == (51.0, 96.0)
    assert found["answered_per_second"] == pytest.approx(100 / 11, abs=0.1)


@pytest.mark.parametrize(("p95", "errors", "met"), [(99.9, {}, True), (100.0, {}, False), (10.0, {"503": 1}, False)])
def test_the_goal(p95: float, errors: dict[str, int], met: bool) -> None:
    assert results.met({"p95_ms": p95, "errors": errors}) is met


def test_pods_are_noted_and_their_changes_told() -> None:
    counts = iter([{"api": 2}, {"api": 2}, {"api": 5}])
    with Watch(lambda: next(counts, {"api": 5})) as watch:
        deadline = time.monotonic() + 10
        while watch.ready("api") != 5 and time.monotonic() < deadline:
            time.sleep(0.05)
    (first, two), (later, five) = changes(watch.seen, "api")
    assert (two, five) == (2, 5)
    assert later > first


def document() -> dict[str, Any]:
    leg = {
        "service": "model_api", "way": "edge", "part": "steady", "rate": 100, "seconds": 60, "began": 0, "ended": 60,
        "requests": 6000, "answered_per_second": 100, "errors": {}, "p50_ms": 10, "p95_ms": 20, "p99_ms": 30,
        "max_ms": 40, "replicas": [2, 2], "processors_busy": 1.2, "generator_processors": 0.2,
    }  # fmt: skip
    return {
        "machine": {"processors": 2, "kubernetes": "v1.36.3"},
        "services": ["model_api"],
        "legs": [leg, {**leg, "way": "pod", "p95_ms": 10}, {**leg, "part": "more", "replicas": [2, 5]}],
        "replicas": [(0.0, {"model_api": 2}), (70.0, {"model_api": 5})],
    }


def test_the_page_says_what_was_measured(tmp_path: Path) -> None:
    text = results.markdown(document())
    assert "**met**" in text
    assert "2.00 at p95, 1.00 at p99 times as long" in text
    assert "| 2 to 5 |" in text
    assert "- model_api: 2 at 0 s, 5 at 70 s" in text
    results.plot(json.loads(json.dumps(document())), tmp_path / "plot.svg")
    assert "Pods follow the load" in (tmp_path / "plot.svg").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "serving-performance.md").read_text(encoding="utf-8")
    assert BEGIN in page
    assert END in page
