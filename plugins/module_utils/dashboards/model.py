# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A typed reading of Grafana's dashboards (their JSON model, as Grafana itself imports and exports it).

Only what the page draws is read. What it cannot draw is an error that names the dashboard and the panel: a panel is
never left out. What only decorates (cursors, legends' places, links) is passed over.
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ansible_collections.mlops.platform.plugins.module_utils.dashboards import units
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

Kind = Literal["timeseries", "stat", "gauge", "bargauge", "table", "barchart", "heatmap", "text"]
KINDS: tuple[str, ...] = get_args(Kind)
CALCULATIONS = ("lastNotNull", "last", "mean", "max", "min", "sum")
TRANSFORMATIONS = ("organize", "merge", "joinByField", "sortBy")
MATCHERS = ("byName", "byRegexp", "byFrameRefID")
PROPERTIES = ("unit", "decimals", "min", "max", "noValue", "displayName", "thresholds", "mappings", "color", "custom")
DECORATION = ("links", "description")
"""Properties of fields that the page has no use for."""
VARIABLES = ("query", "custom", "constant", "interval", "textbox", "datasource")
FILES = "files/monitoring/dashboard*.json"
"""The dashboards of a role."""
COLOURS = ("green", "yellow", "orange", "red", "blue", "purple")
"""Grafana's names of colours, each with its shades."""
SHADES = re.compile(r"(?:(?:super-light|light|semi-dark|dark)-)?(\w+)")
OWN_COLOUR = re.compile(r"#[0-9a-fA-F]{3,8}|(?:rgb|hsl)a?\([\d\s,.%/]+\)")
COLUMNS = 24
"""The width of a dashboard in Grafana's grid; a row of the grid is 30 pixels high."""
REGEXP = re.compile(r"/(.*)/([a-z]*)")
Raw = Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """A query of a panel. `instant` asks for now and not for a time; `buckets` are of a histogram, by `le`."""

    ref: str
    expr: str
    legend: str
    instant: bool
    buckets: bool


@dataclass(frozen=True)
class Threshold:
    """The colour of values from `value` on, as `colour_of` gives it."""

    value: float
    colour: str


@dataclass(frozen=True)
class Meaning:
    """A text and a colour (empty: as other values) instead of the values from `low` to `high`; NaN where `nothing`."""

    text: str
    colour: str
    low: float = -math.inf
    high: float = math.inf
    nothing: bool = False

    def of(self, value: float) -> bool:
        """Whether a value has this meaning."""
        return self.nothing if math.isnan(value) else not self.nothing and self.low <= value <= self.high


@dataclass(frozen=True)
class Field:
    """How values are shown: Grafana's field configuration.

    `low` and `high` are the ends of the scale (NaN: by the values). Thresholds are percents of it where `percentage`.
    `colour` is a fixed one; `colours` is the way in which others are chosen: thresholds, palette-classic, empty.
    """

    unit: str = ""
    decimals: int | None = None
    low: float = math.nan
    high: float = math.nan
    nothing: str = "No data"
    name: str = ""
    thresholds: tuple[Threshold, ...] = ()
    percentage: bool = False
    meanings: tuple[Meaning, ...] = ()
    colour: str = ""
    colours: str = ""
    custom: Raw = field(default_factory=dict)

    @classmethod
    def parse(cls, raw: Raw, where: str) -> Field:
        """The field of Grafana's JSON. Raises PlatformError, which begins with `where`, for what cannot be drawn."""
        unit = str(raw.get("unit") or "")
        if not units.known(unit):
            raise PlatformError(f"{where}: unit is {unit!r}; allowed are {', '.join(filter(None, units.NAMES))}")
        colour, thresholds = raw.get("color") or {}, raw.get("thresholds") or {}
        mode = str(colour.get("mode") or "")
        return cls(
            unit=unit,
            decimals=None if raw.get("decimals") is None else int(raw["decimals"]),
            low=_number(raw.get("min")),
            high=_number(raw.get("max")),
            nothing=str(raw.get("noValue") or "No data"),
            name=str(raw.get("displayName") or ""),
            thresholds=tuple(
                Threshold(
                    -math.inf if item.get("value") is None else float(item["value"]), colour_of(item["color"], where)
                )
                for item in thresholds.get("steps") or []
            ),
            percentage=thresholds.get("mode") == "percentage",
            meanings=tuple(_meanings(raw.get("mappings") or [], where)),
            colour=colour_of(colour.get("fixedColor"), where) if mode in ("fixed", "shades") else "",
            colours=mode,
            custom=raw.get("custom") or {},
        )

    def meaning(self, value: float) -> Meaning | None:
        """What a value is shown as instead of itself."""
        return next((item for item in self.meanings if item.of(value)), None)

    def threshold(self, value: float, largest: float = math.nan) -> str:
        """The colour of a value by the thresholds; empty where there are none.

        `largest` ends a scale of percents that says no end of its own.
        """
        if self.percentage:
            low = 0.0 if math.isnan(self.low) else self.low
            high = largest if math.isnan(self.high) else self.high
            value = 100 * (value - low) / (high - low) if high > low else math.nan
        reached = [item.colour for item in self.thresholds if item.value == -math.inf or value >= item.value]
        return reached[-1] if reached else ""


@dataclass(frozen=True)
class Override:
    """Other settings for some of a panel's series: those of a name, of a pattern of names, or of a target."""

    matcher: str
    option: str
    properties: tuple[tuple[str, Any], ...]

    def matches(self, name: str, ref: str) -> bool:
        """Whether it is about the series `name` of the target `ref`."""
        if self.matcher == "byRegexp":
            found = REGEXP.fullmatch(self.option)
            pattern, flags = (found[1], found[2]) if found else (self.option, "")
            return bool(re.search(pattern, name, re.IGNORECASE if "i" in flags else 0))
        return self.option == (ref if self.matcher == "byFrameRefID" else name)


@dataclass(frozen=True)
class Place:
    """Where a panel is in its row: columns of 24, and rows of 30 pixels."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Panel:
    """A panel; `where` names it and its dashboard in errors, `defaults` is Grafana's JSON of its fields."""

    where: str
    title: str
    description: str
    kind: Kind
    place: Place
    targets: tuple[Target, ...]
    options: Raw
    defaults: Raw
    overrides: tuple[Override, ...]
    transformations: tuple[tuple[str, Raw], ...]

    @property
    def calculation(self) -> str:
        """How a series becomes one number."""
        return str(((self.options.get("reduceOptions") or {}).get("calcs") or ["lastNotNull"])[0])

    def field(self, name: str = "", ref: str = "") -> Field:
        """How the series `name` of the target `ref` is shown."""
        return self._field(item for item in self.overrides if item.matches(name, ref))

    def _field(self, overrides: Iterator[Override]) -> Field:
        raw = copy.deepcopy(dict(self.defaults))
        for override in overrides:
            for path, value in override.properties:
                *parents, last = path.split(".")
                inner = raw
                for key in parents:
                    inner = inner.setdefault(key, {})
                inner[last] = value
        return Field.parse(raw, self.where)

    def check(self) -> None:
        """Raise PlatformError for a field or a calculation that cannot be drawn."""
        self._field(iter(()))
        for override in self.overrides:
            self._field(iter((override,)))
        _one_of(self.calculation, CALCULATIONS, f"{self.where}: the calculation")


@dataclass(frozen=True)
class Row:
    """Panels under a title, which is empty for those before the first row; a collapsed one is shown closed."""

    title: str
    collapsed: bool
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Variable:
    """A variable of a dashboard. `query` says where its values come from, `current` are those that it was saved with.

    `everything` is what stands for all its values where that is chosen: a pattern, or empty for one made of them.
    """

    where: str
    name: str
    label: str
    kind: str
    query: str
    pattern: str
    current: tuple[str, ...]
    all_of_them: bool
    everything: str


@dataclass(frozen=True)
class Dashboard:
    """A dashboard; `component` is whose it is."""

    component: str
    uid: str
    title: str
    description: str
    tags: tuple[str, ...]
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...]

    @property
    def panels(self) -> list[Panel]:
        """All its panels."""
        return [panel for row in self.rows for panel in row.panels]


