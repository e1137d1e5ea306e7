"""The words in which dashboards are written: panels that look alike and say the same by the same colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    gauge,
    heatmap,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphTresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Panel,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMapping,
    ValueMappingResult,
    VariableOption,
    VariableRefresh,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

Built = Builder[Panel]
Query = tuple[str, str]
"""An expression of Prometheus's, and the name of its series with {{labels}}."""
Bounds = tuple[float, float]
"""From where a value is a warning, and from where it is bad. The second may be the smaller one: then small is bad."""
PANEL_HEIGHT = 8
NUMBER_HEIGHT = 4
NUMBER_WIDTH = 4


@dataclass(frozen=True)
class Row:
    """Panels under a title; the first row of a dashboard has none."""

    title: str
    panels: Sequence[Built]


@dataclass(frozen=True)
class Board:
    """A dashboard: where its file is below roles/, and what it shows. Each of `variables` is a name and its query."""

    file: str
    title: str
    about: str
    rows: Sequence[Row]
    tags: Sequence[str] = ()
    variables: Mapping[str, str] | None = None

    def json(self) -> str:
        """The file's content, as Grafana imports it."""
        name = self.file.replace("/files/monitoring/dashboard", "").removesuffix(".json")
        made = (
            dashboard.Dashboard(self.title)
            .uid(f"mlops-{name.replace('_', '-')}")
            .description(self.about)
            .tags(["mlops", *self.tags])
            .readonly()
            .tooltip(DashboardCursorSync.CROSSHAIR)
            .time("now-1h", "now")
            .refresh("30s")
            .timezone("browser")
        )
        for variable, query in (self.variables or {}).items():
            made.with_variable(
                dashboard.QueryVariable(variable)
                .query(query)
                .multi(True)
                .include_all(True)
                .current(VariableOption(text=["All"], value=["$__all"]))
                .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            )
        for row in self.rows:
            if row.title:
                made.with_row(dashboard.Row(row.title))
            for panel in row.panels:
                made.with_panel(panel)
        found = made.build()
        for place, item in enumerate(found.panels or (), 1):
            item.id_val = place
        return JSONEncoder(sort_keys=True, indent=2).encode(found) + "\n"


def number(
    title: str,
    expr: str,
    unit: str = "short",
    about: str = "",
    bounds: Bounds | None = None,
    words: Mapping[int, tuple[str, str]] | None = None,
    *,
    width: int = NUMBER_WIDTH,
    legend: str = "",
    way: bool = True,
    plain: bool = False,
) -> Built:
    """One big number with its way here; `words` are texts and colours in the place of values.

    With a `legend` there is one for each series. `plain` ones have the colour of text.
    """
    panel = (
        stat.Panel()
        .title(title)
        .unit(unit)
        .span(width)
        .height(NUMBER_HEIGHT)
        .graph_mode(BigValueGraphMode.AREA if way and not legend else BigValueGraphMode.NONE)
        .color_mode(BigValueColorMode.NONE if plain or not (bounds or words) else BigValueColorMode.VALUE)
        .text_mode(BigValueTextMode.VALUE_AND_NAME if legend else BigValueTextMode.AUTO)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_thresholds(bounds))
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .with_target(_target(expr, legend, instant=bool(legend)))
    )
    if words:
        panel.mappings(_mappings(words))
    return _about(panel, about)


def level(title: str, expr: str, bounds: Bounds, about: str = "", unit: str = "percentunit", width: int = 4) -> Built:
    """How full something is: a share of one."""
    return _about(
        gauge.Panel()
        .title(title)
        .unit(unit)
        .min(0)
        .max(1)
        .span(width)
        .height(NUMBER_HEIGHT)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_thresholds(bounds))
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .with_target(_target(expr)),
        about,
    )


def levels(title: str, query: Query, bounds: Bounds, about: str = "", width: int = 12, height: int = 8) -> Built:
    """How full some things are: shares of one, a bar each."""
    return _about(
        bargauge.Panel()
        .title(title)
        .unit("percentunit")
        .min(0)
        .max(1)
        .span(width)
        .height(height)
        .orientation(VizOrientation.HORIZONTAL)
        .display_mode(BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_thresholds(bounds))
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .with_target(_target(*query, instant=True)),
        about,
    )


