"""The page of dashboards: what panels show, and that the page is whole, safe and one."""

from __future__ import annotations

import base64
import gzip
import json
import math
import re
from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.dashboards import draw as drawing
from ansible_collections.mlops.platform.plugins.module_utils.dashboards.draw import (
    Health,
    View,
    draw,
    plotly,
    sparkline,
    view,
)
from ansible_collections.mlops.platform.plugins.module_utils.dashboards.model import parse
from ansible_collections.mlops.platform.plugins.module_utils.dashboards.query import Answer as Got
from ansible_collections.mlops.platform.plugins.module_utils.dashboards.query import Answers, Line, Span, key
from ansible_collections.mlops.platform.plugins.module_utils.dashboards.units import amount, digits, step
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.prometheus import Alert, Rule, Target
from dashboard_documents import GREEN_TO_RED, Raw, dashboard, node, override, panel, target

TIME = Span(1000, 1060, 15)
NOW = 1_790_000_000.0
HOSTILE = "</script><script>alert('x')</script> & \"quoted\""
Series = tuple[str, dict[str, str], list[float]]


def got(raw: Raw, *series: Series, refs: str = "AAAAAA") -> Got:
    """What a panel got: names, labels and the newest values of series."""
    (shown,) = parse(dashboard("Test", raw), "minio").panels
    lines = tuple(
        Line(ref, name, labels, tuple(zip(TIME.times[-len(values) :], values, strict=True)), shown.field(name, ref))
        for ref, (name, labels, values) in zip(refs, series, strict=False)
    )
    return Got(shown, shown.title, lines, (), ())


def seen(raw: Raw, *series: Series, refs: str = "AAAAAA") -> View:
    """The panel as it is drawn."""
    return view("p", got(raw, *series, refs=refs), TIME)


# Numbers


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "expected"),
    [
        (0, "short", None, "0"), (1234, "short", None, "1.23 k"), (-0.0001, "short", 1, "0.0"),
        (1536, "bytes", None, "1.5 KiB"), (25 * 2**30, "bytes", None, "25 GiB"), (1500, "decbytes", 2, "1.50 kB"),
        (0.0123, "s", None, "12.3 ms"), (90, "s", None, "1.5 min"), (7200, "dtdurations", 0, "2 h"),
        (250, "ms", None, "250 ms"),
        (0.456, "percentunit", None, "45.6%"), (45.6, "percent", 0, "46%"), (1.25, "reqps", None, "1.25 req/s"),
        (1, "bool_yes_no", None, "yes"), (3, "suffix: pods", None, "3 pods"), (math.inf, "short", None, "∞"),
        (math.nan, "bytes", None, "\N{EN DASH}"), (0, "dateTimeAsIso", None, "1970-01-01 00:00:00"),
        ((NOW - 120) * 1000, "dateTimeFromNow", None, "2 min ago"),
        ((NOW + 7200) * 1000, "dateTimeFromNow", None, "in 2 h"),
    ],
)  # fmt: skip
def test_amounts(value: float, unit: str, decimals: int | None, expected: str) -> None:
    assert amount(value, unit, decimals, NOW) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, "0"), (-0.0, "0"), (12345.6, "12346"), (0.00012345, "0.000123"), (99.96, "100"), (2.0, "2"), (10.0, "10")],
)
def test_digits(value: float, expected: str) -> None:
    assert digits(value) == expected


def test_the_size_of_an_axis() -> None:
    assert (step("bytes", 3 * 2**20).factor, step("bytes", 3 * 2**20).suffix) == (2**20, "MiB")
    assert step("s", 0).suffix == "s"
    assert step("bool", 5).suffix == ""


def test_a_stat_has_its_newest_number_its_colour_and_its_way() -> None:
    raw = panel("stat", "Disk", target("x"), unit="percent", thresholds=GREEN_TO_RED, options={"graphMode": "area"})
    (value,) = seen(raw, ("a", {}, [10.0, 95.0, math.nan])).values
    assert (value.text, value.colour, value.name) == ("95%", "c-red", "")
    assert value.spark == "M0.0 29.0L100.0 1.0"


@pytest.mark.parametrize(
    ("calculation", "expected"),
    [("lastNotNull", "3"), ("last", "\N{EN DASH}"), ("mean", "2"), ("max", "3"), ("min", "1"), ("sum", "6")],
)
def test_calculations(calculation: str, expected: str) -> None:
    raw = panel("stat", "T", target("x"), options={"reduceOptions": {"calcs": [calculation]}})
    (value,) = seen(raw, ("a", {}, [1.0, 2.0, 3.0, math.nan])).values
    assert value.text == expected