def of_role(role: Path, component: str) -> list[Dashboard]:
    """The dashboards that the role of a component brings."""
    return [read(path, component) for path in sorted(role.glob(FILES), key=lambda path: path.stem)]


def read(path: Path, component: str) -> Dashboard:
    """The dashboard in a file. Raises PlatformError naming the file, or the dashboard and the panel."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PlatformError(f"{path}: a dashboard that cannot be read: {error}") from error
    if not isinstance(raw, Mapping) or not isinstance(raw.get("panels"), list):
        raise PlatformError(f"{path}: no dashboard of Grafana's: it must be a mapping with a list of panels")
    return parse(raw, component)


def parse(raw: Raw, component: str) -> Dashboard:
    """The dashboard of Grafana's JSON. Raises PlatformError naming the dashboard and the panel."""
    title = str(raw.get("title") or raw.get("uid") or component)
    where = f"dashboard {title!r} of {component}"
    templating = (raw.get("templating") or {}).get("list") or []
    return Dashboard(
        component=component,
        uid=str(raw.get("uid") or component),
        title=title,
        description=str(raw.get("description") or ""),
        tags=tuple(map(str, raw.get("tags") or ())),
        rows=tuple(_rows(raw["panels"], where)),
        variables=tuple(_variable(item, where) for item in templating),
    )


