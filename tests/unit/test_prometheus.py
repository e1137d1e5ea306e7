"""The client of Prometheus, against a server that answers in the shapes of its documentation."""

import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3
from ansible_collections.mlops.platform.plugins.module_utils.prometheus import Prometheus, PrometheusError

UP = {"__name__": "up", "job": "prometheus", "instance": "localhost:9090"}


def success(data: Any) -> tuple[int, bytes]:
    return 200, json.dumps({"status": "success", "data": data}).encode()


ANSWERS: dict[str, tuple[int, bytes]] = {
    "up": success({"resultType": "vector", "result": [{"metric": UP, "value": [1435781451.781, "1"]}]}),
    "scalar(up)": success({"resultType": "scalar", "result": [1435781451.5, "NaN"]}),
    "up[1m]": success({"resultType": "matrix", "result": [{"metric": UP, "values": [[1.0, "0"], [31.0, "1"]]}]}),
    "nothing": success({"resultType": "vector", "result": []}),
    "1 / 0": success({"resultType": "vector", "result": [{"metric": {}, "value": [2, "+Inf"]}]}),
    "native": success({"resultType": "vector", "result": [{"metric": {}, "histogram": [2, {"count": "3"}]}]}),
    "up +": (
        400,
        json.dumps({"status": "error", "errorType": "bad_data", "error": "unexpected end of input"}).encode(),
    ),
    "slow": (503, json.dumps({"status": "error", "errorType": "timeout", "error": "query timed out"}).encode()),
    "proxy": (502, b"<html>\n  <h1>Bad Gateway</h1>\n</html>"),
    "not an object": (200, b"[]"),
}
TARGETS = {
    "activeTargets": [
        {
            "discoveredLabels": {"__address__": "10.0.0.1:9100"},
            "labels": {"instance": "10.0.0.1:9100", "job": "node", "component": "monitoring"},
            "scrapePool": "podMonitor/monitoring/node/0",
            "scrapeUrl": "http://10.0.0.1:9100/metrics",
            "globalUrl": "http://10.0.0.1:9100/metrics",
            "lastError": "",
            "lastScrape": "2017-01-17T15:07:44.723715405+01:00",
            "lastScrapeDuration": 0.050688943,
            "health": "up",
            "scrapeInterval": "30s",
            "scrapeTimeout": "10s",
        },
        {
            "labels": {"component": "minio"},
            "scrapePool": "serviceMonitor/minio/minio/0",
            "scrapeUrl": "http://10.0.0.2:9000/minio/v2/metrics/cluster",
            "lastError": "server returned HTTP status 403 Forbidden",
            "lastScrape": "0001-01-01T00:00:00Z",
            "health": "down",
            "scrapeInterval": "1m30s",
        },
    ],
    "droppedTargets": [],
}
ALERT = {
    "activeAt": "2018-07-04T20:27:12.60602144+02:00",
    "annotations": {"summary": "High request latency"},
    "labels": {"alertname": "HighLatency", "severity": "warning"},
    "state": "firing",
    "value": "1e+00",
}
RULES = {
    "groups": [
        {
            "name": "example",
            "file": "/etc/prometheus/rules/monitoring-example.yaml",
            "interval": 30,
            "rules": [
                {
                    "alerts": [ALERT],
                    "annotations": {"summary": "High request latency"},
                    "duration": 600,
                    "health": "ok",
                    "labels": {"severity": "warning"},
                    "lastEvaluation": "2026-11-21T18:00:00.5Z",
                    "evaluationTime": 0.0001,
                    "name": "HighLatency",
                    "query": "mlops:latency > 0.5",
                    "state": "firing",
                    "type": "alerting",
                },
                {
                    "health": "err",
                    "lastError": "vector cannot contain metrics with the same labelset",
                    "lastEvaluation": "0001-01-01T00:00:00Z",
                    "evaluationTime": 0,
                    "name": "mlops:latency",
                    "query": "sum(a) by (b)",
                    "type": "recording",
                },
            ],
        }
    ]
}


@pytest.fixture
def asked() -> list[tuple[str, str, dict[str, str]]]:
    """What the server was asked: method, path, parameters."""
    return []


