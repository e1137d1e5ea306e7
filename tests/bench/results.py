"""What was measured, for people: the tables of docs/performance.md and the plot beside it, from one document."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- measured -->", "<!-- end of measured -->"
Document = Mapping[str, Any]


def between_marks(text: str, content: str) -> str:
    """`text` with `content` between its two marks. Raises ValueError where it does not have them."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the marks {BEGIN} and {END} are missing")
    return f"{before}{BEGIN}\n{content.strip()}\n{END}{after}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def markdown(document: Document) -> str:
    """All tables, each with a line before it that says what it shows."""
    return "\n\n".join(
        [
            _machine(document),
            "## Applying, beside `kubectl apply --server-side`",
            "Seconds are medians, a ratio is that of the ratios of runs made in turn; below 1 is faster than kubectl.",
            _applying(document["applying"]),
            _growth(document),
            "## Components that build on each other",
            "Nothing changed; each component has ten objects and a check that asks a server through a port-forward.",
            _waves(document["waves"]),
            "## Where a run's time goes",
            _phases(document["applying"]),
        ]
    )


def _machine(document: Document) -> str:
    machine = document["machine"]
    return (
        f"Measured with {document['rounds']} rounds on a machine with {machine['processors']} processors, "
        f"Kubernetes {machine['kubernetes']}, ansible-core {machine['ansible']} and Python {machine['python']}."
    )


def _applying(rows: Sequence[Document]) -> str:
    def row(item: Document) -> list[str]:
        seconds = {name: statistics.median(values) for name, values in item["seconds"].items()}
        return [
            f"{item['objects']:,}",
            item["changed"],
            *(f"{seconds[name]:.2f} s" for name in ("kubectl", "apply", "run")),
            f"**{item['ratios']['apply']:.2f}**",
            f"{item['ratios']['run']:.2f}",
        ]

    heads = ["objects", "changed", "kubectl", "applying", "whole run", "applying ÷ kubectl", "whole run ÷ kubectl"]
    return table(heads, [row(item) for item in rows])


def growth(rows: Sequence[Document], part: str) -> tuple[float, float]:
    """How often more objects the largest unchanged case has than the smallest, and how often more time `part` takes."""
    unchanged = sorted((item for item in rows if item["changed"] == "nothing"), key=lambda item: item["objects"])
    small, large = unchanged[0], unchanged[-1]
    times = [statistics.median(item["seconds"][part]) for item in (small, large)]
    return large["objects"] / small["objects"], times[1] / times[0]


def _growth(document: Document) -> str:
    objects, ours = growth(document["applying"], "apply")
    _, theirs = growth(document["applying"], "kubectl")
    lines = [
        f"- {objects:g} times as many unchanged objects take {ours:.1f} times as long to apply, "
        f"by kubectl {theirs:.1f} times.",
        f"- A playbook that does nothing takes {statistics.median(document['start_up']):.2f} s: no run can take less.",
    ]
    if single := document.get("per_object"):
        lines.append(
            f"- One `kubernetes.core.k8s` task an object takes **{single['ratio']:.0f} times** as long as kubectl, "
            f"measured with {single['objects']} unchanged objects, start of ansible-playbook not counted; "
            "both grow in proportion to the objects, so that it was not measured with more."
        )
    return "\n".join(lines)


def _waves(rows: Sequence[Document]) -> str:
    def row(item: Document) -> list[str]:
        seconds = {name: statistics.median(values) for name, values in item["seconds"].items()}
        return [
            str(item["components"]),
            item["shape"],
            f"{seconds['run']:.1f} s",
            f"{seconds['run'] / item['components']:.2f} s",
            f"{seconds['critical_path']:.1f} s",
            f"**{item['ratio']:.2f}**",
            f"{seconds['work']:.1f} s",
        ]

    heads = ["components", "shape", "whole run", "for each component", "critical path"]
    heads += ["whole run ÷ critical path", "work of ours on it"]
    return table(heads, [row(item) for item in rows])


def _phases(rows: Sequence[Document]) -> str:
    names = list(rows[0]["phases"])
    shown = [item for item in rows if item["changed"] in {"nothing", rows[0]["changed"]}]
    return table(
        ["objects", "changed", *names],
        [
            [f"{item['objects']:,}", item["changed"], *(f"{100 * item['phases'][name]:.0f} %" for name in names)]
            for item in shown
        ],
    )


def plot(document: Document, path: Path) -> None:
    """Draw unchanged and new objects against seconds, and whole runs against their critical path, as SVG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # The same numbers make the same file; text stays text.
    mpl.rcParams.update({"svg.hashsalt": "mlops.platform", "svg.fonttype": "none"})
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for change, style in (("nothing", "-"), (document["applying"][0]["changed"], ":")):
        rows = [item for item in document["applying"] if item["changed"] == change]
        for part, name, colour in (("kubectl", "kubectl", "tab:orange"), ("apply", "applying", "tab:blue")):
            seconds = [statistics.median(item["seconds"][part]) for item in rows]
            label = f"{name}, {'unchanged' if change == 'nothing' else 'all new'}"
            left.plot([item["objects"] for item in rows], seconds, style, marker="o", color=colour, label=label)
    left.set(xscale="log", yscale="log", xlabel="objects", ylabel="seconds", title="Applying")
    left.legend(fontsize="small")
    left.grid(visible=True, which="both", alpha=0.2)
    names = [f"{item['components']}\n{item['shape']}" for item in document["waves"]]
    for offset, part, label in ((-0.2, "run", "whole run"), (0.2, "critical_path", "critical path")):
        heights = [statistics.median(item["seconds"][part]) for item in document["waves"]]
        right.bar([place + offset for place in range(len(names))], heights, 0.4, label=label)
    right.set_xticks(range(len(names)), names)
    right.set(ylabel="seconds", title="Components that build on each other")
    right.legend(fontsize="small")
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