def _rows(panels: Sequence[Raw], where: str) -> Iterator[Row]:
    """The rows of a dashboard. The panels of an open row follow it, those of a collapsed one are inside."""
    title, collapsed, own = "", False, list[Raw]()
    for item in sorted(panels, key=lambda item: (item.get("gridPos") or {}).get("y", 0)):
        if item.get("type") != "row":
            own.append(item)
            continue
        if own or title:
            yield _row(title, collapsed, own, where)
        title, collapsed = str(item.get("title") or ""), bool(item.get("collapsed"))
        if item.get("repeat"):
            raise PlatformError(f"{where}, row {title!r}: it is repeated by a variable, which cannot be drawn")
        own = list(item.get("panels") or ())
    if own or title:
        yield _row(title, collapsed, own, where)


def _row(title: str, collapsed: bool, panels: Sequence[Raw], where: str) -> Row:
    top = min((_place(item).y for item in panels), default=0)
    found = [_panel(item, top, where) for item in panels]
    return Row(title, collapsed, tuple(sorted(found, key=lambda panel: (panel.place.y, panel.place.x))))


def _place(raw: Raw, top: int = 0) -> Place:
    grid = raw.get("gridPos") or {}
    return Place(int(grid.get("x", 0)), int(grid.get("y", 0)) - top, int(grid.get("w", COLUMNS)), int(grid.get("h", 8)))


def _panel(raw: Raw, top: int, where: str) -> Panel:
    title = str(raw.get("title") or "")
    where = f"{where}, panel {title or raw.get('id')!r}"
    kind = _one_of(raw.get("type"), KINDS, f"{where}: type")
    if raw.get("repeat"):
        raise PlatformError(
            f"{where}: it is repeated by a variable, which cannot be drawn: let one panel have all of it"
        )
    config = raw.get("fieldConfig") or {}
    for item in raw.get("transformations") or ():
        _one_of(item.get("id"), TRANSFORMATIONS, f"{where}: a transformation")
    panel = Panel(
        where=where,
        title=title,
        description=str(raw.get("description") or ""),
        kind=kind,  # type: ignore[arg-type]
        place=_place(raw, top),
        targets=tuple(_target(item, where) for item in raw.get("targets") or () if not item.get("hide")),
        options=raw.get("options") or {},
        defaults=config.get("defaults") or {},
        overrides=tuple(_override(item, where) for item in config.get("overrides") or ()),
        transformations=tuple((item["id"], item.get("options") or {}) for item in raw.get("transformations") or ()),
    )
    if not panel.targets and kind != "text":
        raise PlatformError(f"{where}: it has no query")
    panel.check()
    return panel


