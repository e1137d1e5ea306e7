# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a run ends for people: a few lines of the report, the first cause before all that followed from it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ansible_collections.mlops.platform.plugins.module_utils.amounts import cpus, memory, totals

Style = Literal["plain", "good", "bad", "strong", "quiet"]
Paint = Callable[[str, Style], str]
Document = Mapping[str, Any]

REPORTED_VERBS = frozenset({"site", "up", "validate", "deploy-model", "release-model", "experiment-model", "gpu-nodes"})
"""The playbooks whose runs end with a report."""
LOGIN_HINT = "make shell, then kubectl -n <namespace> get secret <name> -o yaml (base64)"
COMPONENT_PHASES = frozenset({"render", "wait", "apply", "rollout", "configure", "validate"})
EVENTS, LOGS, LOG_LINES = 3, 2, 5
"""How much of the evidence is shown: the newest events, and the last lines of so many containers."""
LONGEST = 400
"""Characters of one text that are shown; the report has the rest."""
LABEL_WIDTH = 11
NARROWEST = 40
COMMAND = "Try it"
"""The name of a line that people copy: it is shown whole, and one is enough."""


def unpainted(text: str, style: Style) -> str:
    """Text as it is, whatever its style."""
    return text


@dataclass(frozen=True)
class Look:
    """How lines look: what puts colours on, and after how many columns they are broken (0: never)."""

    paint: Paint = unpainted
    width: int = 0

    def labelled(
        self,
        label: str,
        text: str,
        style: Style = "plain",
        *,
        indent: int = 4,
        label_width: int = LABEL_WIDTH,
        label_style: Style = "quiet",
    ) -> Iterator[str]:
        """A text behind a label, broken into lines of the same indent."""
        whole = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
        room = max(NARROWEST, self.width - indent - label_width - 1) if self.width else len(whole) + 1
        for line in textwrap.wrap(whole, room, break_on_hyphens=False) or [""]:
            yield f"{' ' * indent}{self.paint(label.ljust(label_width), label_style)}{self.paint(line, style)}"
            label = ""


def closing_lines(document: Document, report: str = "", look: Look | None = None) -> list[str]:
    """The last lines of a run.

    `document` is the report's, or one without `components` for verbs that have no report; `report`
    is the path of the report as it is shown.
    """
    look = look or Look()
    lines = [_headline(document, look)]
    if not document["failures"]:
        return [*lines, *_access(document, report, look)]
    for number, failure in enumerate(first_causes(document)):
        lines += ["", *_failure(document, failure, look, whole=number == 0)]
    for item in document["failures"]:
        if item.get("blocked_by"):
            lines.append(f"  {item['host']} was not touched: it waited for {item['blocked_by']}, which failed")
    if report:
        lines += ["", *look.labelled("report", report)]
    return lines


def _headline(document: Document, look: Look) -> str:
    bad = bool(document["failures"]) or document["status"] in {"failed", "unhealthy"}
    facts = [look.paint(f"{document['verb']}: {document['status']}", "bad" if bad else "good")]
    facts.append(f"{document['changed']} changed")
    if "components" in document:
        checks = [check for part in document["components"] for check in part["checks"]]
        facts.append(f"{sum(bool(check['healthy']) for check in checks)} of {len(checks)} checks healthy")
    return ", ".join([*facts, f"{document['duration_seconds']:.1f} s"])


def _access(document: Document, report: str, look: Look) -> list[str]:
    """Where the services are, what the model is, how one logs in, where the report is."""
    rows: list[tuple[str, str, Style]] = []
    commands: list[str] = []
    for part in document.get("components", []):
        for line in part["access"]:
            name, _, where = line.partition(": ")
            commands += [where] if name == COMMAND else []
            rows += [(name, where, "plain")] if name != COMMAND else []
    if rows:
        rows.append(("A login", LOGIN_HINT, "quiet"))
    if model := document.get("model"):
        about = f"{model['model']}, version {model['version']}, accuracy {model['accuracy']:.2f} on the held-out rows"
        rows.append(("Model", about, "plain"))
        rows.append(("", f"of run {model['run_id']}, downloaded and compared", "quiet"))
    for found in document.get("experiments") or []:
        about = f"version {found['candidate']['version']} against version {found['champion']['version']}"
        rows.append(("Experiment", f"{found['model']}, {about}: {found['outcome']}", "strong"))
        rows.append(("", f"{found['reason']}", "plain"))
        recorded = found["record"]
        rows.append(("", f"run {recorded['run_id']} of MLflow's experiment {recorded['experiment']}", "quiet"))
    rows += _resources(document)
    if (drawn := document.get("dashboards")) and report:
        rows.append(("Dashboards", f"{report.rpartition('/')[0]}/{drawn['page']}  ({alerts_told(drawn)})", "plain"))
    if report:
        rows.append(("Report", report, "plain"))
    width = max((len(name) for name, *_ in rows), default=0) + 2
    return [
        *(
            line
            for name, text, style in rows
            for line in look.labelled(name, text, style, indent=2, label_width=width, label_style="strong")
        ),
        *(f"  {look.paint(COMMAND.ljust(width), 'strong')}{command}" for command in commands[:1]),
    ]


