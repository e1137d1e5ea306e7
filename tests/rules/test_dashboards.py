"""Dashboards before a real Prometheus that scrapes nothing but itself: what it refuses, what has no data, the page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible_collections.mlops.platform.plugins.module_utils.dashboards.model import Dashboard, of_role, parse
from ansible_collections.mlops.platform.plugins.module_utils.dashboards.query import (
    ask,
    key,
    span,
    without_data,
    young,
)
from ansible_collections.mlops.platform.plugins.module_utils.prometheus import Prometheus
from dashboard_documents import dashboard, panel, target
from programs import ROOT
from running import free_port, prometheus_server, until


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus that has scraped itself some times as a part of the component monitoring."""
    port = free_port()
    place = f"127.0.0.1:{port}"
    job = {"job_name": "itself", "static_configs": [{"targets": [place], "labels": {"component": "monitoring"}}]}
    with prometheus_server(tmp_path_factory.mktemp("prometheus"), port, job):
        with Prometheus.at(f"http://{place}") as asked:
            assert young(asked, span(asked, time.time(), 3600))
            until(lambda: not young(asked, span(asked, time.time(), 3600)))
        yield f"http://{place}"


@pytest.fixture
def prometheus(url: str) -> Iterator[Prometheus]:
    with Prometheus.at(url) as found:
        yield found


@pytest.fixture(scope="module")
def dashboards() -> list[Dashboard]:
    """Those of all roles."""
    return [found for role in sorted((ROOT / "roles").iterdir()) for found in of_role(role, role.name)]


def test_prometheus_takes_the_query_of_every_panel(prometheus: Prometheus, dashboards: list[Dashboard]) -> None:
    found = ask(dashboards, prometheus, span(prometheus, time.time(), 3600))
    assert found.errors == []
    assert len(found.all) == sum(len(item.panels) for item in dashboards)
    # It knows itself and nothing else: what counts others says zero, what shows others says that it cannot.
    (overview,) = [item for item in dashboards if "overview" in item.tags]
    told = {answer.title: answer for answer in found.panels[key(overview)]}
    assert told["Components up"].lines[0].points[-1][1] == 1
    assert told["Targets down"].lines[0].points[-1][1] == 0
    assert told["Memory"].empty


def test_what_has_no_data_is_named_and_all_else_is_not(prometheus: Prometheus) -> None:
    board = parse(
        dashboard(
            "Test",
            panel("stat", "Up", target('sum(up{component=~"$component"})')),
            panel("timeseries", "Rate", target("rate(prometheus_http_requests_total[$__rate_interval])")),
            panel("table", "Now", target("up", instant=True)),
            panel("heatmap", "Time", target("sum by (le) (prometheus_http_request_duration_seconds_bucket)")),
            panel("stat", "Nothing", target("no_such_metric")),
            panel("stat", "Ratio", target("0 * up / 0")),
            panel("stat", "Zero", target("sum(no_such_metric) or vector(0)")),
            panel("stat", "Wrong", target("sum(up")),
            templating={"list": [{"name": "component", "type": "query", "query": "label_values(up, component)",
                                  "includeAll": True}]},
        ),
        "monitoring",
    )  # fmt: skip
    told = without_data([board], prometheus, span(prometheus, time.time(), 3600))
    assert len(told) == 3, told
    wrong, nothing, ratio = told
    assert wrong.startswith(
        "dashboard 'Test' of monitoring, panel 'Wrong': Prometheus answered 400 for sum(up: bad_data"
    )
    assert nothing == "dashboard 'Test' of monitoring, panel 'Nothing': no data for no_such_metric"
    assert ratio == "dashboard 'Test' of monitoring, panel 'Ratio': no data for 0 * up / 0"


def draw(reports: Path, url: str) -> subprocess.CompletedProcess[str]:
    """What `make dashboards` does and says."""
    kubeconfig = reports / "kubeconfig"  # an external Prometheus needs no cluster that answers
    kubeconfig.write_text(
        "{contexts: [{name: x, context: {cluster: x, user: x}}], current-context: x, "
        "clusters: [{name: x, cluster: {server: 'http://127.0.0.1:9'}}], users: [{name: x, user: {}}]}"
    )
    environment = os.environ | {"MLOPS_PLATFORM_REPORTS": str(reports)}
    command = [sys.executable, str(ROOT / "tools" / "verbs.py"), "dashboards", "--inventory", "local"]
    given = f"platform_prometheus_url={url} platform_kubeconfig={kubeconfig}"
    return subprocess.run([*command, "--", "-e", given], env=environment, capture_output=True, text=True, check=False)


def test_the_verb_draws_all_of_them_into_one_page(url: str, tmp_path: Path, dashboards: list[Dashboard]) -> None:
    done = draw(tmp_path, url)
    assert done.returncode == 0, done.stdout
    assert "dashboards.html" in done.stdout.splitlines()[-1]
    page = (tmp_path / "latest" / "dashboards.html").read_text(encoding="utf-8")
    hosts = yaml.safe_load((ROOT / "inventories" / "local" / "hosts.yml").read_text(encoding="utf-8"))
    components = hosts["platform"]["children"]["components"]["hosts"]
    wanted = [item.title for item in dashboards if item.component in components]
    titles = re.findall("<h2>(.*?) <small>", page)
    assert sorted(titles) == sorted(wanted)
    assert titles[0] == "Platform"
    assert "<b>1<span> of 1</span></b> targets up" in page


def test_the_verb_says_that_nobody_answers(tmp_path: Path) -> None:
    done = draw(tmp_path, f"http://127.0.0.1:{free_port()}")
    assert done.returncode
    assert "Prometheus at http://127.0.0.1:" in done.stdout
    assert not (tmp_path / "latest").exists()
