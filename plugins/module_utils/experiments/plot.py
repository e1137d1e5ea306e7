# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A decision as a picture: the difference of each measure with its interval, and the latency of both versions."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

COLOURS = {"better": "#2e7d32", "no worse": "#1565c0", "unclear": "#757575", "worse": "#c62828"}
VERSIONS = {"champion": "#1565c0", "candidate": "#ef6c00"}
SETTINGS: Any = {
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "mlops.platform",
    "font.family": "sans-serif",
    "font.size": 10,
}
"""Text stays text, and the same numbers make the same file."""

PARTS = np.linspace(0, 1, 201)
"""More points of a distribution than these cannot be seen."""


def draw(document: Mapping[str, Any], seconds: Mapping[str, Sequence[float]]) -> str:
    """The picture as SVG; `seconds` are the latencies that the client had of the good answers, by role."""
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(11, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[3, 2])
        _differences(left, document["measures"])
        _latencies(right, document, seconds)
        names = f"version {document['candidate']['version']} against version {document['champion']['version']}"
        model = "".join(character for character in document["model"] if character.isprintable())
        figure.suptitle(f"{model}: {names}: {document['outcome']}", fontweight="bold")
        content = io.StringIO()
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    text = content.getvalue()
    return text[text.index("<svg") :]


def _differences(axes: Any, measures: Sequence[Mapping[str, Any]]) -> None:
    """Each measure's interval in points; beyond the mark on the right a candidate would be worse by what matters."""
    places = range(len(measures), 0, -1)
    for place, measure in zip(places, measures, strict=True):
        colour = COLOURS[measure["verdict"]]
        low, middle, high = (100 * measure[key] for key in ("low", "difference", "high"))
        axes.plot([low, high], [place, place], color=colour, linewidth=3, solid_capstyle="butt")
        axes.plot([middle], [place], "o", color=colour)
        axes.plot([100 * measure["margin"]] * 2, [place - 0.3, place + 0.3], color="black", linestyle=":")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(list(places), [f"{item['name']}\n{item['verdict']}" for item in measures])
    axes.set_ylim(0.4, len(measures) + 0.6)
    axes.set_xlabel("more bad events than the champion, in points (left is better; dotted: what matters)")
    axes.spines[["top", "right"]].set_visible(False)


def _latencies(axes: Any, document: Mapping[str, Any], seconds: Mapping[str, Sequence[float]]) -> None:
    """Which part of the answers took how long."""
    for role, values in seconds.items():
        if values:
            label = f"{role}, version {document[role]['version']}"
            shown = np.quantile(values, PARTS) if len(values) > len(PARTS) else values
            axes.ecdf([1000 * value for value in shown], label=label, color=VERSIONS[role])
    axes.axvline(1000 * document["limit_seconds"], color="black", linestyle=":", label="slow beyond this")
    axes.axhline(0.95, color="black", linewidth=0.5)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel("latency as the client has it, in ms")
    axes.set_ylabel("part of the answers")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="x", labelsize=8)
    axes.legend(loc="best", frameon=False, fontsize=8)