def alerts_told(drawn: Mapping[str, Any]) -> str:
    """What a page of dashboards says of alerts, in a few words."""
    firing = drawn["firing"]
    told = f"{len(firing)} alert{'s fire' if len(firing) > 1 else ' fires'}: {', '.join(dict.fromkeys(firing))}"
    return told if firing else "no alert fires"


def _resources(document: Document) -> Iterator[tuple[str, str, Style]]:
    """What the platform takes: measured on the machine of an embedded cluster, by the cluster's metrics elsewhere."""
    sums = totals(document.get("components", []), [])
    requests, usage = sums["requests"], sums["usage"]
    if requests:
        wanted = f"requests {cpus(requests.get('cpu'))} CPU and {memory(requests.get('memory_bytes'))} of memory"
        used = f", uses {cpus(usage.get('cpu'))} CPU and {memory(usage.get('memory_bytes'))}" if usage else ""
        yield "Components", wanted + used, "plain"
    if took := document.get("cluster", {}).get("memory"):
        own, pods = took["kubernetes_bytes"], took["pods_bytes"]
        about = f"{memory(own + pods)} of memory in use: {memory(pods)} by its pods, {memory(own)} by Kubernetes itself"
        yield "Cluster", about, "plain"


def first_causes(document: Document) -> list[Mapping[str, Any]]:
    """The failures that did not follow from another one, each once: a failed task may be reported for many hosts."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for failure in document["failures"]:
        if not failure.get("blocked_by"):
            found.setdefault((failure["task"], failure["message"]), failure)
    return list(found.values())


def _failure(document: Document, failure: Mapping[str, Any], look: Look, *, whole: bool) -> Iterator[str]:
    """One first cause. The `whole` story has what was observed and the evidence, too."""
    parts: list[Document] = document.get("components", [])
    part: Document = next((item for item in parts if item["name"] == failure["host"]), {})
    first, *rest = str(failure["message"]).splitlines() or [""]
    if failure.get("phase") == "preflight" and rest:
        yield f"  {look.paint(first, 'bad')}"
        for line in rest:
            yield from look.labelled("- ", line.removeprefix("- "), indent=2, label_width=2)
    else:
        tried = [check for check in part.get("checks", []) if not check["healthy"] and check["attempts"]]
        check, *others = tried if failure["kind"] == "check" and tried else [None]
        yield f"  {look.paint(title(failure, check), 'bad')}"
        cause = [str(check["message"])] if check else [first.removeprefix(f"{failure['host']}: "), *rest]
        yield from _list("cause", cause, look)
        if check and check["observed"] is not None and check["type"] != "rollout":
            yield from look.labelled("observed", str(check["observed"]))
            yield from look.labelled("expected", str(check["expected"]))
        yield from _list("also", [f"{item['name']}: {item['message']}" for item in others if item], look)
        if whole and part:
            yield from _list("evidence", evidence_lines(part["evidence"]), look, "quiet")
    if failure.get("next_step"):
        yield from look.labelled("next step", str(failure["next_step"]), "strong")


def _list(label: str, texts: Sequence[str], look: Look, style: Style = "plain") -> Iterator[str]:
    for number, text in enumerate(texts):
        yield from look.labelled("" if number else label, text, style)


def title(failure: Mapping[str, Any], check: Mapping[str, Any] | None) -> str:
    """What failed, in a few words; `check` is the first of the component's that did, where it was a check."""
    task = str(failure["task"]).rpartition(" : ")[2]
    if check:
        return f"{failure['host']} failed its check: {check['name']}"
    phase = failure.get("phase")
    if phase in COMPONENT_PHASES:
        return f"{failure['host']} failed at {phase}"
    what = phase or failure["host"]  # a stage is the run's, whichever host its task ran on
    return f"{what} failed: {task}" if task else f"{what} failed"


def evidence_lines(evidence: Mapping[str, Any]) -> list[str]:
    """The newest events and the last log lines of a component that failed."""
    lines = [f"event: {event}" for event in list(evidence.get("events") or [])[-EVENTS:]]
    logs: Sequence[tuple[str, list[str]]] = list((evidence.get("logs") or {}).items())[:LOGS]
    return [*lines, *(f"{container}: {line}" for container, log in logs for line in log[-LOG_LINES:])]
