"""What was measured, for people: the tables of docs/serving-performance.md and the plot beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench.results import table
from bench.serving.load import Load
from bench.serving.watch import changes

GOAL_MS = 100.0
"""What 95 % of the requests through the edge must be answered in, at 100 a second and without an error."""
Leg = Mapping[str, Any]


def summary(load: Load, seconds: float) -> dict[str, Any]:
    """A load in numbers: rates in requests a second, times in milliseconds from when a request was due."""
    latencies = np.array([item.latency for item in load.samples]) * 1000
    failed = [item.outcome for item in load.samples if item.outcome != "200"]
    end = max(seconds, *(item.due + item.latency for item in load.samples))
    quantiles = {f"p{part}_ms": round(float(np.percentile(latencies, part)), 1) for part in (50, 95, 99)}
    return {
        "requests": len(load.samples),
        "answered_per_second": round((len(load.samples) - len(failed)) / end, 1),
        "errors": {outcome: failed.count(outcome) for outcome in sorted(set(failed))},
        **quantiles,
        "max_ms": round(float(latencies.max()), 1),
        "left_late_p99_ms": round(float(np.percentile([item.late for item in load.samples], 99)) * 1000, 1),
        "generator_processors": round(load.processor_seconds / end, 2),
    }


def met(leg: Leg) -> bool:
    """Whether a leg met the goal."""
    return not leg["errors"] and leg["p95_ms"] < GOAL_MS


def markdown(document: Mapping[str, Any]) -> str:
    """All tables, each with a line before it that says what it shows."""
    machine, legs = document["machine"], document["legs"]
    steady = [leg for leg in legs if leg["part"] == "steady"]
    lines = [
        f"Measured on a machine with {machine['processors']} processors and Kubernetes {machine['kubernetes']}; the "
        "load is made on the same machine. Milliseconds are from when a request was due.",
        "![Percentiles of each way, and pods and load over time](serving-performance.svg)",
        "## A constant load",
        _legs(steady),
        "\n".join(_verdicts(steady)),
        "## More load than two pods carry",
        _legs([leg for leg in legs if leg["part"] == "more"]),
        _replicas(document),
    ]
    return "\n\n".join(lines)


def _legs(legs: Sequence[Leg]) -> str:
    def row(leg: Leg) -> list[str]:
        errors = ", ".join(f"{number} {outcome}" for outcome, number in leg["errors"].items()) or "0"
        return [
            leg["service"], leg["way"], f"{leg['rate']:g}/s for {leg['seconds']:g} s",
            f"{leg['answered_per_second']:g}/s", errors,
            *(f"{leg[key]:.0f}" for key in ("p50_ms", "p95_ms", "p99_ms", "max_ms")),
            _range(leg["replicas"]), f"{leg['processors_busy']:.2f}", f"{leg['generator_processors']:.2f}",
        ]  # fmt: skip

    heads = ["service", "way", "asked", "answered", "errors", "p50 ms", "p95 ms", "p99 ms", "max ms", "pods"]
    return table([*heads, "processors busy", "of these the load's"], [row(leg) for leg in legs])


def _range(replicas: Sequence[int]) -> str:
    low, high = min(replicas), max(replicas)
    return f"{low}" if low == high else f"{low} to {high}"


def _verdicts(legs: Sequence[Leg]) -> list[str]:
    lines = []
    for service in dict.fromkeys(leg["service"] for leg in legs):
        ways = {leg["way"]: leg for leg in legs if leg["service"] == service}
        edge = ways["edge"]
        goal = "met" if met(edge) else "missed"
        line = f"- {service}: the goal, p95 below {GOAL_MS:.0f} ms without an error, is **{goal}**"
        if (pod := ways.get("pod")) and not pod["errors"]:
            ratios = ", ".join(f"{edge[f'{key}_ms'] / pod[f'{key}_ms']:.2f} at {key}" for key in ("p50", "p95", "p99"))
            line += f"; through the edge a request takes {ratios} times as long as straight to the pods"
        lines.append(f"{line}.")
    return lines


def _replicas(document: Mapping[str, Any]) -> str:
    lines = ["Pods that were ready, over the whole run:", ""]
    for service in document["services"]:
        steps = [f"{number} at {moment:.0f} s" for moment, number in changes(document["replicas"], service)]
        lines.append(f"- {service}: {', '.join(steps)}")
    return "\n".join(lines)


def plot(document: Mapping[str, Any], path: Path) -> None:
    """Draw the percentiles of each leg, and pods and load over the time of the run, as SVG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams.update({"svg.hashsalt": "mlops.platform", "svg.fonttype": "none"})
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    above, below = figure.subplots(2, 1)
    steady = [leg for leg in document["legs"] if leg["part"] == "steady"]
    for offset, key in zip((-0.25, 0, 0.25), ("p50", "p95", "p99"), strict=True):
        above.bar([at + offset for at in range(len(steady))], [leg[f"{key}_ms"] for leg in steady], 0.25, label=key)
    above.axhline(GOAL_MS, color="tab:red", linestyle=":", label=f"goal for p95: {GOAL_MS:.0f} ms")
    above.set_xticks(range(len(steady)), [f"{leg['service']}\n{leg['way']}" for leg in steady])
    above.set(ylabel="milliseconds", title=f"{steady[0]['rate']:g} requests a second" if steady else "")
    above.legend(fontsize="small")
    moments = [moment for moment, _ in document["replicas"]]
    for service in document["services"]:
        numbers = [counts.get(service, 0) for _, counts in document["replicas"]]
        below.step(moments, numbers, where="post", label=f"{service}: pods ready")
    rates = below.twinx()
    for leg in document["legs"]:
        rates.fill_between([leg["began"], leg["ended"]], [leg["rate"]] * 2, color="tab:grey", alpha=0.25, linewidth=0)
    rates.set(ylabel="requests a second (grey)", ylim=(0, None))
    below.set(xlabel="seconds", ylabel="pods", ylim=(0, None), title="Pods follow the load")
    below.legend(fontsize="small", loc="upper left")
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