def lines(
    title: str,
    *queries: Query,
    unit: str = "short",
    about: str = "",
    stacked: bool | Literal["percent"] = False,
    least: float | None = 0,
    most: float | None = None,
    bound: float | None = None,
    width: int = 12,
) -> Built:
    """Values over time; `bound` is drawn as the line at which an alert begins, `least` and `most` end the scale."""
    panel = (
        timeseries.Panel()
        .title(title)
        .unit(unit)
        .span(width)
        .height(PANEL_HEIGHT)
        .line_width(1)
        .fill_opacity(25 if stacked else 8)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
    )
    for place, query in enumerate(queries):
        panel.with_target(_target(*query, ref=place))
    if least is not None:
        panel.min(least)
    if most is not None:
        panel.max(most)
    if stacked:
        mode = StackingMode.PERCENT if stacked == "percent" else StackingMode.NORMAL
        panel.stacking(common.StackingConfig().mode(mode))
    if bound is not None:
        steps = [Threshold(value=None, color="transparent"), Threshold(value=bound, color="red")]
        panel.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.DASHED))
    return _about(panel, about)


def rates(title: str, metric: str, own: str, label: str, unit: str = "reqps", legend: str = "") -> Built:
    """How often something is counted, by a label, one on top of the other; zero where it never was."""
    query = (or_zero(f"sum by ({label}) (rate({metric}{own}[5m]))"), legend or f"{{{{{label}}}}}")
    return lines(title, query, unit=unit, stacked=True)


def spread(title: str, metric: str, own: str, unit: str = "s") -> Built:
    """How the values of a histogram were spread over its buckets."""
    expr = f"sum by (le) (increase({metric}{own}[$__rate_interval]))"
    return (
        heatmap.Panel()
        .title(title)
        .unit(unit)
        .span(12)
        .height(PANEL_HEIGHT)
        .calculate(False)
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .with_target(_target(expr, "{{le}}").format(PromQueryFormat.HEATMAP))
    )


@dataclass(frozen=True)
class Column:
    """A column of numbers: its name, the expression of its values, their unit and bounds."""

    name: str
    expr: str
    unit: str = "short"
    bounds: Bounds | None = None
    words: Mapping[int, tuple[str, str]] | None = None


def rows(
    title: str, labels: Mapping[str, str], *columns: Column, about: str = "", width: int = 24, height: int = 8
) -> Built:
    """A table: a row for each combination of `labels`, which are shown under other names, with columns of numbers."""
    refs = [_ref(place) for place in range(len(columns))]
    values = {f"Value #{ref}" if len(refs) > 1 else "Value": column for ref, column in zip(refs, columns, strict=True)}
    shown = {**labels, **{value: column.name for value, column in values.items()}}
    first = next(iter(labels.values()))
    panel = table.Panel().title(title).span(width).height(height)
    panel.sort_by([common.TableSortByFieldState().display_name(first).desc(False)])
    for place, column in enumerate(columns):
        expr = f"sum by ({', '.join(labels)}) ({column.expr})"
        panel.with_target(_target(expr, instant=True, ref=place).format(PromQueryFormat.TABLE))
        properties = [DynamicConfigValue(id_val="unit", value=column.unit)]
        if column.bounds or column.words:
            properties.append(DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}))
        if column.bounds:
            properties.append(DynamicConfigValue(id_val="thresholds", value=_thresholds(column.bounds).build()))
        if column.words:
            properties.append(DynamicConfigValue(id_val="mappings", value=_mappings(column.words)))
        panel.override_by_name(column.name, properties)
    if len(columns) > 1:
        panel.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(
        DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {"Time": True},
                "indexByName": {name: place for place, name in enumerate(shown)},
                "renameByName": shown,
            },
        )
    )
    return _about(panel, about)


def or_zero(expr: str) -> str:
    """A sum by labels that is zero where there is nothing: where nobody asked for anything, that is no fault."""
    return f"{expr} or on () vector(0)"


def _target(expr: str, legend: str = "", *, instant: bool = False, ref: int = 0) -> prometheus.Dataquery:
    found = prometheus.Dataquery().expr(" ".join(expr.split())).ref_id(_ref(ref)).legend_format(legend)
    return found.instant() if instant else found.range()


def _ref(place: int) -> str:
    return chr(ord("A") + place)


def _thresholds(bounds: Bounds | None) -> dashboard.ThresholdsConfig:
    colours: list[tuple[float | None, str]] = [(None, "green")]
    if bounds and bounds[0] <= bounds[1]:
        colours += [(bounds[0], "orange"), (bounds[1], "red")] if bounds[0] < bounds[1] else [(bounds[1], "red")]
    elif bounds:
        colours = [(None, "red"), (bounds[1], "orange"), (bounds[0], "green")]
    steps = [Threshold(value=value, color=colour) for value, colour in colours]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _mappings(words: Mapping[int, tuple[str, str]]) -> list[ValueMapping]:
    options = {
        str(value): ValueMappingResult(text=text, color=colour, index=place)
        for place, (value, (text, colour)) in enumerate(words.items())
    }
    return [ValueMap(options=options)]


def _about(panel: Any, about: str) -> Built:
    found: Built = panel.description(about) if about else panel
    return found
