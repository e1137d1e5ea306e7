"""Asking for panels: variables, Grafana's own names of times, each question once, and what has no data."""

from __future__ import annotations

import math
import threading

import pytest
import urllib3
from ansible_collections.mlops.platform.plugins.module_utils.dashboards.model import Dashboard, parse
from ansible_collections.mlops.platform.plugins.module_utils.dashboards.query import (
    Span,
    ask,
    described,
    key,
    legend,
    replaced,
    span,
    variables,
    without_data,
    young,
)
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.prometheus import (
    Prometheus,
    PrometheusError,
    Sample,
    Series,
    Target,
)
from dashboard_documents import Raw, dashboard, panel, target

TIME = Span(1000, 1600, 15)
Labels = dict[str, str]


class Recorded(Prometheus):
    """Answers as Prometheus gave them: each expression has its series, labels and newest value; all others none."""

    def __init__(self, answers: dict[str, list[tuple[Labels, float]]]) -> None:
        super().__init__(urllib3.HTTPConnectionPool("localhost"))
        self.answers = answers
        self.asked: list[str] = []
        self._lock = threading.Lock()

    def _of(self, expr: str) -> list[tuple[Labels, float]]:
        with self._lock:
            self.asked.append(expr)
        if "refused" in expr:
            raise PrometheusError(f"Prometheus answered 400 for {expr}: bad_data: unknown function", 400)
        return self.answers.get(expr, [])

    def targets(self) -> list[Target]:
        return []

    def query(self, expr: str, at: float | None = None) -> list[Sample]:
        return [Sample(labels, value, at or 0) for labels, value in self._of(expr)]

    def query_range(self, expr: str, start: float, end: float, step: float) -> list[Series]:
        return [Series(labels, ((end - step, value), (end, value))) for labels, value in self._of(expr)]


def test_the_time_begins_where_prometheus_does() -> None:
    class Young(Recorded):
        def query_range(self, expr: str, start: float, end: float, step: float) -> list[Series]:
            assert (expr, start, end, step) == ("count(up)", 6400, 10_000, 15)
            return [Series({}, ((7000.0, 1.0), (7015.0, 1.0)))]

    assert span(Young({}), 10_000, 3600) == Span(7000, 10_000, 15)


def test_rates_see_some_scrapes_of_the_slowest_target() -> None:
    class Scraping(Recorded):
        def targets(self) -> list[Target]:
            return [Target({}, "", "", "up", "", 0.0, seconds) for seconds in (5.0, 10.0)]

    assert span(Scraping({}), 10_000, 3600).known["__rate_interval"] == "40s"


def test_a_newborn_prometheus_shows_five_minutes() -> None:
    assert span(Recorded({"count(up)": [({}, 1)]}), 10_000, 3600) == Span(9700, 10_000, 15)


def test_a_long_time_has_wider_steps() -> None:
    found = span(Recorded({}), 1_000_000, 86_400)
    assert (found.step, found.end - found.start) == (360, 86_400)
    assert len(found.times) == 241
    assert found.known["__rate_interval"] == "390s"
    assert TIME.known["__rate_interval"] == "120s"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("up{pod=~\"$pod\"}", 'up{pod=~"a|b"}'),
        ("${pod}", "a|b"),
        ("${pod:regex}[$__range]", "a|b[600s]"),
        ("$podium $1", "$podium $1"),
    ],
)  # fmt: skip
def test_variables_are_replaced(text: str, expected: str) -> None:
    assert replaced(text, {**TIME.known, "pod": "a|b"}) == expected


def test_names_of_series() -> None:
    assert legend("{{ pod }}: {{code}} {{nobody}}", {"pod": "a", "code": "200"}) == "a: 200"
    assert described({"__name__": "up", "job": "x", "a": "y"}) == 'up{a="y", job="x"}'
    assert described({}) == ""


def variable(name: str, query: str, **more: object) -> Raw:
    """A variable of which all values are chosen."""
    return {"name": name, "type": "query", "query": query, "includeAll": True, "multi": True, **more}


def with_variables(*listed: Raw) -> Dashboard:
    """A dashboard of variables and one panel."""
    shown = panel("stat", "Up in $namespace", target('up{model=~"$model"}', "{{job}} of $namespace"))
    return parse(dashboard("Test", shown, templating={"list": list(listed)}), "kserve")


def test_all_values_of_variables_one_after_the_other() -> None:
    prometheus = Recorded(
        {
            "group by (namespace) (last_over_time(up[600s]))": [({"namespace": "ml"}, 1), ({}, 1)],
            'group by (model) (last_over_time(up{namespace=~"ml"}[600s]))': [
                ({"model": "iris.v1"}, 1), ({"model": "a|b"}, 1),
            ],
            r'up{model=~"(a\\|b|iris\\.v1)"}': [({"job": "x"}, 1.0)],
        }
    )  # fmt: skip
    board = with_variables(
        variable("namespace", "label_values(up, namespace)"),
        variable("model", 'label_values(up{namespace=~"$namespace"}, model)'),
    )
    found = ask([board], prometheus, TIME)
    assert found.variables[key(board)]["model"].values == ("a|b", "iris.v1")
    (answer,) = found.all
    assert (answer.title, answer.lines[0].name) == ("Up in ml", "x of ml")
    assert found.empty == []


