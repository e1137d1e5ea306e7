"""Grafana's JSON of dashboards, as its builders write it, over metrics of Prometheus and of the node exporter."""

from __future__ import annotations

from typing import Any

Raw = dict[str, Any]
GREEN_TO_RED = {
    "mode": "absolute",
    "steps": [{"color": "green", "value": None}, {"color": "orange", "value": 70}, {"color": "red", "value": 90}],
}


def target(expr: str, legend: str = "", ref: str = "A", **more: Any) -> Raw:
    """A query of a panel."""
    return {"refId": ref, "expr": expr, "legendFormat": legend, "datasource": {"type": "prometheus"}, **more}


def panel(kind: str, title: str, *targets: Raw, at: tuple[int, int, int, int] = (0, 0, 12, 8), **more: Any) -> Raw:
    """A panel at x, y with a width and a height; `more` are its options, its field's defaults, or keys of its own."""
    x, y, width, height = at
    defaults = {key: more.pop(key) for key in list(more) if key in FIELD}
    return {
        "id": abs(hash((kind, title))) % 10_000,
        "type": kind,
        "title": title,
        "gridPos": {"x": x, "y": y, "w": width, "h": height},
        "targets": list(targets),
        "fieldConfig": {"defaults": defaults, "overrides": more.pop("overrides", [])},
        "options": more.pop("options", {}),
        **more,
    }


FIELD = {
    "unit", "decimals", "min", "max", "noValue", "displayName", "thresholds", "mappings", "color", "custom",
}  # fmt: skip


def override(matcher: str, option: str, **properties: Any) -> Raw:
    """Other settings for some series of a panel."""
    listed = [{"id": key, "value": value} for key, value in properties.items()]
    return {"matcher": {"id": matcher, "options": option}, "properties": listed}


def dashboard(title: str, *panels: Raw, **more: Any) -> Raw:
    """A dashboard of panels and rows."""
    return {"uid": title.lower().replace(" ", "-"), "title": title, "panels": list(panels), "schemaVersion": 41, **more}


def row(title: str, y: int, *collapsed: Raw) -> Raw:
    """A row, which is collapsed where it has panels of its own."""
    return {"type": "row", "title": title, "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}, "collapsed": bool(collapsed),
            "panels": list(collapsed)}  # fmt: skip


def node() -> Raw:
    """A dashboard with a panel of each kind over the node exporter's and Prometheus's own metrics."""
    job = '{component=~"$component"}'
    area = {"fillOpacity": 20, "stacking": {"mode": "normal"}}
    up = [{"type": "value", "options": {"0": {"text": "down", "color": "red"}, "1": {"text": "up", "color": "green"}}}]
    return dashboard(
        "Node",
        panel(
            "stat",
            "Targets up",
            target(f"sum(up{job})"),
            at=(0, 0, 4, 4),
            options={"graphMode": "area"},
            color={"mode": "thresholds"},
            thresholds={"mode": "absolute", "steps": [{"color": "green", "value": None}]},
        ),
        panel(
            "stat",
            "State",
            target(f"up{job}", "{{job}}", instant=True),
            at=(4, 0, 8, 4),
            mappings=up,
            options={"colorMode": "background", "textMode": "value_and_name"},
        ),
        panel(
            "gauge",
            "Memory in use",
            target("100 * (1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)"),
            at=(12, 0, 4, 4),
            unit="percent",
            min=0,
            max=100,
            thresholds=GREEN_TO_RED,
        ),
        panel(
            "bargauge",
            "Largest file systems",
            target("topk(3, node_filesystem_size_bytes)", "{{mountpoint}}", instant=True),
            at=(16, 0, 8, 4),
            unit="bytes",
        ),
        panel(
            "timeseries",
            "CPU by mode",
            target("sum by (mode) (rate(node_cpu_seconds_total[$__rate_interval]))", "{{mode}}"),
            at=(0, 4, 12, 8),
            custom=area,
            description="How many CPUs are busy with what",
        ),
        panel(
            "timeseries",
            "Memory",
            target("node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes", "in use"),
            target("node_memory_MemTotal_bytes", "there", "B"),
            at=(12, 4, 12, 8),
            unit="bytes",
            min=0,
            overrides=[
                override(
                    "byName",
                    "there",
                    color={"mode": "fixed", "fixedColor": "dark-red"},
                    **{"custom.lineStyle": {"fill": "dash", "dash": [10, 10]}},
                )
            ],
        ),
        row("Prometheus", 12),
        panel(
            "timeseries",
            "Requests and latency",
            target("sum(rate(prometheus_http_requests_total[$__rate_interval]))", "requests"),
            target(
                "histogram_quantile(0.95, sum by (le) (rate(prometheus_http_request_duration_seconds_bucket[5m])))",
                "p95",
                "B",
            ),
            at=(0, 13, 12, 8),
            unit="reqps",
            overrides=[override("byFrameRefID", "B", unit="s")],
        ),
        panel(
            "heatmap",
            "Duration of requests",
            target(
                "sum by (le) (increase(prometheus_http_request_duration_seconds_bucket[1m]))",
                "{{le}}",
                format="heatmap",
            ),
            at=(12, 13, 12, 8),
            unit="s",
        ),
        panel(
            "barchart",
            "Requests by handler",
            target("topk(6, sum by (handler) (prometheus_http_requests_total))", "{{handler}}", instant=True),
            at=(0, 21, 12, 8),
            options={"orientation": "horizontal"},
        ),
        panel(
            "table",
            "Targets",
            target(f"up{job}", instant=True, format="table"),
            target(f"scrape_duration_seconds{job}", ref="B", instant=True, format="table"),
            at=(12, 21, 12, 8),
            transformations=[
                {"id": "merge"},
                {
                    "id": "organize",
                    "options": {
                        "excludeByName": {"Time": True, "namespace": True},
                        "indexByName": {"component": 0, "job": 1, "instance": 2},
                        "renameByName": {"Value #A": "State", "Value #B": "Scrape", "component": "Component"},
                    },
                },
            ],
            overrides=[
                override("byName", "State", mappings=up, **{"custom.cellOptions": {"type": "color-text"}}),
                override("byName", "Scrape", unit="s"),
            ],
            options={"sortBy": [{"displayName": "Scrape", "desc": True}]},
        ),
        row(
            "Details",
            29,
            panel(
                "timeseries",
                "Errors",
                target('sum(rate(prometheus_http_requests_total{code=~"5.."}[5m])) or vector(0)', "errors"),
                at=(0, 30, 12, 8),
                unit="reqps",
            ),
            panel("timeseries", "Nobody tells", target("no_such_metric", "errors"), at=(12, 30, 6, 8)),
            panel(
                "text",
                "About",
                at=(18, 30, 6, 8),
                options={"mode": "markdown", "content": "What is **not** here.\n\nIs elsewhere."},
            ),
        ),
        templating={
            "list": [
                {
                    "name": "component",
                    "label": "Component",
                    "type": "query",
                    "includeAll": True,
                    "multi": True,
                    "query": {"query": "label_values(up, component)", "refId": "x"},
                    "current": {"value": ["$__all"]},
                }
            ]
        },
        tags=["overview"],
    )
