"""Rules and dashboards of a role become objects of the cluster."""

import json
from pathlib import Path

import pytest
from ansible_collections.mlops.platform.plugins.module_utils import observation
from ansible_collections.mlops.platform.plugins.module_utils.component import Component
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

RULES = """\
groups:
  - name: web
    rules:
      - {record: "mlops:web", expr: sum(up)}
      - alert: WebDown
        expr: up == 0
        annotations: {summary: "{{ $labels.pod }} is down", runbook_url: runbooks.md#webdown}
      - alert: Elsewhere
        expr: up == 1
        annotations: {runbook_url: "https://example.org/runbook"}
      - {alert: Bare, expr: up}
"""
WEB = Component(
    "model_web-monitoring", "1", "ml", rules="monitoring/rules.yml", dashboards="monitoring/dashboard*.json"
)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "monitoring").mkdir()
    (tmp_path / "monitoring" / "rules.yml").write_text(RULES)
    for name in ("dashboard", "dashboard-models"):
        (tmp_path / "monitoring" / f"{name}.json").write_text(json.dumps({"uid": name}, indent=2))
    return tmp_path


def test_rules_keep_their_text_and_get_whole_urls(files: Path) -> None:
    rules, *_ = observation.objects(WEB, files)
    assert (rules["kind"], rules["metadata"]) == (
        "PrometheusRule",
        {"name": "model-web-monitoring", "namespace": "ml"},
    )
    (group,) = rules["spec"]["groups"]
    _, down, elsewhere, _ = group["rules"]
    assert down["annotations"] == {
        "summary": "{{ $labels.pod }} is down",
        "runbook_url": f"{observation.DOCUMENTATION}runbooks.md#webdown",
    }
    assert elsewhere["annotations"]["runbook_url"] == "https://example.org/runbook"


def test_dashboards_are_config_maps_that_grafana_finds(files: Path) -> None:
    _, first, second = observation.objects(WEB, files)
    assert [item["metadata"]["name"] for item in (first, second)] == [
        "model-web-monitoring-dashboard",
        "model-web-monitoring-dashboard-models",
    ]
    assert first["metadata"]["labels"] == {"grafana_dashboard": "1"}
    assert list(first["data"].values()) == ['{"uid":"dashboard"}']


def test_a_role_without_files_has_nothing(tmp_path: Path) -> None:
    assert observation.objects(WEB, tmp_path) == []
    assert observation.objects(Component("web", "1", "ml"), tmp_path) == []


@pytest.mark.parametrize("text", ["groups: {", "groups: [{name: x}]", "[]", "", "groups: [1]"])
def test_a_file_that_holds_no_rules_is_named(files: Path, text: str) -> None:
    (files / "monitoring" / "rules.yml").write_text(text)
    with pytest.raises(PlatformError, match=r"rules\.yml: not a file of Prometheus's rules"):
        observation.objects(WEB, files)


def test_a_dashboard_that_is_no_json_is_named(files: Path) -> None:
    (files / "monitoring" / "dashboard.json").write_text("{")
    with pytest.raises(PlatformError, match=r"dashboard\.json: not JSON"):
        observation.objects(WEB, files)


def test_labels_that_an_operator_selects_by_are_put_on_what_it_reads(files: Path) -> None:
    made = observation.objects(WEB, files)
    rules, config, *_ = observation.selectable(made, {"release": "prometheus"})
    assert rules["metadata"]["labels"] == {"release": "prometheus"}
    assert config["metadata"]["labels"] == {"grafana_dashboard": "1"}
    assert observation.selectable(made, {}) == made