@pytest.mark.parametrize(
    ("more", "values", "text"),
    [
        ({"allValue": ".*"}, ("iris-1", "iris-2", "wine-1"), ".*"),
        ({"includeAll": False}, ("iris-1",), "iris-1"),
        ({"includeAll": False, "current": {"value": "wine-1"}}, ("wine-1",), "wine-1"),
        ({"current": {"value": ["wine-1", "iris-2"]}}, ("iris-2", "wine-1"), "(iris-2|wine-1)"),
        ({"regex": "/(.*)-1/"}, ("iris", "wine"), "(iris|wine)"),
        ({"regex": "wine"}, ("wine",), "wine"),
    ],
)
def test_choices(more: dict[str, object], values: tuple[str, ...], text: str) -> None:
    labels = [({"model": name}, 1.0) for name in ("wine-1", "iris-1", "iris-2")]
    prometheus = Recorded({"group by (model) (last_over_time(up[600s]))": labels})
    board = with_variables(variable("model", "label_values(up, model)", **more))
    chosen = variables(board.variables, prometheus, TIME)["model"]
    assert (chosen.values, chosen.text) == (values, text)


def test_a_variable_without_values_selects_nothing() -> None:
    board = with_variables(variable("model", "label_values(up, model)"))
    chosen = variables(board.variables, Recorded({}), TIME)["model"]
    assert (chosen.values, chosen.text) == ((), "nothing")


@pytest.mark.parametrize(
    ("query", "words"),
    [("label_names()", "query is 'label_names()'; allowed is label_values"),
     ("label_values(refused, a)", "unknown function")],
)  # fmt: skip
def test_a_variable_that_cannot_be_resolved_is_named(query: str, words: str) -> None:
    with pytest.raises(PlatformError) as told:
        ask([with_variables(variable("model", query))], Recorded({}), TIME)
    assert str(told.value).startswith("dashboard 'Test' of kserve, variable 'model': ")
    assert words in str(told.value)


def test_each_question_is_asked_once() -> None:
    prometheus = Recorded({"up": [({"job": "a"}, 1.0)]})
    shown = [panel("stat", name, target("up")) for name in ("A", "B")]
    now = panel("stat", "C", target("up", instant=True))
    ask([parse(dashboard("Test", *shown, now), "minio")], prometheus, TIME)
    assert prometheus.asked == ["up", "up"]  # for a time, and for now


def test_what_has_no_data_is_told_by_panel_and_query() -> None:
    prometheus = Recorded(
        {"good": [({}, 0.0)], "a / b": [({}, math.nan)], "half": [({}, math.nan), ({"pod": "a"}, 1.0)]}
    )
    board = parse(
        dashboard(
            "Objects",
            panel("stat", "Good", target("good")),
            panel("timeseries", "Ratio", target("half"), target("a / b", ref="B")),
            panel("stat", "Nothing", target("nothing", instant=True)),
            panel("stat", "Wrong", target("refused(up)")),
        ),
        "minio",
    )  # fmt: skip
    assert without_data([board], prometheus, TIME) == [
        "dashboard 'Objects' of minio, panel 'Wrong': "
        "Prometheus answered 400 for refused(up): bad_data: unknown function",
        "dashboard 'Objects' of minio, panel 'Ratio': no data for a / b",
        "dashboard 'Objects' of minio, panel 'Nothing': no data for nothing",
    ]


def test_a_zero_that_stood_for_series_is_not_shown_beside_them() -> None:
    errors = "sum by (code) (errors) or on () vector(0)"
    board = parse(dashboard("Test", panel("timeseries", "Errors", target(errors, "code {{code}}"))), "minio")

    def names(*series: tuple[Labels, float]) -> list[str]:
        return [line.name for line in ask([board], Recorded({errors: list(series)}), TIME).all[0].lines]

    assert names(({}, 0.0), ({"code": "500"}, 2.0)) == ["code 500"]
    assert names(({}, 3.0), ({"code": "500"}, 2.0)) == ["Errors", "code 500"]
    assert names(({}, 0.0)) == ["Errors"]


@pytest.mark.parametrize(("scrapes", "expected"), [([], True), ([({}, 2.0)], True), ([({}, 3.0)], False)])
def test_what_was_scraped_for_the_first_time_lately(scrapes: list[tuple[Labels, float]], expected: bool) -> None:
    assert young(Recorded({"min(count_over_time(up[180s]) and up)": scrapes}), TIME) is expected