def test_several_values_have_names_and_meanings() -> None:
    up = [{"type": "value", "options": {"0": {"text": "down", "color": "red"}, "1": {"text": "up", "color": "green"}}}]
    raw = panel("stat", "State", target("up"), mappings=up, options={"colorMode": "background"})
    found = seen(raw, ("a", {}, [1.0]), ("b", {}, [0.0]))
    assert [(item.name, item.text, item.colour) for item in found.values] == [
        ("a", "up", "c-green"),
        ("b", "down", "c-red"),
    ]
    assert found.tinted


@pytest.mark.parametrize(
    ("more", "value", "share"),
    [
        ({"unit": "percent"}, 25.0, 0.25), ({"unit": "percentunit"}, 2.0, 1.0), ({"min": 10, "max": 20}, 12.5, 0.25),
        ({"min": 10, "max": 20}, 5.0, 0.0), ({}, 4.0, 1.0), ({"max": 0}, 0.0, 0.0),
    ],
)  # fmt: skip
def test_the_share_of_a_gauge(more: dict[str, Any], value: float, share: float) -> None:
    (found,) = seen(panel("gauge", "T", target("x"), **more), ("a", {}, [value])).values
    assert found.share == share


def test_sparklines() -> None:
    assert sparkline([(0, 1.0)]) == ""
    assert sparkline([(0, 5.0), (50, math.nan), (100, 5.0)]) == "M0.0 15.0L100.0 15.0"


def test_no_data_is_said() -> None:
    assert seen(panel("stat", "T", target("x"))).nothing == "No data"
    assert (
        seen(panel("timeseries", "T", target("x"), noValue="nobody asked"), ("a", {}, [math.nan])).nothing
        == "nobody asked"
    )
    assert seen(panel("text", "T", options={"content": "words"})).nothing == ""


# Charts


def test_a_chart_is_in_the_unit_in_which_it_is_read() -> None:
    raw = panel("timeseries", "Memory", target("x"), unit="bytes", max=4 * 2**20, custom={"fillOpacity": 20})
    found = seen(raw, ("a<b>", {}, [2**20, 3 * 2**20]), ("c", {}, [0.0, math.nan]))
    first, second = found.chart["traces"]
    assert first["y"] == [None, None, None, 1.0, 3.0]
    assert (first["name"], first["suffix"], first["colour"], first["fill"]) == ("a&lt;b&gt;", "MiB", "s-1", 0.2)
    assert second["y"] == [None, None, None, 0.0, None]
    assert found.chart["axes"] == [{"suffix": "MiB", "ends": [None, 4.0], "log": False, "title": ""}]
    assert [(item.name, item.text, item.colour) for item in found.legend] == [
        ("a<b>", "3 MiB", "s-1"),
        ("c", "0 B", "s-2"),
    ]


def test_two_units_have_two_axes_and_three_are_refused() -> None:
    series: list[Series] = [("a", {}, [1.0]), ("b", {}, [0.25]), ("c", {}, [1.0])]
    found = seen(
        panel("timeseries", "T", target("x"), overrides=[override("byFrameRefID", "B", unit="s")]),
        *series[:2],
        refs="AB",
    )
    assert [trace["axis"] for trace in found.chart["traces"]] == [0, 1]
    assert [axis["suffix"] for axis in found.chart["axes"]] == ["", "ms"]
    raw = panel(
        "timeseries",
        "T",
        target("x"),
        overrides=[override("byFrameRefID", "B", unit="s"), override("byFrameRefID", "C", unit="bytes")],
    )
    with pytest.raises(PlatformError, match=r"panel 'T': it has 3 units"):
        seen(raw, *series, refs="ABC")


def test_styles_of_series() -> None:
    custom = {
        "drawStyle": "bars", "stacking": {"mode": "percent"}, "lineInterpolation": "stepAfter",
        "lineStyle": {"fill": "dash"}, "lineWidth": 2, "thresholdsStyle": {"mode": "line"},
    }  # fmt: skip
    raw = panel("timeseries", "T", target("x"), custom=custom, thresholds=GREEN_TO_RED, color={"mode": "thresholds"})
    chart = seen(raw, ("a", {}, [75.0])).chart
    (trace,) = chart["traces"]
    assert {name: trace[name] for name in ("drawn", "stacking", "steps", "dash", "width", "colour")} == {
        "drawn": "bars", "stacking": "percent", "steps": True, "dash": "dash", "width": 2.0, "colour": "c-orange",
    }  # fmt: skip
    assert chart["lines"] == [{"y": 70.0, "colour": "c-orange"}, {"y": 90.0, "colour": "c-red"}]
    far = seen(raw, ("a", {}, [40.0])).chart
    assert far["lines"] == [{"y": 70.0, "colour": "c-orange"}]