@pytest.fixture
def url(asked: list[tuple[str, str, dict[str, str]]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self, query: str) -> None:
            path = urlsplit(self.path).path
            fields = {key: values[0] for key, values in parse_qs(query).items()}
            asked.append((f"{self.command} {self.headers.get('Authorization', 'nobody')}", path, fields))
            calls = {
                "targets": success(TARGETS),
                "rules": success(RULES),
                "alerts": success({"alerts": [ALERT]}),
                "scrape_pools": success({"scrapePools": ["podMonitor/monitoring/node/0", "empty"]}),
            }
            status, body = calls.get(path.rpartition("/")[2]) or ANSWERS[fields["query"]]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self._answer(urlsplit(self.path).query)

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def prometheus(url: str) -> Iterator[Prometheus]:
    with Prometheus.at(url) as found:
        yield found


def test_a_query_is_posted_and_gives_samples(
    prometheus: Prometheus, asked: list[tuple[str, str, dict[str, str]]]
) -> None:
    (sample,) = prometheus.query("up")
    assert (sample.labels, sample.value, sample.time) == (UP, 1.0, 1435781451.781)
    assert prometheus.query("up", at=12.5)
    assert asked == [
        ("POST nobody", "/api/v1/query", {"query": "up"}),
        ("POST nobody", "/api/v1/query", {"query": "up", "time": "12.5"}),
    ]


def test_every_type_of_result_is_read(prometheus: Prometheus) -> None:
    (scalar,) = prometheus.query("scalar(up)")
    assert math.isnan(scalar.value)
    assert scalar.labels == {}
    (newest,) = prometheus.query("up[1m]")
    assert (newest.value, newest.time) == (1.0, 31.0)
    assert prometheus.query("nothing") == []
    assert prometheus.query("1 / 0")[0].value == math.inf
    assert prometheus.query("native") == []


def test_a_range_gives_series(prometheus: Prometheus, asked: list[tuple[str, str, dict[str, str]]]) -> None:
    (series,) = prometheus.query_range("up[1m]", 1, 31, 30)
    assert series.labels == UP
    assert series.points == ((1.0, 0.0), (31.0, 1.0))
    assert asked == [
        ("POST nobody", "/api/v1/query_range", {"query": "up[1m]", "start": "1", "end": "31", "step": "30"})
    ]


@pytest.mark.parametrize(
    ("expr", "status", "words"),
    [
        ("up +", 400, "Prometheus answered 400 for up +: bad_data: unexpected end of input"),
        ("slow", 503, "Prometheus answered 503 for slow: timeout: query timed out"),
        ("proxy", 502, "Prometheus answered 502 for proxy: no answer of Prometheus's: <html> <h1>Bad Gateway"),
        ("not an object", 200, "Prometheus answered 200 for not an object: no answer of Prometheus's: []"),
    ],
)
def test_a_refusal_names_expression_and_reason(prometheus: Prometheus, expr: str, status: int, words: str) -> None:
    with pytest.raises(PrometheusError) as caught:
        prometheus.query(expr)
    assert caught.value.status == status
    assert words in str(caught.value)


def test_targets(prometheus: Prometheus, asked: list[tuple[str, str, dict[str, str]]]) -> None:
    up, down = prometheus.targets()
    assert (up.health, up.labels["component"], up.pool) == ("up", "monitoring", "podMonitor/monitoring/node/0")
    assert up.scraped == pytest.approx(1484662064.723715)
    assert (down.health, down.scraped) == ("down", 0.0)
    assert (up.interval, down.interval) == (30.0, 90.0)
    assert "403" in down.error
    assert asked == [("GET nobody", "/api/v1/targets", {"state": "active"})]
    assert prometheus.pools() == {"podMonitor/monitoring/node/0", "empty"}


def test_rules_and_alerts(prometheus: Prometheus) -> None:
    alerting, recording = prometheus.rules()
    assert (alerting.group, alerting.name, alerting.kind, alerting.state) == (
        "example",
        "HighLatency",
        "alerting",
        "firing",
    )
    assert alerting.evaluated == 1795284000.5
    assert (recording.health, recording.evaluated, recording.labels) == ("err", 0.0, {})
    assert "labelset" in recording.error
    (alert,) = prometheus.alerts()
    assert (alerting.alerts, recording.alerts) == ((alert,), ())
    assert (alert.name, alert.state, alert.value) == ("HighLatency", "firing", 1.0)
    assert alert.since == pytest.approx(1530728832.60602)


def test_a_path_and_a_login_in_the_url_count(url: str, asked: list[tuple[str, str, dict[str, str]]]) -> None:
    with Prometheus.at(f"{url.replace('//', '//me:secret@')}/metrics/") as found:
        assert found.query("up")
    assert asked == [("POST Basic bWU6c2VjcmV0", "/metrics/api/v1/query", {"query": "up"})]


def test_silence_is_an_error_of_the_connection() -> None:
    pool = urllib3.HTTPConnectionPool("127.0.0.1", 1)
    with pytest.raises(urllib3.exceptions.HTTPError):
        Prometheus(pool).query("up")
