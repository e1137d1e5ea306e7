# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dashboards as one page that needs nothing but itself: numbers and tables are its text, charts are drawn by plotly.

What a chart is made of goes into the page as data, in the units in which its axis is read. Colours are names of the
page's own (`--s-1`, `--c-red` in templates/dashboards.css), since a page is light or dark when it is looked at.
"""

from __future__ import annotations

import base64
import gzip
import html
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.dashboards import units
from ansible_collections.mlops.platform.plugins.module_utils.dashboards.model import COLUMNS, Dashboard, Field, Panel
from ansible_collections.mlops.platform.plugins.module_utils.dashboards.query import Answer, Answers, Line, Span, key
from ansible_collections.mlops.platform.plugins.module_utils.dashboards.tables import Cell, table
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.pages import page
from ansible_collections.mlops.platform.plugins.module_utils.prometheus import Alert, Rule, Target

TEMPLATE = "dashboards.html.j2"
SWITCH = "Watchdog"
"""The alert that fires always, so that a receiver notices when it does not."""
SEVERITIES = ("critical", "warning", "info")
PALETTE = 10
"""The number of colours for series."""
NEAR = 2
"""How many times the largest value a threshold may be to be drawn."""
SPARK_WIDTH, SPARK_HEIGHT = 100, 30
POINT_DIGITS = 5
"""Digits of a point that count: more than a chart can show."""
WHOLE = {"percent": 100.0, "percentunit": 1.0}
"""Where a scale ends that says no end of its own."""


@dataclass(frozen=True)
class Value:
    """A number of a panel: its text, its colour, its share of the scale (0 to 1), its way here as an SVG path."""

    name: str
    text: str
    colour: str = ""
    share: float = 0.0
    spark: str = ""


@dataclass(frozen=True)
class TableCell:
    """A cell: its text, its colour, whether it fills with it, and whether it is a number."""

    text: str
    colour: str = ""
    filled: bool = False
    number: bool = False


@dataclass(frozen=True)
class View:
    """A panel as the template draws it; `nothing` is what is said where there are no data."""

    identifier: str
    panel: Panel
    title: str
    nothing: str = ""
    errors: tuple[str, ...] = ()
    values: tuple[Value, ...] = ()
    headers: tuple[str, ...] = ()
    rows: tuple[tuple[TableCell, ...], ...] = ()
    legend: tuple[Value, ...] = ()
    chart: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tinted(self) -> bool:
        """Whether the whole panel has the colour of its value."""
        return self.panel.options.get("colorMode") in ("background", "background_solid")


@dataclass(frozen=True)
class Shown:
    """An alert as it is shown: `since` is a time in Unix seconds, `value` a text."""

    name: str
    severity: str
    component: str
    state: str
    summary: str
    description: str
    runbook: str
    since: float
    value: str


@dataclass(frozen=True)
class Health:
    """How the Prometheus is that was asked: its targets, its rules, its alerts."""

    targets: Sequence[Target]
    rules: Sequence[Rule]
    alerts: Sequence[Alert]

    @property
    def down(self) -> list[Target]:
        """Targets that do not answer."""
        return [item for item in self.targets if item.health == "down"]

    @property
    def broken(self) -> list[Rule]:
        """Rules that cannot be evaluated."""
        return [item for item in self.rules if item.health == "err"]

    @property
    def shown(self) -> list[Shown]:
        """The alerts for people, those that fire before those that wait, the gravest and the oldest first."""
        found = [_shown(item) for item in self.alerts if item.name != SWITCH]
        return sorted(found, key=lambda item: (item.state != "firing", _gravity(item.severity), item.since))

    @property
    def firing(self) -> list[Shown]:
        """Those of them that fire."""
        return [item for item in self.shown if item.state == "firing"]

    @property
    def switch(self) -> bool | None:
        """Whether the dead-man's switch fires, as it must; None where there is none."""
        if any(item.name == SWITCH for item in self.rules):
            return any(item.name == SWITCH and item.state == "firing" for item in self.alerts)
        return None


def _shown(alert: Alert) -> Shown:
    notes = alert.annotations
    link = notes.get("runbook_url", "")
    return Shown(
        name=alert.name,
        severity=alert.labels.get("severity", ""),
        component=alert.labels.get("component", ""),
        state=alert.state,
        summary=notes.get("summary") or alert.name,
        description=notes.get("description", ""),
        runbook=link if link.startswith(("https://", "http://")) else "",
        since=alert.since,
        value=units.digits(alert.value),
    )