def test_stacked_series_are_in_the_unit_of_their_sum() -> None:
    raw = panel("timeseries", "T", target("x"), unit="bytes", custom={"stacking": {"mode": "normal"}})
    found = seen(raw, *((name, {}, [600.0 * 2**20]) for name in "abc"))
    assert found.chart["axes"][0]["suffix"] == "GiB"


def test_bars_are_one_a_series() -> None:
    raw = panel("barchart", "T", target("x", instant=True), unit="reqps", options={"orientation": "horizontal"})
    chart = seen(raw, ("a", {}, [2000.0]), ("b", {}, [500.0])).chart
    assert (chart["names"], chart["values"], chart["across"]) == (["a", "b"], [2.0, 0.5], True)
    assert chart["axes"][0]["suffix"] == "k req/s"


def test_a_heatmap_shows_what_fell_into_each_bucket() -> None:
    raw = panel("heatmap", "T", target("x", "{{le}}", format="heatmap"), unit="s")
    found = seen(
        raw,
        ("+Inf", {"le": "+Inf"}, [9.0, 5.0]), ("0.1", {"le": "0.1"}, [4.0, 5.0]), ("0.5", {"le": "0.5"}, [7.0, 5.0]),
        ("0.01", {"le": "0.01"}, [0.0, 0.0]),
    ).chart  # fmt: skip
    assert found["names"] == ["≤ 100 ms", "≤ 500 ms", "more"]
    assert [values[-2:] for values in found["values"]] == [[4.0, 5.0], [3.0, 0.0], [2.0, 0.0]]
    with pytest.raises(PlatformError, match=r"panel 'T': a heatmap needs the label le"):
        seen(raw, ("a", {"pod": "b"}, [1.0]))


# Tables


def test_a_table_joins_its_queries_by_labels() -> None:
    raw = panel(
        "table", "Pods", target("a", instant=True), target("b", ref="B", instant=True), unit="bytes",
        transformations=[
            {"id": "merge"},
            {"id": "organize", "options": {
                "excludeByName": {"job": True, "Time": True}, "indexByName": {"pod": 0, "Value #B": 1, "Value #A": 2},
                "renameByName": {"pod": "Pod", "Value #A": "State", "Value #B": "Memory"}}},
        ],
        overrides=[override("byName", "State", unit="none", thresholds=GREEN_TO_RED,
                            **{"custom.cellOptions": {"type": "color-background"}})],
        options={"sortBy": [{"displayName": "Memory", "desc": True}]},
    )  # fmt: skip
    found = seen(
        raw,
        ("1", {"pod": "a", "job": "x"}, [1.0]), ("2", {"pod": "b", "job": "x"}, [95.0]),
        ("3", {"pod": "b", "job": "x"}, [2048.0]), ("4", {"pod": "c", "job": "x"}, [4096.0]), refs="AABB",
    )  # fmt: skip
    assert found.headers == ("Pod", "Memory", "State")
    assert [[cell.text for cell in row] for row in found.rows] == [
        ["c", "4 KiB", "\N{EN DASH}"], ["b", "2 KiB", "95"], ["a", "\N{EN DASH}", "1"],
    ]  # fmt: skip
    assert [(row[2].colour, row[2].filled) for row in found.rows] == [("", False), ("c-red", True), ("c-green", True)]
    assert found.rows[1][1].colour == ""


def test_a_table_is_sorted_and_its_hidden_columns_are_left_out() -> None:
    hidden = override("byName", "job", **{"custom.hidden": True})
    raw = panel(
        "table", "T", target("a", instant=True), overrides=[hidden],
        transformations=[{"id": "sortBy", "options": {"sort": [{"field": "pod"}]}}],
    )  # fmt: skip
    found = seen(raw, ("1", {"pod": "b", "job": "x"}, [1.0]), ("2", {"job": "y"}, [2.0]), ("3", {"pod": "a"}, [3.0]))
    assert found.headers == ("pod", "Value")
    assert [[cell.text for cell in row] for row in found.rows] == [["a", "3"], ["b", "1"], ["\N{EN DASH}", "2"]]


def test_tables_are_joined_by_the_field_that_is_named() -> None:
    raw = panel(
        "table", "T", target("a", instant=True), target("b", ref="B", instant=True),
        transformations=[{"id": "joinByField", "options": {"byField": "pod", "mode": "outer"}}],
    )  # fmt: skip
    found = seen(raw, ("1", {"pod": "a", "job": "x"}, [1.0]), ("2", {"pod": "a", "job": "y"}, [2.0]), refs="AB")
    assert [[cell.text for cell in row] for row in found.rows] == [["x", "a", "1", "2"]]


