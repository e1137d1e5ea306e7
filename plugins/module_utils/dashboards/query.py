# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panels of dashboards ask a live Prometheus, and what it answers: all at once, each question once."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ansible_collections.mlops.platform.plugins.module_utils.dashboards.model import (
    Dashboard,
    Field,
    Panel,
    Target,
    Variable,
)
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.prometheus import (
    CONNECTIONS,
    Prometheus,
    PrometheusError,
    Series,
)

RATE_SCRAPES = 4
"""The scrapes that a rate sees at least ($__rate_interval)."""
GROWN_SCRAPES = 3
"""After so many scrapes there are rates of a target: two of them are one, and rules are evaluated as often."""
LEAST_STEP_SECONDS = 15
MOST_POINTS = 240
SHORTEST_SECONDS = 300
LABEL_VALUES = re.compile(r"label_values\((?P<metric>.+),\s*(?P<label>\w+)\s*\)", re.DOTALL)
LEGEND = re.compile(r"\{\{\s*([\w.]+)\s*\}\}")
REFERENCE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::\w+)?\})")
SPECIAL = re.compile(r"([\\.+*?()|\[\]{}^$])")
"""What means something in a regular expression of RE2."""
Question = tuple[str, bool]
"""An expression, and whether it is asked for now and not for a time."""
Result = tuple[list[Series], str]
"""The series of an expression, or why there are none."""


@dataclass(frozen=True)
class Span:
    """The time that panels show: Unix seconds, one point each `step` seconds, a scrape each `scrape` seconds."""

    start: float
    end: float
    step: int
    scrape: float = 30.0

    @property
    def times(self) -> list[float]:
        """The times of all points."""
        return [self.start + number * self.step for number in range(int((self.end - self.start) / self.step) + 1)]

    @property
    def known(self) -> dict[str, str]:
        """Grafana's own variables for it."""
        rate = round(max(RATE_SCRAPES * self.scrape, self.step + self.scrape))
        length = int(self.end - self.start)
        return {
            "__interval": f"{self.step}s",
            "__interval_ms": f"{self.step * 1000}",
            "__rate_interval": f"{rate}s",
            "__range": f"{length}s",
            "__range_s": f"{length}",
            "__range_ms": f"{length * 1000}",
        }


@dataclass(frozen=True)
class Line:
    """A series of a panel: its name for people, its points (Unix seconds, value), and how they are shown."""

    ref: str
    name: str
    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]
    field: Field


@dataclass(frozen=True)
class Answer:
    """What a panel got: its title for people, its lines, Prometheus's refusals, and the queries without a number."""

    panel: Panel
    title: str
    lines: tuple[Line, ...]
    errors: tuple[str, ...]
    empty: tuple[str, ...]


@dataclass(frozen=True)
class Chosen:
    """The values of a variable on the page, and what stands for them in a query."""

    values: tuple[str, ...]
    text: str


@dataclass
class Answers:
    """What the panels of dashboards got, and what the variables of each dashboard were; both in their order."""

    span: Span
    panels: dict[str, list[Answer]] = field(default_factory=dict)
    variables: dict[str, dict[str, Chosen]] = field(default_factory=dict)

    @property
    def errors(self) -> list[str]:
        """Every refusal, a line each, which names the panel."""
        return [f"{item.panel.where}: {error}" for item in self.all for error in item.errors]

    @property
    def empty(self) -> list[str]:
        """Every query that gave no number, a line each, which names the panel."""
        return [f"{item.panel.where}: no data for {expr}" for item in self.all for expr in item.empty]

    @property
    def all(self) -> list[Answer]:
        """The answers for all panels."""
        return [item for found in self.panels.values() for item in found]


def key(dashboard: Dashboard) -> str:
    """What a dashboard is told from others by."""
    return f"{dashboard.component}/{dashboard.uid}"


def span(prometheus: Prometheus, now: float, seconds: float) -> Span:
    """The last `seconds` before `now` (Unix seconds), or as much of them as Prometheus has seen."""
    step = max(LEAST_STEP_SECONDS, math.ceil(seconds / MOST_POINTS / LEAST_STEP_SECONDS) * LEAST_STEP_SECONDS)
    end = math.floor(now)
    start = end - math.ceil(seconds / step) * step
    seen = prometheus.query_range("count(up)", start, end, step)
    first = seen[0].points[0][0] if seen and seen[0].points else start
    scrape = max((item.interval for item in prometheus.targets()), default=Span.scrape)
    return Span(min(first, end - math.ceil(SHORTEST_SECONDS / step) * step), end, step, scrape)


def young(prometheus: Prometheus, time: Span) -> bool:
    """Whether a target was scraped for the first time so lately that rates of what it tells are still to come."""
    counts = prometheus.query(f"min(count_over_time(up[{2 * GROWN_SCRAPES * time.scrape:.0f}s]) and up)")
    return not counts or counts[0].value < GROWN_SCRAPES


def without_data(dashboards: Sequence[Dashboard], prometheus: Prometheus, time: Span) -> list[str]:
    """The queries of panels that give no number or are refused, a line each: none where every panel has data."""
    found = ask(dashboards, prometheus, time)
    return [*found.errors, *found.empty]


