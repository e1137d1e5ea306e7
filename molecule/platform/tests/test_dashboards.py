"""The dashboards as a client has them: every panel has data, and the page beside the report shows all of them."""

from __future__ import annotations

import html
import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access, Service
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster
from ansible_collections.mlops.platform.plugins.module_utils.dashboards.model import Dashboard, of_role
from ansible_collections.mlops.platform.plugins.module_utils.dashboards.query import span, without_data
from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards
from ansible_collections.mlops.platform.plugins.module_utils.prometheus import Prometheus

ROLES = Path(__file__).resolve().parents[3] / "roles"
PROMETHEUS = Service("prometheus", 9090, "monitoring")


@pytest.fixture(scope="module")
def dashboards(report: dict[str, Any]) -> list[Dashboard]:
    """Those of the components that the run provisioned."""
    names = [item["name"] for item in report["components"] if (ROLES / item["name"]).is_dir()]
    found = [dashboard for name in names for dashboard in of_role(ROLES / name, name)]
    assert {"monitoring", "mlflow", "minio"} <= {item.component for item in found}
    return found


def test_every_panel_has_data(cluster: Cluster, forwards: Forwards, dashboards: list[Dashboard]) -> None:
    with Prometheus.at(Access(cluster, forwards, PROMETHEUS.namespace).url(PROMETHEUS)) as prometheus:
        assert without_data(dashboards, prometheus, span(prometheus, time.time(), 3600)) == []


def test_the_page_of_the_run_shows_every_panel(dashboards: list[Dashboard], report: dict[str, Any]) -> None:
    drawn = report["dashboards"]
    panels = [panel for dashboard in dashboards for panel in dashboard.panels]
    assert (drawn["page"], drawn["panels"], drawn["empty"]) == ("dashboards.html", len(panels), [])
    page = (Path(os.environ["MLOPS_PLATFORM_REPORTS"]) / "latest" / drawn["page"]).read_text(encoding="utf-8")
    shown = html.unescape(page)
    assert [item.title for item in dashboards if item.title not in shown] == []
    assert [panel.where for panel in panels if "$" not in panel.title and f">{panel.title}</h4>" not in shown] == []