# The page


def alert(name: str, severity: str, state: str = "firing", since: float = NOW - 60, **notes: str) -> Alert:
    """An alert as Prometheus has it."""
    return Alert({"alertname": name, "severity": severity, "component": "minio"}, notes, state, 1.0, since)


def rule(name: str, health: str = "ok") -> Rule:
    """A rule as Prometheus has it."""
    return Rule("g", "f", name, "up", "alerting", health, "", {}, {}, "inactive", NOW, ())


def scraped(health: str) -> Target:
    """A target as Prometheus has it."""
    return Target(
        {"component": "minio"},
        "http://10.0.0.1:9000/metrics",
        "serviceMonitor/ml/minio/0",
        health,
        "refused",
        NOW,
        30.0,
    )


def page(raw: Raw, health: Health | None = None, **series: list[Series]) -> str:
    """The page of one dashboard; `series` are those of panels by their titles."""
    board = parse(raw, "minio")
    answers = Answers(TIME, variables={key(board): {}})
    answers.panels[key(board)] = []
    for shown in board.panels:
        lines = tuple(
            Line("A", name, labels, tuple(zip(TIME.times[-len(values) :], values, strict=True)), shown.field(name, "A"))
            for name, labels, values in series.get(shown.title, [])
        )
        answers.panels[key(board)].append(Got(shown, shown.title, lines, (), ()))
    return draw([board], answers, health or Health([], [], []), NOW)


def test_the_page_stands_alone_and_nothing_in_it_is_taken_for_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "plotly", lambda: "cGxvdGx5")
    shown = [
        panel("timeseries", "T", target("x"), description=HOSTILE),
        panel("table", HOSTILE, target("y", instant=True)),
    ]
    health = Health([scraped("down")], [], [alert("A", "critical", summary=HOSTILE, runbook_url="javascript:alert(1)")])
    text = page(
        dashboard(HOSTILE, *shown), health, T=[(HOSTILE, {}, [1.0])], **{HOSTILE: [("a", {"pod": HOSTILE}, [1.0])]}
    )
    assert text.count("<script") == 3
    assert "alert('x')</script>" not in text
    assert "javascript:" not in text
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", text)
    assert not re.findall(r"@import|@font-face|url\(", text)
    data = json.loads(re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[0])
    (chart,) = data["charts"].values()
    assert chart["traces"][0]["y"][-1] == 1.0
    assert data["times"] == [1000_000, 1015_000, 1030_000, 1045_000, 1060_000]


def test_alerts_are_told_first_and_the_gravest_before_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "plotly", lambda: "")
    alerts = [
        alert("Slow", "warning", summary="It is slow"), alert("Watchdog", "none"),
        alert("Waiting", "critical", "pending"),
        alert("Down", "critical", since=NOW - 3600, runbook_url="https://example.org/docs/runbooks.md#down"),
    ]  # fmt: skip
    health = Health([scraped("up"), scraped("down")], [rule("Watchdog"), rule("Slow", "err")], alerts)
    assert [item.name for item in health.shown] == ["Down", "Slow", "Waiting"]
    assert [item.name for item in health.firing] == ["Down", "Slow"]
    assert (len(health.down), len(health.broken), health.switch) == (1, 1, True)
    text = page(dashboard("Test", panel("stat", "T", target("x"))), health, T=[("a", {}, [1.0])])
    assert text.index("<b>Down</b>") < text.index("<b>Slow</b>") < text.index("<b>Waiting</b>") < text.index("<nav")
    assert "<b>2</b> alerts firing" in text
    assert "fires for 1 h" in text
    assert 'href="https://example.org/docs/runbooks.md#down"' in text
    assert "dead-man" not in text


def test_a_silent_switch_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "plotly", lambda: "")
    assert Health([], [], []).switch is None
    health = Health([], [rule("Watchdog")], [])
    assert health.switch is False
    assert "dead-man" in page(dashboard("Test", panel("stat", "T", target("x"))), health)


def test_every_panel_is_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "plotly", lambda: "")
    raw = node()
    text = page(raw)
    titles = [
        item["title"] for outer in raw["panels"] for item in (outer["panels"] if outer["type"] == "row" else [outer])
    ]
    for title in titles:
        assert f">{title}</h4>" in text
    assert text.count("No data") == len(titles) - 1  # a text has none to show
    assert "<span> of 13</span></b> panels with data" in text


def test_the_program_of_plotly_is_whole_and_small() -> None:
    packed = plotly()
    assert b"plotly.js" in gzip.decompress(base64.b64decode(packed))[:200]
    assert len(packed) < 2_500_000
