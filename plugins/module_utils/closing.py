# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a run ends for people: a few lines of the report, the first cause before all that followed from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

Style = Literal["good", "bad", "strong", "quiet"]
Paint = Callable[[str, Style], str]
Document = Mapping[str, Any]

REPORTED_VERBS = frozenset({"site", "up", "validate"})
"""The playbooks whose runs end with a report."""
LOGIN_HINT = "make shell, then kubectl -n <namespace> get secret <name> -o jsonpath='{.data}'; values are base64"
COMPONENT_PHASES = frozenset({"render", "wait", "apply", "rollout", "configure", "validate"})
EVENTS, LOGS, LOG_LINES = 3, 2, 5
"""How much of the evidence is shown: the newest events, and the last lines of so many containers."""
LONGEST_LINE = 400
LABEL_WIDTH = 11


def unpainted(text: str, style: Style) -> str:
    """Text as it is, whatever its style."""
    return text


def closing_lines(document: Document, report: str = "", paint: Paint = unpainted) -> list[str]:
    """The last lines of a run.

    `document` is the report's, or one without `components` for verbs that have no report; `report`
    is the path of the report as it is shown; `paint` puts colours on.
    """
    lines = [_headline(document, paint)]
    for number, failure in enumerate(_first_causes(document)):
        lines += _failure(document, failure, paint, whole=number == 0)
    followed = [failure for failure in document["failures"] if failure.get("blocked_by")]
    lines += [
        f"  {item['host']} waited for {item['blocked_by']}, which failed: it was not touched" for item in followed
    ]
    if not document["failures"]:
        lines += _access(document, paint)
    if report:
        lines.append(_labelled("report", report, paint, indent=2))
    return lines


def _headline(document: Document, paint: Paint) -> str:
    failed = bool(document["failures"]) or document["status"] in {"failed", "unhealthy"}
    facts = [paint(f"{document['verb']}: {document['status']}", "bad" if failed else "good")]
    facts.append(f"{document['changed']} changed")
    if "components" in document:
        checks = [check for part in document["components"] for check in part["checks"]]
        facts.append(f"{sum(bool(check['healthy']) for check in checks)} of {len(checks)} checks healthy")
    return ", ".join([*facts, f"{document['duration_seconds']:.1f} s"])


def _access(document: Document, paint: Paint) -> list[str]:
    """Where the services are, what the model is, how one logs in."""
    rows: list[tuple[str, str]] = []
    for part in document.get("components", []):
        for line in part["access"]:
            name, _, where = line.partition(": ")
            url, bracket, login = where.partition("  (")
            rows.append((name, f"{url}  {paint(f'({login}', 'quiet')}" if bracket else url))
    services = bool(rows)
    if model := document.get("model"):
        rows.append(("Model", f"{model['model']}, version {model['version']}, accuracy {model['accuracy']:.2f}"))
        rows.append(("", paint(f"run {model['run_id']}, downloaded and compared on the held-out rows", "quiet")))
    if services:
        rows.append(("A login", paint(LOGIN_HINT, "quiet")))
    width = max((len(name) for name, _ in rows), default=0)
    return [f"  {paint(name.ljust(width), 'strong')}  {text}" for name, text in rows]


def _first_causes(document: Document) -> list[Mapping[str, Any]]:
    """The failures that did not follow from another one, each once: a failed task may be reported for many hosts."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for failure in document["failures"]:
        if not failure.get("blocked_by"):
            found.setdefault((failure["task"], failure["message"]), failure)
    return list(found.values())


def _failure(document: Document, failure: Mapping[str, Any], paint: Paint, *, whole: bool) -> Iterator[str]:
    """One first cause. The `whole` story has what was observed and the evidence, too."""
    part = next((item for item in document.get("components", []) if item["name"] == failure["host"]), None)
    first, *rest = str(failure["message"]).splitlines() or [""]
    yield ""
    if failure.get("phase") == "preflight" and rest:
        yield f"  {paint(first, 'bad')}"
        yield from (f"  {line}" for line in rest)
    else:
        checks = [check for check in (part or {}).get("checks", []) if not check["healthy"] and check["attempts"]]
        check = checks[0] if failure["kind"] == "check" and checks else None
        yield f"  {paint(_title(failure, check), 'bad')}"
        cause = str(check["message"]) if check else first.removeprefix(f"{failure['host']}: ")
        yield _labelled("cause", cause, paint)
        yield from (_labelled("", line, paint) for line in ([] if check else rest))
        if check and check["observed"] is not None and check["name"] != "rollout":
            yield _labelled("observed", str(check["observed"]), paint)
            yield _labelled("expected", str(check["expected"]), paint)
        if len(checks) > 1 and check:
            yield _labelled("also", ", ".join(str(item["name"]) for item in checks[1:]), paint)
        if whole and part:
            labels = iter(["evidence"])
            for line in evidence_lines(part["evidence"]):
                yield _labelled(next(labels, ""), paint(_cut(line), "quiet"), paint)
    if failure.get("next_step"):
        yield _labelled("next step", paint(str(failure["next_step"]), "strong"), paint)


def _title(failure: Mapping[str, Any], check: Mapping[str, Any] | None) -> str:
    task = str(failure["task"]).rpartition(" : ")[2]
    if check:
        return f"{failure['host']} failed at its check {check['name']!r}"
    if failure.get("phase") in COMPONENT_PHASES:
        return f"{failure['host']} failed at {failure['phase']}"
    return f"{failure['host']} failed: {task}" if task else f"{failure['host']} failed"


def _labelled(label: str, text: str, paint: Paint, indent: int = 4) -> str:
    return f"{' ' * indent}{paint(label.ljust(LABEL_WIDTH), 'quiet')}{_cut(text)}"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_LINE else f"{text[: LONGEST_LINE - 1]}…"


def evidence_lines(evidence: Mapping[str, Any]) -> list[str]:
    """The newest events and the last log lines of a component that failed."""
    lines = [f"event: {event}" for event in list(evidence.get("events") or [])[-EVENTS:]]
    logs: Sequence[tuple[str, list[str]]] = list((evidence.get("logs") or {}).items())[:LOGS]
    return [*lines, *(f"{container}: {line}" for container, log in logs for line in log[-LOG_LINES:])]