def ask(dashboards: Sequence[Dashboard], prometheus: Prometheus, time: Span) -> Answers:
    """What the panels of dashboards show of a time. A query that Prometheus refuses is a part of its panel's answer.

    Raises PlatformError for a variable that cannot be resolved, urllib3.exceptions.HTTPError where nobody answers.
    """
    found = Answers(time)
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        resolved = threads.map(lambda item: variables(item.variables, prometheus, time), dashboards)
        found.variables = dict(zip(map(key, dashboards), resolved, strict=True))
        texts = {
            key(item): time.known | {name: chosen.text for name, chosen in found.variables[key(item)].items()}
            for item in dashboards
        }
        questions = {
            (replaced(target.expr, texts[key(item)]), target.instant)
            for item in dashboards
            for panel in item.panels
            for target in panel.targets
        }
        asked = {question: threads.submit(_asked, prometheus, time, *question) for question in sorted(questions)}
        results = {question: future.result() for question, future in asked.items()}
    for item in dashboards:
        words = time.known | {name: " + ".join(chosen.values) for name, chosen in found.variables[key(item)].items()}
        found.panels[key(item)] = [_answer(panel, texts[key(item)], words, results) for panel in item.panels]
    return found


def _asked(prometheus: Prometheus, time: Span, expr: str, instant: bool) -> Result:
    """The series of an expression, or why there are none."""
    try:
        if not instant:
            return prometheus.query_range(expr, time.start, time.end, time.step), ""
        return [Series(item.labels, ((item.time, item.value),)) for item in prometheus.query(expr, time.end)], ""
    except PrometheusError as error:
        return [], str(error)


def _answer(
    panel: Panel, texts: Mapping[str, str], words: Mapping[str, str], results: Mapping[Question, Result]
) -> Answer:
    """A panel's part of the results; `texts` are what variables are in queries, `words` what they are to people."""
    lines: list[Line] = []
    errors: list[str] = []
    empty: list[str] = []
    for target in panel.targets:
        expr = replaced(target.expr, texts)
        series, error = results[(expr, target.instant)]
        if error:
            errors.append(error)
        elif not any(not math.isnan(value) for item in series for _, value in item.points):
            empty.append(expr)
        shown = [item for item in series if not (len(series) > 1 and _stands_for_nothing(item))]
        lines += [_line(panel, target, item, words, alone=len(shown) == 1) for item in shown]
    return Answer(panel, replaced(panel.title, words), tuple(lines), tuple(errors), tuple(empty))


def _stands_for_nothing(series: Series) -> bool:
    """Whether it is the zero of `or on () vector(0)`, which is not shown beside the series that it stood for."""
    return not series.labels and all(value == 0 for _, value in series.points)


def _named(target: Target, series: Series) -> bool:
    """Whether the name of a target's series means something: one of labels needs labels."""
    return bool(series.labels) or not LEGEND.search(target.legend)


def _line(panel: Panel, target: Target, series: Series, words: Mapping[str, str], alone: bool) -> Line:
    name = legend(replaced(target.legend, words), series.labels) if _named(target, series) else ""
    name = name or (described(series.labels) if not alone else "") or replaced(panel.title, words)
    shown = panel.field(name, target.ref)
    return Line(target.ref, replaced(shown.name, words) or name, series.labels, series.points, shown)


def legend(pattern: str, labels: Mapping[str, str]) -> str:
    """A name made of labels: `{{pod}}` stands for the label pod."""
    return LEGEND.sub(lambda found: labels.get(found[1], ""), pattern).strip()


def described(labels: Mapping[str, str]) -> str:
    """The labels of a series as Prometheus writes them."""
    inner = ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items()) if name != "__name__")
    return labels.get("__name__", "") + (f"{{{inner}}}" if inner else "")


def replaced(text: str, values: Mapping[str, str]) -> str:
    """A text with the values of variables in the places of $name, ${name} and ${name:format}; others stay."""
    return REFERENCE.sub(lambda found: values.get(found[1] or found[2], found[0]), text)


def variables(wanted: Iterable[Variable], prometheus: Prometheus, time: Span) -> dict[str, Chosen]:
    """The values of a dashboard's variables, each of which may refer to those before it.

    Raises PlatformError for a query that is not label_values(metric, label), or that has no value.
    """
    found: dict[str, Chosen] = {}
    for item in wanted:
        if item.kind == "datasource":
            continue
        texts = time.known | {name: chosen.text for name, chosen in found.items()}
        values = _values(item, texts, prometheus, time)
        if item.all_of_them:
            found[item.name] = Chosen(tuple(values), item.everything or _one_of(values))
        else:
            chosen = [value for value in values if value in item.current] or values[:1]
            found[item.name] = Chosen(tuple(chosen), _one_of(chosen) if len(chosen) > 1 else "".join(chosen))
    return found


def _values(item: Variable, texts: Mapping[str, str], prometheus: Prometheus, time: Span) -> list[str]:
    if item.kind != "query":
        return [value.rpartition(" : ")[2].strip() for value in item.query.split(",")]
    query = LABEL_VALUES.fullmatch(replaced(item.query, texts).strip())
    if query is None:
        raise PlatformError(f"{item.where}: query is {item.query!r}; allowed is label_values(metric, label)")
    metric, label = query["metric"], query["label"]
    expr = f"group by ({label}) (last_over_time({metric}[{texts['__range']}]))"
    try:
        values = {sample.labels.get(label, "") for sample in prometheus.query(expr, time.end)} - {""}
    except PrometheusError as error:
        raise PlatformError(f"{item.where}: {error}") from error
    if item.pattern:
        pattern = re.compile(item.pattern.strip("/"))
        values = {found[pattern.groups and 1] for value in values if (found := pattern.search(value))}
    return sorted(values)


def _one_of(values: Sequence[str]) -> str:
    """A pattern that is one of some values; one that is nothing where there are none."""
    escaped = [SPECIAL.sub(r"\\\\\1", value) for value in values]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})" if escaped else "nothing"