def _target(raw: Raw, where: str) -> Target:
    expr = str(raw.get("expr") or "").strip()
    if not expr:
        raise PlatformError(f"{where}: the query {raw.get('refId', '')} has no expression of Prometheus's")
    return Target(
        ref=str(raw.get("refId") or ""),
        expr=expr,
        legend=str(raw.get("legendFormat") or "").replace("__auto", ""),
        instant=bool(raw.get("instant")) and not raw.get("range"),
        buckets=raw.get("format") == "heatmap",
    )


def _override(raw: Raw, where: str) -> Override:
    matcher = raw.get("matcher") or {}
    kind = _one_of(matcher.get("id"), MATCHERS, f"{where}: the matcher of an override")
    found = [
        (str(item["id"]), item.get("value")) for item in raw.get("properties") or () if item["id"] not in DECORATION
    ]
    for name, _ in found:
        _one_of(name.partition(".")[0], PROPERTIES, f"{where}: a property of an override")
    return Override(kind, str(matcher.get("options") or ""), tuple(found))


def _variable(raw: Raw, where: str) -> Variable:
    name = str(raw.get("name") or "")
    where = f"{where}, variable {name!r}"
    kind = _one_of(raw.get("type"), VARIABLES, f"{where}: type")
    query, current = raw.get("query"), (raw.get("current") or {}).get("value")
    chosen = [str(item) for item in current] if isinstance(current, list) else [str(current)] if current else []
    multiple = bool(raw.get("includeAll"))
    return Variable(
        where=where,
        name=name,
        label=str(raw.get("label") or name),
        kind=kind,
        query=str((query or {}).get("query", "") if isinstance(query, Mapping) else query or ""),
        pattern=str(raw.get("regex") or ""),
        current=tuple(item for item in chosen if item != "$__all"),
        all_of_them=multiple and (not chosen or "$__all" in chosen),
        everything=str(raw.get("allValue") or ""),
    )


def _meanings(raw: Sequence[Raw], where: str) -> Iterator[Meaning]:
    for item in raw:
        kind, options = item.get("type"), item.get("options") or {}
        if kind == "value":
            for value, result in options.items():
                yield Meaning(*_result(result, where), float(value), float(value))
        elif kind == "range":
            low, high = _number(options.get("from")), _number(options.get("to"))
            ends = (-math.inf if math.isnan(low) else low, math.inf if math.isnan(high) else high)
            yield Meaning(*_result(options.get("result") or {}, where), *ends)
        elif kind == "special" and "n" in str(options.get("match")):  # null, nan, null+nan
            yield Meaning(*_result(options.get("result") or {}, where), nothing=True)
        else:
            raise PlatformError(
                f"{where}: a mapping is of the type {kind!r}; allowed are value, range, special (null, nan)"
            )


def _result(raw: Raw, where: str) -> tuple[str, str]:
    return str(raw.get("text") or ""), colour_of(raw.get("color"), where)


def colour_of(name: Any, where: str) -> str:
    """The page's colour for one of Grafana's: a name of its own (c-red), or what CSS knows; empty for the text's own.

    Raises PlatformError, which begins with `where`, for an unknown one.
    """
    if not name or name in ("text", "transparent"):
        return ""
    if OWN_COLOUR.fullmatch(str(name)):
        return str(name)
    found = SHADES.fullmatch(str(name))
    if found and found[1] in COLOURS:
        return f"c-{found[1]}"
    raise PlatformError(f"{where}: a colour is {name!r}; allowed are {', '.join(COLOURS)}, their shades, #rrggbb")


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _one_of(value: Any, allowed: Sequence[str], what: str) -> str:
    if value not in allowed:
        raise PlatformError(f"{what} is {value!r}, which cannot be drawn; allowed are {', '.join(allowed)}")
    return str(value)
