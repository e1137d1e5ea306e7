# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as one HTML page that needs nothing but itself: no network, no script."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.amounts import Part, cpus, memory, totals
from ansible_collections.mlops.platform.plugins.module_utils.closing import alerts_told, first_causes, title
from ansible_collections.mlops.platform.plugins.module_utils.pages import page
from ansible_collections.mlops.platform.plugins.module_utils.timeline import RUN_PHASES

TEMPLATE = "report.html.j2"
LONGEST_VALUE = 600
LONGEST_LOG_LINE = 400
MOST_LOGS = 6
TICKS = 6
STEPS_SECONDS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)
NARROWEST_PERCENT = 0.5
"""What a phase is drawn with at least, so that a short one is seen."""


def html(document: Mapping[str, Any]) -> str:
    """The page of a report's document. Every value is escaped by the template engine."""
    checks = [check for part in document["components"] for check in part["checks"]]
    return page(
        TEMPLATE,
        (seconds, tick, memory, cpus, shown, cut, percent, points, picture, alerts_told),
        report=document,
        causes=[cause(document, failure) for failure in first_causes(document)],
        blocked={item["host"]: item["blocked_by"] for item in document["failures"] if item.get("blocked_by")},
        healthy_checks=sum(bool(check["healthy"]) for check in checks),
        checks=len(checks),
        objects=object_counts(document["components"]),
        access=[link(line) for part in document["components"] for line in part["access"]],
        charts=charts(document),
        run_phases=RUN_PHASES,
        path=path_text(document["phases"]),
        totals=totals(document["components"], document["cluster"].get("nodes", [])),
        wave_of={name: number for number, wave in enumerate(document["waves"], 1) for name in wave},
    )


def cause(document: Part, failure: Part) -> dict[str, Any]:
    """A failure with a title, the checks of its component that failed, and as much evidence as a page can hold."""
    part: Part = next((part for part in document["components"] if part["name"] == failure["host"]), {})
    failed = [check for check in part.get("checks", []) if not check["healthy"] and check["attempts"]]
    checks = failed if failure["kind"] == "check" else []
    evidence = part.get("evidence", {})
    logs = list(evidence.get("logs", {}).items())
    return {
        **failure,
        "title": title(failure, checks[0] if checks else None),
        "message": failure["message"].removeprefix(f"{failure['host']}: "),
        "checks": checks,
        "events": evidence.get("events", []),
        "logs": logs[:MOST_LOGS],
        "more_logs": len(logs[MOST_LOGS:]),
    }


def object_counts(parts: Iterable[Part]) -> dict[str, int]:
    """How many objects of all components were created, changed, removed, unchanged."""
    found = dict.fromkeys(("created", "changed", "removed", "unchanged"), 0)
    for part in parts:
        for key in found:
            value = part["objects"].get(key, 0)
            found[key] += value if isinstance(value, int) else len(value)
    return found


def link(line: str) -> dict[str, str]:
    """The parts of an access line, "name: address  (login: where)"; `url` is empty where it is no web address."""
    name, _, where = line.partition(": ")
    address, _, login = where.partition("  (")
    url = address if address.startswith(("http://", "https://")) else ""
    return {"name": name, "address": address, "url": url, "login": login.removesuffix(")").removeprefix("login: ")}


def charts(document: Part) -> list[dict[str, Any]]:
    """The timeline: the run as a whole, then its components by waves on an axis of their own."""
    phases = document["phases"]
    names = {name for wave in document["waves"] for name in wave}
    inner = [item for item in phases if item["phase"] not in RUN_PHASES and (not names or item["host"] in names)]
    outer: dict[str, list[Part]] = {}
    for item in phases:
        if item in inner:
            continue
        outer.setdefault(item["phase"] if item["phase"] in RUN_PHASES else item["host"], []).append(item)
    if inner:
        begin = min(item["begin_seconds"] for item in inner)
        whole = {"host": "", "phase": "components", "begin_seconds": begin, "duration_seconds": _end(inner) - begin}
        critical = any(item["critical"] for item in inner)
        failed = any(item["failed"] and item["phase"] != "wait" for item in inner)
        outer["components"] = [{**whole, "critical": critical, "failed": failed, "message": "", "waits_for": []}]
    if not outer:
        return []
    outer = dict(sorted(outer.items(), key=lambda lane: lane[1][0]["begin_seconds"]))
    found = [chart("The run", outer, 0.0, max(document["duration_seconds"], _end(phases)))]
    if inner:
        lanes: dict[str, list[Part]] = {}
        order = {name: (number, name) for number, wave in enumerate(document["waves"]) for name in wave}
        for item in sorted(inner, key=lambda item: order.get(item["host"], (0, item["host"]))):
            lanes.setdefault(item["host"], []).append(item)
        found.append(chart("The components", lanes, min(item["begin_seconds"] for item in inner), _end(inner)))
    return found


