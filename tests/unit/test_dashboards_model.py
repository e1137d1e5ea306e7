"""Reading Grafana's dashboards: what is drawn is read, what cannot be drawn is refused by its name."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.dashboards.model import Panel, of_role, parse, read
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from dashboard_documents import Raw, dashboard, node, override, panel, row, target

UP = target("up", "{{job}}")


def one(raw: Raw) -> Panel:
    """The panel of a dashboard that has no other."""
    (found,) = parse(dashboard("Test", raw), "minio").panels
    return found


def test_rows_hold_their_panels() -> None:
    found = parse(node(), "monitoring")
    assert [(item.title, item.collapsed, len(item.panels)) for item in found.rows] == [
        ("", False, 6),
        ("Prometheus", False, 4),
        ("Details", True, 3),
    ]
    assert (found.uid, found.tags, found.component) == ("node", ("overview",), "monitoring")
    assert [item.title for item in found.rows[1].panels] == [
        "Requests and latency", "Duration of requests", "Requests by handler", "Targets",
    ]  # fmt: skip


def test_places_count_from_the_top_of_their_row() -> None:
    prometheus = parse(node(), "monitoring").rows[1]
    assert [(item.place.x, item.place.y) for item in prometheus.panels] == [(0, 0), (12, 0), (0, 8), (12, 8)]


def test_a_row_without_panels_stays() -> None:
    found = parse(dashboard("Test", row("Empty", 0), row("Full", 1), panel("stat", "Up", UP, at=(0, 2, 4, 4))), "minio")
    assert [(item.title, len(item.panels)) for item in found.rows] == [("Empty", 0), ("Full", 1)]


def test_targets() -> None:
    found = one(
        panel("table", "T", target("a", "__auto"), target(" b ", "{{le}}", "B", instant=True, format="heatmap"),
              target("c", ref="C", hide=True), target("d", ref="D", instant=True, range=True))
    ).targets  # fmt: skip
    assert [(item.ref, item.expr, item.legend, item.instant, item.buckets) for item in found] == [
        ("A", "a", "", False, False),
        ("B", "b", "{{le}}", True, True),
        ("D", "d", "", False, False),
    ]


def test_fields_and_their_overrides() -> None:
    red = {"mode": "fixed", "fixedColor": "semi-dark-red"}
    found = one(
        panel(
            "timeseries",
            "T",
            UP,
            unit="bytes",
            min=0,
            decimals=1,
            custom={"fillOpacity": 10, "stacking": {"mode": "none"}},
            overrides=[
                override("byName", "errors", color=red, unit="s"),
                override("byRegexp", "/^ERR/i", max=5),
                override("byFrameRefID", "B", **{"custom.stacking.mode": "normal"}),
            ],
        )
    )
    plain = found.field("others", "A")
    assert (plain.unit, plain.low, plain.decimals, plain.colour) == ("bytes", 0, 1, "")
    assert math.isnan(plain.high)
    errors = found.field("errors", "A")
    assert (errors.unit, errors.colour, errors.high) == ("s", "c-red", 5)
    assert found.field("x", "B").custom == {"fillOpacity": 10, "stacking": {"mode": "normal"}}
    assert found.field("x", "A").custom == {"fillOpacity": 10, "stacking": {"mode": "none"}}


def test_thresholds() -> None:
    steps = [{"color": "green", "value": None}, {"color": "#e0b400", "value": 80}, {"color": "dark-red", "value": 90}]
    absolute = one(panel("gauge", "T", UP, thresholds={"mode": "absolute", "steps": steps})).field()
    assert [absolute.threshold(value) for value in (-1, 79, 80, 95, math.nan)] == [
        "c-green", "c-green", "#e0b400", "c-red", "c-green",
    ]  # fmt: skip
    percent = one(panel("gauge", "T", UP, min=0, max=1, thresholds={"mode": "percentage", "steps": steps})).field()
    assert [percent.threshold(value) for value in (0.5, 0.8, 1)] == ["c-green", "#e0b400", "c-red"]
    assert one(panel("gauge", "T", UP)).field().threshold(3) == ""


def test_mappings() -> None:
    found = one(
        panel(
            "stat",
            "T",
            UP,
            mappings=[
                {"type": "value", "options": {"0": {"text": "down", "color": "red"}, "1": {"text": "up"}}},
                {"type": "range", "options": {"from": 2, "to": None, "result": {"text": "many", "color": "green"}}},
                {"type": "special", "options": {"match": "null+nan", "result": {"text": "nobody"}}},
            ],
        )
    ).field()
    said = [(item.text, item.colour) if (item := found.meaning(value)) else None for value in (0, 1, 1.5, 7, math.nan)]
    assert said == [("down", "c-red"), ("up", ""), None, ("many", "c-green"), ("nobody", "")]


def test_variables() -> None:
    listed: list[Raw] = [
        {"name": "ds", "type": "datasource", "query": "prometheus"},
        {"name": "pod", "type": "query", "query": {"query": "label_values(up, pod)"}, "includeAll": True, "multi": True,
         "current": {"value": ["$__all"]}, "allValue": ".+"},
        {"name": "size", "label": "Size", "type": "custom", "query": "small : 1,large : 2", "current": {"value": "2"}},
    ]  # fmt: skip
    _, pod, size = parse(dashboard("Test", templating={"list": listed}), "minio").variables
    assert (pod.query, pod.all_of_them, pod.everything, pod.current) == ("label_values(up, pod)", True, ".+", ())
    assert (size.label, size.all_of_them, size.current) == ("Size", False, ("2",))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (panel("piechart", "Share", UP),
         "panel 'Share': type is 'piechart', which cannot be drawn; allowed are timeseries,"),
        (panel("stat", "Up", UP, unit="parsec"), "panel 'Up': unit is 'parsec'; allowed are none, short,"),
        (panel("stat", "Up", UP, color={"mode": "fixed", "fixedColor": "mauve"}),
         "a colour is 'mauve'; allowed are green,"),
        (panel("stat", "Up", UP, options={"reduceOptions": {"calcs": ["variance"]}}), "the calculation is 'variance'"),
        (panel("stat", "Up", UP, transformations=[{"id": "reduce"}]), "a transformation is 'reduce'"),
        (panel("stat", "Up", UP, repeat="pod"), "it is repeated by a variable"),
        (panel("stat", "Up", target("")), "the query A has no expression"),
        (panel("stat", "Up"), "panel 'Up': it has no query"),
        (panel("stat", "Up", UP, mappings=[{"type": "regex"}]), "a mapping is of the type 'regex'"),
        (panel("stat", "Up", UP, overrides=[override("byType", "number")]), "the matcher of an override is 'byType'"),
        (panel("stat", "Up", UP, overrides=[override("byName", "a", unit="ells")]), "unit is 'ells'"),
        (panel("stat", "Up", UP, overrides=[override("byName", "a", filterable=True)]),
         "a property of an override is 'filterable'"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused_by_name(raw: Raw, words: str) -> None:
    with pytest.raises(PlatformError) as told:
        parse(dashboard("Objects", raw), "minio")
    assert str(told.value).startswith("dashboard 'Objects' of minio, panel ")
    assert words in str(told.value)


def test_a_panel_in_a_collapsed_row_is_refused_too() -> None:
    with pytest.raises(PlatformError, match=r"dashboard 'Objects' of minio, panel 'Share': type is 'piechart'"):
        parse(dashboard("Objects", row("More", 0, panel("piechart", "Share", UP))), "minio")


@pytest.mark.parametrize("content", ["{", "[]", '{"title": "no panels"}', '{"panels": {}}'])
def test_a_file_that_is_no_dashboard_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "dashboard.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(PlatformError) as told:
        read(path, "minio")
    assert str(path) in str(told.value)


def test_a_role_may_have_several(tmp_path: Path) -> None:
    folder = tmp_path / "files" / "monitoring"
    folder.mkdir(parents=True)
    titles: dict[str, Any] = {
        "dashboard-models.json": "Models",
        "dashboard.json": "KServe",
        "rules.json": "no dashboard",
    }
    for name, title in titles.items():
        (folder / name).write_text(json.dumps(dashboard(title)), encoding="utf-8")
    assert [item.title for item in of_role(tmp_path, "kserve")] == ["KServe", "Models"]
    assert of_role(tmp_path / "nowhere", "kserve") == []
