"""What rules, monitors, dashboards and runbooks say of each other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
RULES = {path.parents[2].name: path for path in sorted(ROOT.glob("roles/*/files/monitoring/rules.yml"))}
RUNBOOKS = ROOT / "docs" / "runbooks.md"
SEVERITIES = {"critical", "warning", "info"}
PROMETHEUS = {"up", "ALERTS"}
"""Metrics that Prometheus makes."""
FIRING = 'ALERTS{{alertname="{}", alertstate="firing"}}'
ALWAYS = {"Watchdog"}
"""Alerts that never rest."""

TEXTS = re.compile(r'"[^"]*"')
SELECTED = re.compile(r"\{[^}]*\}|\[[^\]]*\]")
"""Labels and times of a metric."""
GROUPED = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
CALLED = re.compile(r"\b\w+\s*(?=\()|\b(?:and|or|unless|bool|offset)\b|\$\w+")
METRIC = re.compile(r"(?<![\w.])[a-zA-Z_][\w:]*")


def metrics(expression: str) -> set[str]:
    """The metrics that an expression reads."""
    for other in (TEXTS, SELECTED, GROUPED, CALLED):
        expression = other.sub(" ", expression)
    return set(METRIC.findall(expression))


def rules(role: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES[role].read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> Iterator[tuple[str, dict[str, Any]]]:
    for role in RULES:
        yield from ((role, rule) for rule in rules(role) if "alert" in rule)


def expressions(role: str) -> Iterator[str]:
    """What the rules and panels of a role ask Prometheus for."""
    yield from (str(rule["expr"]) for rule in rules(role))

    def walk(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            yield from ([node["expr"]] if isinstance(node.get("expr"), str) else [])
            for value in node.values():
                yield from walk(value)
        elif isinstance(node, list):
            for value in node:
                yield from walk(value)

    for path in sorted(RULES[role].parent.glob("dashboard*.json")):
        yield from walk(json.loads(path.read_text(encoding="utf-8")))


def written(pattern: str) -> set[str]:
    """All names that a pattern means, where it has nothing but choices: `a_(b|c)_(d_)?e`."""
    if found := re.fullmatch(r"(\w*)\(([\w|]+)\)(\??)(.*)", pattern):
        before, choices, optional, after = found.groups()
        return {
            before + choice + rest
            for choice in [*choices.split("|"), *([""] if optional else [])]
            for rest in written(after)
        }
    return set(pattern.split("|"))


def kept(role: str) -> set[str]:
    """The metrics that the monitors of a role keep."""
    folder = ROOT / "roles" / role / "templates"
    text = "".join(path.read_text(encoding="utf-8") for path in [*folder.glob("*.j2"), *folder.glob("monitoring/*.j2")])
    lists = re.findall(r"'keep': \[(.*?)\]", text, re.DOTALL)
    # What monitors of Services keep stands in a rule on names.
    lists += re.findall(r"'sourceLabels': \['__name__'\], 'action': 'keep',\s*'regex': ('[^']*')", text)
    return {name for names in lists for pattern in re.findall(r"'([^']+)'", names) for name in written(pattern)}


def test_an_expression_is_read_as_prometheus_reads_it() -> None:
    rate = 'sum by (le) (rate(a_bucket{x="b c", y=~"d{2}"}[5m]))'
    told = f"{rate} / on (e) group_left (f) g:h:i > 2e3 and vector(0) or (up offset 5m) == 1"
    assert metrics(told) == {"a_bucket", "g:h:i", "up"}


@pytest.mark.parametrize("alert", [rule for _, rule in alerts()], ids=lambda rule: rule["alert"])
def test_an_alert_says_what_people_need(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in SEVERITIES
    assert "component" in alert["labels"] or "component" in alert["expr"]
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == f"runbooks.md#{alert['alert'].lower()}"


def test_each_alert_has_its_runbook_and_each_runbook_its_alert() -> None:
    text = RUNBOOKS.read_text(encoding="utf-8")
    assert sorted(re.findall(r"(?m)^### (\S+)$", text)) == sorted(alert["alert"] for _, alert in alerts())
    bodies = re.findall(r"(?ms)^### \S+\n(.*?)(?=^##|\Z)", text)
    assert all(body.strip() for body in bodies)


@pytest.mark.parametrize("role", RULES)
def test_each_alert_is_shown_to_fire_and_to_rest(role: str) -> None:
    tests = yaml.safe_load((ROOT / "tests" / "rules" / f"{role}.yml").read_text(encoding="utf-8"))["tests"]
    points = [point for test in tests for point in test["promql_expr_test"]]
    fires = {point["expr"] for point in points if point["exp_samples"]}
    told = [point for test in tests for point in test.get("alert_rule_test", []) if point["exp_alerts"]]
    fires |= {FIRING.format(point["alertname"]) for point in told}
    rests = {point["expr"] for point in points if not point["exp_samples"]}
    for alert in (rule["alert"] for rule in rules(role) if "alert" in rule):
        question = FIRING.format(alert)
        assert question in fires, f"{alert} is nowhere shown to fire"
        assert question in rests or alert in ALWAYS, f"{alert} is nowhere shown to rest"


def used(role: str) -> set[str]:
    """The metrics that the rules and panels of a role read, and that are not recorded."""
    recorded = {rule["record"] for name in RULES for rule in rules(name) if "record" in rule}
    return {name for expression in expressions(role) for name in metrics(expression)} - recorded - PROMETHEUS


@pytest.mark.parametrize("role", [role for role in RULES if role != "monitoring"])
def test_monitors_keep_what_is_used_and_nothing_else(role: str) -> None:
    assert {name for name in used(role) if not name.startswith(("kube_", "container_"))} == kept(role)


def test_what_is_kept_of_the_cluster_is_used_by_somebody() -> None:
    others = {name for role in RULES if role != "monitoring" for name in kept(role)}
    # GPUs are watched whoever set up their nodes.
    others -= kept("monitoring") & used("monitoring")
    everything = {name for role in RULES for name in used(role)} - others
    by_kubernetes = {name for name in everything if name.startswith("kube_")}
    assert kept("monitoring") - PROMETHEUS == everything - by_kubernetes | {"kube_.+"}
    exporters = (ROOT / "roles" / "monitoring" / "templates" / "exporters.yml.j2").read_text(encoding="utf-8")
    (allowed,) = re.findall(r"set metrics = (.*?) %", exporters, re.DOTALL)
    assert {name for pattern in re.findall(r"'([^']+)'", allowed) for name in written(pattern)} == by_kubernetes


def test_nothing_is_recorded_for_nobody() -> None:
    read = {name for role in RULES for expression in expressions(role) for name in metrics(expression)}
    assert {rule["record"] for role in RULES for rule in rules(role) if "record" in rule} - read == set()


def test_runbooks_name_panels_that_are_there() -> None:
    def titles(node: Any) -> Iterator[str]:
        for panel in node.get("panels", []):
            yield panel.get("title", "")
            yield from titles(panel)

    files = ROOT.glob("roles/*/files/monitoring/dashboard*.json")
    found = {title for path in files for title in titles(json.loads(path.read_text(encoding="utf-8")))}
    named = re.findall(r"[Pp]anel \*([^*]+)\*", RUNBOOKS.read_text(encoding="utf-8"))
    assert named
    assert set(named) - found == set()