def _end(phases: Iterable[Part]) -> float:
    return max((float(item["begin_seconds"] + item["duration_seconds"]) for item in phases), default=0.0)


def chart(title: str, lanes: Mapping[str, Sequence[Part]], begin: float, end: float) -> dict[str, Any]:
    """Lanes of phases on one axis from `begin` to `end` (seconds since the run began); places are percents."""
    span = max(end - begin, 0.001)
    step = next((item for item in STEPS_SECONDS if span / item <= TICKS), STEPS_SECONDS[-1])
    ticks = range(int(-(-begin // step)) * step, int(end) + 1, step)
    rows = []
    for name, phases in lanes.items():
        bars = [
            {
                **item,
                "left": min(100 - NARROWEST_PERCENT, 100 * (item["begin_seconds"] - begin) / span),
                "width": max(NARROWEST_PERCENT, 100 * item["duration_seconds"] / span),
            }
            for item in sorted(phases, key=lambda item: item["phase"] == "wait", reverse=True)
        ]
        took = sum(item["duration_seconds"] for item in phases if item["phase"] != "wait")
        critical = any(item["critical"] for item in phases)
        failed = any(item["failed"] and item["phase"] != "wait" for item in phases)
        rows.append({"name": name, "bars": bars, "seconds": took, "critical": critical, "failed": failed})
    kinds = dict.fromkeys(item["phase"] for phases in lanes.values() for item in phases)
    marks = [{"second": tick, "left": 100 * (tick - begin) / span} for tick in ticks]
    return {"title": title, "rows": rows, "ticks": marks, "phases": list(kinds)}


def path_text(phases: Iterable[Part]) -> str:
    """The critical path for people: the run's own phases and the components, in order, each once."""
    names = (item["phase"] if item["phase"] in RUN_PHASES else item["host"] for item in phases if item["critical"])
    return " → ".join(dict.fromkeys(names))


def seconds(value: float) -> str:
    """A duration for people: 0.14 s, 33.6 s, 1 min 44 s, 1 h 2 min."""
    if value < 1:
        return f"{value:.2f} s"
    if value < 59.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if rest else f"{minutes} min"


def tick(value: int) -> str:
    """The label of a place on the axis: 40 s, 2 min, 1:30 min."""
    minutes, rest = divmod(value, 60)
    return f"{value} s" if value < 60 else f"{minutes}:{rest:02} min" if rest else f"{minutes} min"


def percent(value: float, of: float) -> str:
    """A share for people and for CSS, at most 100%."""
    return f"{min(100.0, 100 * value / of) if of else 0:.0f}%"


def points(share: float) -> str:
    """A part of 1 in points of a hundred."""
    return f"{100 * share:.2f}"


def picture(svg: str) -> str:
    """An SVG as the address of an image, in which nothing runs."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def shown(value: Any) -> str:
    """What a check observed or expects, as text: one line an entry of a mapping, lists in a line."""
    if isinstance(value, Mapping):
        text = "\n".join(f"{key}: {_inline(item)}" for key, item in value.items())
    else:
        text = _inline(value)
    return cut(text, LONGEST_VALUE)


def _inline(value: Any) -> str:
    if isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
        return ", ".join(map(_inline, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def cut(text: str, longest: int = LONGEST_LOG_LINE) -> str:
    """Text that says how much of it is left out."""
    left = len(text) - longest
    return text if left <= 0 else f"{text[:longest]}… ({left} characters more in report.json)"