def _gravity(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


def draw(dashboards: Sequence[Dashboard], answers: Answers, health: Health, now: float) -> str:
    """The page of dashboards; `now` in Unix seconds is when they were asked.

    Raises PlatformError naming a panel that cannot be drawn.
    """
    parts = [
        (
            item,
            [
                view(f"p{number}-{index}", answer, answers.span)
                for index, answer in enumerate(answers.panels[key(item)])
            ],
        )
        for number, item in enumerate(dashboards)
    ]
    views = [found for _, own in parts for found in own]
    return page(
        TEMPLATE,
        (moment, age, text_colour),
        dashboards=[
            {"dashboard": item, "rows": rows(item, own), "variables": _variables(item, answers)} for item, own in parts
        ],
        charts={found.identifier: found.chart for found in views if found.chart},
        times=[round(1000 * time) for time in answers.span.times],
        span=answers.span,
        health=health,
        empty=len([found for found in views if found.nothing]),
        panels=len(views),
        now=now,
        columns=COLUMNS,
        plotly=plotly(),
    )


def plotly() -> str:
    """The program of plotly for browsers, compressed and in base64: a fourth of its five megabytes."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


def rows(dashboard: Dashboard, views: Iterable[View]) -> list[dict[str, Any]]:
    """The rows of a dashboard with the views of their panels."""
    left = iter(views)
    return [{"row": row, "views": [next(left) for _ in row.panels]} for row in dashboard.rows]


def _variables(dashboard: Dashboard, answers: Answers) -> list[tuple[str, str]]:
    """The variables of a dashboard and their values, for people."""
    found = answers.variables[key(dashboard)]
    return [
        (item.label, ", ".join(found[item.name].values) or "none") for item in dashboard.variables if item.name in found
    ]


def view(identifier: str, answer: Answer, span: Span) -> View:
    """A panel with what it got."""
    panel, lines = answer.panel, [line for line in answer.lines if line.points]
    about: dict[str, Any] = {"identifier": identifier, "panel": panel, "title": answer.title, "errors": answer.errors}
    if panel.kind == "text":
        return View(**about)
    if not any(not math.isnan(value) for line in lines for _, value in line.points):
        return View(**about, nothing=panel.field().nothing)
    if panel.kind == "table":
        return View(**about, **_table(answer, span.end))
    if panel.kind in ("stat", "gauge", "bargauge"):
        return View(**about, values=tuple(_values(panel, lines, span.end)))
    if panel.kind == "barchart":
        return View(**about, chart=_bars(panel, lines))
    if panel.kind == "heatmap":
        return View(**about, chart=_heatmap(panel, lines, span))
    chart, legend = _timeseries(panel, lines, span)
    return View(**about, chart=chart, legend=legend)


# Numbers


def reduced(line: Line, calculation: str) -> float:
    """A series as one number; NaN where it has none."""
    numbers = [value for _, value in line.points if not math.isnan(value)]
    if calculation == "last":
        return line.points[-1][1]
    if not numbers:
        return math.nan
    ways = {"mean": lambda: sum(numbers) / len(numbers), "max": lambda: max(numbers), "min": lambda: min(numbers)}
    return ways.get(calculation, {"sum": lambda: sum(numbers)}.get(calculation, lambda: numbers[-1]))()


def _values(panel: Panel, lines: Sequence[Line], now: float) -> Iterator[Value]:
    """The numbers of a panel, one a series."""
    numbers = [reduced(line, panel.calculation) for line in lines]
    largest = max((value for value in numbers if not math.isnan(value)), default=math.nan)
    named = panel.kind == "bargauge" or len(lines) > 1 or panel.options.get("textMode") in ("name", "value_and_name")
    spark = panel.kind == "stat" and panel.options.get("graphMode") == "area"
    for line, value in zip(lines, numbers, strict=True):
        shown = line.field
        text, colour = worded(value, shown, now, largest)
        yield Value(
            name=line.name if named else "",
            text=text,
            colour=colour if panel.options.get("colorMode") != "none" else "",
            share=_share(value, shown, largest),
            spark=sparkline(line.points) if spark else "",
        )


def worded(value: float, shown: Field, now: float, largest: float = math.nan) -> tuple[str, str]:
    """A value as text, and its colour; `now` (Unix seconds) is what ages are counted from."""
    meaning = shown.meaning(value)
    text = meaning.text if meaning and meaning.text else units.amount(value, shown.unit, shown.decimals, now)
    chosen = (meaning.colour if meaning else "") or shown.colour or shown.threshold(value, largest)
    return text, chosen


def _share(value: float, shown: Field, largest: float) -> float:
    """Where a value is on its scale, from 0 to 1."""
    if math.isnan(value):
        return 0.0
    low = 0.0 if math.isnan(shown.low) else shown.low
    high = WHOLE.get(shown.unit, largest) if math.isnan(shown.high) else shown.high
    return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.0


def sparkline(points: Sequence[tuple[float, float]]) -> str:
    """The way of a series as an SVG path of 100 by 30; empty for less than two points."""
    known = [(time, value) for time, value in points if math.isfinite(value)]
    if len(known) < 2:
        return ""
    begin, length = known[0][0], known[-1][0] - known[0][0]
    low, high = min(value for _, value in known), max(value for _, value in known)
    steps = [f"{SPARK_WIDTH * (time - begin) / length:.1f} {_height(value, low, high):.1f}" for time, value in known]
    return f"M{'L'.join(steps)}"


def _height(value: float, low: float, high: float) -> float:
    return SPARK_HEIGHT - 1 - (SPARK_HEIGHT - 2) * ((value - low) / (high - low) if high > low else 0.5)


def _table(answer: Answer, now: float) -> dict[str, Any]:
    """The headers and the cells of a table."""
    found = table(answer)
    fields = [answer.panel.field(column.name, column.ref) for column in found.columns]

    def cell(value: Cell, shown: Field) -> TableCell:
        if not isinstance(value, float):
            return TableCell(value or units.NOTHING)
        text, chosen = worded(value, shown, now)
        kind = str((shown.custom.get("cellOptions") or {}).get("type") or "")
        return TableCell(text, chosen if kind.startswith("color-") else "", kind == "color-background", number=True)

    return {
        "headers": tuple(shown.name or column.name for column, shown in zip(found.columns, fields, strict=True)),
        "rows": tuple(tuple(map(cell, row, fields)) for row in found.rows),
    }


# Charts


def _timeseries(panel: Panel, lines: Sequence[Line], span: Span) -> tuple[dict[str, Any], tuple[Value, ...]]:
    """The chart of series over time, and its legend: their newest values."""
    axes = list(dict.fromkeys(line.field.unit for line in lines))
    if len(axes) > 2:
        raise PlatformError(
            f"{panel.where}: it has {len(axes)} units ({', '.join(axes)}); a chart has at most two axes"
        )
    largest = {unit: _largest([line for line in lines if line.field.unit == unit]) for unit in axes}
    sizes = {unit: units.step(unit, largest[unit]) for unit in axes}
    traces: list[dict[str, Any]] = []
    legend: list[Value] = []
    for number, line in enumerate(lines):
        shown, size = line.field, sizes[line.field.unit]
        last = reduced(line, "lastNotNull")
        chosen = series_colour(shown, number, last)
        legend.append(Value(line.name, units.amount(last, shown.unit, shown.decimals, span.end), chosen))
        traces.append({
            "name": html.escape(line.name),
            "y": _points(line, span, size.factor),
            "suffix": size.suffix,
            "axis": axes.index(shown.unit),
            "colour": chosen,
            **_style(shown),
        })  # fmt: skip
    first = lines[0].field
    return {
        "kind": "time",
        "traces": traces,
        "axes": [_axis(next(line.field for line in lines if line.field.unit == unit), sizes[unit]) for unit in axes],
        "lines": _threshold_lines(first, sizes[axes[0]].factor, largest[axes[0]]),
    }, tuple(legend)


def _largest(lines: Sequence[Line]) -> float:
    """The largest value that a chart of lines shows; stacked ones add up."""
    tops = [max((abs(value) for _, value in line.points if math.isfinite(value)), default=0.0) for line in lines]
    return sum(tops) if "stacking" in _style(lines[0].field) else max(tops)


def _points(line: Line, span: Span, factor: float) -> list[float | None]:
    """A value for each time of the page; None where there is none."""
    known = {round((time - span.start) / span.step): value for time, value in line.points}
    return [_rounded(known.get(number, math.nan) / factor) for number in range(len(span.times))]


def _rounded(value: float) -> float | None:
    return float(f"{value:.{POINT_DIGITS}g}") if math.isfinite(value) else None


def _style(shown: Field) -> dict[str, Any]:
    """How a series is drawn: what differs from a plain line."""
    custom = shown.custom
    style: dict[str, Any] = {}
    if (drawn := custom.get("drawStyle", "line")) != "line":
        style["drawn"] = str(drawn)
    if stacking := str((custom.get("stacking") or {}).get("mode") or "none").removeprefix("none"):
        style["stacking"] = stacking
    if custom.get("fillOpacity"):
        style["fill"] = min(1.0, float(custom["fillOpacity"]) / 100)
    if str(custom.get("lineInterpolation", "")).startswith("step"):
        style["steps"] = True
    if (custom.get("lineStyle") or {}).get("fill") in ("dash", "dot"):
        style["dash"] = custom["lineStyle"]["fill"]
    if "lineWidth" in custom:
        style["width"] = float(custom["lineWidth"])
    return style


def _axis(shown: Field, size: units.Step) -> dict[str, Any]:
    """A scale of numbers: its ends, and what stands behind its numbers."""
    ends = [_rounded(end / size.factor) for end in (shown.low, shown.high)]
    logarithmic = (shown.custom.get("scaleDistribution") or {}).get("type") == "log"
    return {"suffix": size.suffix, "ends": ends, "log": logarithmic, "title": str(shown.custom.get("axisLabel") or "")}


def _threshold_lines(shown: Field, factor: float, largest: float) -> list[dict[str, Any]]:
    """The thresholds of a chart that shows them as lines: those near its values, which would be flat below others."""
    mode = str((shown.custom.get("thresholdsStyle") or {}).get("mode") or "off")
    if mode == "off" or shown.percentage:
        return []
    return [
        {"y": item.value / factor, "colour": item.colour}
        for item in shown.thresholds
        if 0 <= item.value <= NEAR * largest
    ]


def _bars(panel: Panel, lines: Sequence[Line]) -> dict[str, Any]:
    """Bars side by side: one a series, of its number now."""
    numbers = [reduced(line, panel.calculation) for line in lines]
    shown = lines[0].field
    size = units.step(shown.unit, max((abs(value) for value in numbers if math.isfinite(value)), default=0.0))
    return {
        "kind": "bars",
        "names": [html.escape(line.name) for line in lines],
        "values": [_rounded(value / size.factor) for value in numbers],
        "colours": [
            series_colour(line.field, number, value)
            for number, (line, value) in enumerate(zip(lines, numbers, strict=True))
        ],
        "across": panel.options.get("orientation") == "horizontal",
        "axes": [_axis(shown, size)],
    }


def _heatmap(panel: Panel, lines: Sequence[Line], span: Span) -> dict[str, Any]:
    """How many values fell into each bucket at each time; the buckets of a histogram hold those below them, too."""
    found: list[tuple[float, list[float | None]]] = []
    for line in lines:
        try:
            bound = float(line.labels["le"].replace("Inf", "inf"))
        except (KeyError, ValueError):
            raise PlatformError(f"{panel.where}: a heatmap needs the label le of a histogram in each series") from None
        found.append((bound, _points(line, span, 1.0)))
    found.sort(key=lambda item: item[0])
    unit = str(((panel.options.get("yAxis") or {}).get("unit")) or lines[0].field.unit)
    own, before = list[list[float | None]](), [0.0] * len(span.times)
    for _, points in found:
        own.append(
            [None if value is None else max(0.0, value - low) for value, low in zip(points, before, strict=True)]
        )
        before = [low if value is None else value for value, low in zip(points, before, strict=True)]
    used = [index for index, points in enumerate(own) if any(points)] or [0, len(own) - 1]
    kept = slice(used[0], used[-1] + 1)
    names = [f"≤ {units.amount(bound, unit)}" if math.isfinite(bound) else "more" for bound, _ in found]
    return {"kind": "heat", "names": names[kept], "values": [[_maybe(value) for value in row] for row in own[kept]]}


def _maybe(value: float | None) -> float | None:
    return None if value is None else _rounded(value)


# Colours


def series_colour(shown: Field, number: int, last: float) -> str:
    """The colour of a series: its own, that of the threshold which its newest value reached, or the next one."""
    reached = shown.threshold(last) if shown.colours == "thresholds" else ""
    return shown.colour or reached or f"s-{number % PALETTE + 1}"


def text_colour(name: str) -> str:
    """A colour of the page as CSS writes it."""
    return f"var(--{name})" if name.startswith(("c-", "s-")) else name


def moment(time: float) -> str:
    """A time (Unix seconds) for people."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M")


def age(seconds: float) -> str:
    """A duration for people."""
    return units.amount(max(0.0, seconds), "s", 0)
