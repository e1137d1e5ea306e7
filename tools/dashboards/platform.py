"""The dashboards of what belongs to no single component: the platform as a whole, what watches it, its models."""

from __future__ import annotations

from tools.dashboards.components import ERRORS, YES, health, resources
from tools.dashboards.panels import (
    Board,
    Column,
    Row,
    level,
    levels,
    lines,
    number,
    or_zero,
    rows,
    spread,
)

BY_COMPONENT = (
    "* on (namespace, pod) group_left (label_mlops_platform_component) "
    'max by (namespace, pod, label_mlops_platform_component) (kube_pod_labels{label_mlops_platform_component!=""})'
)
COMPONENT = "{{label_mlops_platform_component}}"
FULL = (0.75, 0.85)
ROOM = (
    'label_replace(max by (persistentvolumeclaim) (mlops:volume:ratio), "room", "$1", "persistentvolumeclaim", "(.*)")'
    ' or label_replace(max by (device) (mlops:node_filesystem:ratio), "room", "$1", "device", "(.*)")'
)


def overview() -> Board:
    """Everything at a glance."""
    own = "sum by (label_mlops_platform_component)"
    return Board(
        "monitoring/files/monitoring/dashboard.json",
        "Platform",
        "Everything at a glance: what answers, how well, and what it takes",
        [
            Row(
                "",
                [
                    number(
                        "Components up",
                        'count(count by (component) (up{component!=""} == 1)) or vector(0)',
                        about="Components of which at least one pod answers Prometheus",
                        plain=True,
                    ),
                    number("Targets down", 'count(up{component!=""} == 0) or vector(0)', bounds=(1, 1)),
                    number(
                        "Alerts firing",
                        'count(ALERTS{alertstate="firing", alertname!="Watchdog"}) or vector(0)',
                        bounds=(1, 1),
                    ),
                    number("Pods missing", "sum(mlops:pods_missing:count) or vector(0)", bounds=(1, 1)),
                    number(
                        "Restarts",
                        "sum(increase(kube_pod_container_status_restarts_total[1h])) or vector(0)",
                        about="Of containers, in the last hour",
                        bounds=(1, 5),
                    ),
                    number(
                        "Nodes ready",
                        'sum(kube_node_status_condition{condition="Ready", status="true"})',
                        bounds=(1, 0.5),
                    ),
                ],
            ),
            Row(
                "Components",
                [
                    rows(
                        "What answers",
                        {"component": "Component"},
                        Column("Targets", 'up{component!=""} * 0 + 1'),
                        Column("Up", 'up{component!=""}', bounds=(1, 0.5)),
                        width=8,
                        height=12,
                    ),
                    rows(
                        "How well",
                        {"component": "Component"},
                        Column("Requests", "mlops:requests:rate5m", "reqps"),
                        Column("Failed", "mlops:request_errors:ratio5m", "percentunit", ERRORS),
                        Column("95 of 100 within", "mlops:request_seconds:p95_5m", "s"),
                        width=16,
                        height=12,
                    ),
                    lines(
                        "Requests by component",
                        ("sum by (component) (mlops:requests:rate5m)", "{{component}}"),
                        unit="reqps",
                    ),
                    lines(
                        "Latency by component",
                        ("max by (component) (mlops:request_seconds:p95_5m)", "{{component}}"),
                        unit="s",
                    ),
                ],
            ),
            Row(
                "What it takes",
                [
                    lines(
                        "CPU by component",
                        (f"{own} (rate(container_cpu_usage_seconds_total[5m]) {BY_COMPONENT})", COMPONENT),
                        unit="suffix: CPU",
                        stacked=True,
                    ),
                    lines(
                        "Memory by component",
                        (f"{own} (container_memory_working_set_bytes {BY_COMPONENT})", COMPONENT),
                        unit="bytes",
                        stacked=True,
                    ),
                ],
            ),
            Row(
                "Nodes",
                [
                    level("CPU", "avg(mlops:node_cpu:ratio5m)", (0.8, 0.95)),
                    level("Memory", "max(mlops:node_memory:ratio)", (0.85, 0.95), "The fullest node"),
                    level("Disk", "max(mlops:node_filesystem:ratio)", FULL, "The fullest file system of a node"),
                    number("Load", "sum(node_load1)", about="Threads that run or wait, of all nodes", plain=True),
                    number("GPUs", "count(mlops:gpu:ratio) or vector(0)", plain=True, way=False),
                    level(
                        "GPU use", "avg(mlops:gpu:ratio) or vector(0)", (2, 2), "Idle at 0, where there are GPUs at all"
                    ),
                    levels(
                        "Room used", (ROOM, "{{room}}"), FULL, "Volumes, where the cluster measures them, and disks"
                    ),
                    lines(
                        "In use over time",
                        ("mlops:node_cpu:ratio5m", "CPU of {{node}}"),
                        ("mlops:node_memory:ratio", "memory of {{node}}"),
                        unit="percentunit",
                        most=1,
                    ),
                ],
            ),
        ],
        tags=["overview"],
    )


def monitoring() -> Board:
    """What watches."""
    own = '{component="monitoring"}'
    return Board(
        "monitoring/files/monitoring/dashboard-monitoring.json",
        "Monitoring",
        "Prometheus and Alertmanager themselves: what they read, evaluate, send and take",
        [
            Row(
                "",
                [
                    *health("monitoring"),
                    number("Series", f"sum(prometheus_tsdb_head_series{own})", about="In memory", plain=True),
                    number(
                        "Samples",
                        f"sum(rate(prometheus_tsdb_head_samples_appended_total{own}[5m]))",
                        "suffix: /s",
                        plain=True,
                    ),
                    number(
                        "Configuration loaded",
                        f"min(prometheus_config_last_reload_successful{own})",
                        words=YES,
                        way=False,
                    ),
                ],
            ),
            Row(
                "Rules and alerts",
                [
                    lines(
                        "Time to evaluate",
                        (f"sum by (component) (prometheus_rule_group_last_duration_seconds{own})", "all groups"),
                        (f"max by (component) (prometheus_rule_group_last_duration_seconds{own})", "the longest"),
                        unit="s",
                    ),
                    lines(
                        "Evaluations that failed",
                        (
                            f"sum(increase(prometheus_rule_evaluation_failures_total{own}[10m])) or vector(0)",
                            "in 10 minutes",
                        ),
                    ),
                    lines(
                        "Alerts in Alertmanager",
                        (f"sum by (state) (alertmanager_alerts{own})", "{{state}}"),
                    ),
                    lines(
                        "Notifications",
                        (
                            or_zero(f"sum by (integration) (rate(alertmanager_notifications_total{own}[10m])) > 0"),
                            "{{integration}}",
                        ),
                        (f"sum(rate(alertmanager_notifications_failed_total{own}[10m])) or vector(0)", "failed"),
                        unit="suffix: /s",
                    ),
                ],
            ),
            Row(
                "Storage",
                [
                    lines("Blocks", (f"sum(prometheus_tsdb_storage_blocks_bytes{own})", "on disk"), unit="bytes"),
                    lines(
                        "Targets by component",
                        ('sum by (component) (up{component!=""})', "{{component}}"),
                        stacked=True,
                    ),
                ],
            ),
            resources("monitoring"),
        ],
    )


def models() -> Board:
    """Served models, version beside version."""
    chosen = 'component="models", model=~"$model"'
    of = '{model=~"$model"}'
    version = "{{model}} {{model_version}}"
    by = "sum by (model, model_version)"
    seen = f"last_over_time(mlops:model_requests:rate5m{of}[$__range])"
    by_class = "sum by (model, model_version, prediction)"
    by_feature = "max by (model, model_version, feature)"
    return Board(
        "kserve/files/monitoring/dashboard-models.json",
        "Models",
        "Served models, version beside version: requests, errors, latency, pods, predictions and inputs",
        [
            Row(
                "",
                [
                    number(
                        "Models",
                        f"count(count by (model) (model_request_duration_seconds_count{{{chosen}}})) or vector(0)",
                        plain=True,
                        way=False,
                    ),
                    number(
                        "Alerts firing",
                        'count(ALERTS{alertstate="firing", component="models"}) or vector(0)',
                        bounds=(1, 1),
                    ),
                    number("Requests", f"sum(mlops:model_requests:rate5m{of}) or vector(0)", "reqps", plain=True),
                    number(
                        "Failed",
                        f"sum(mlops:model_errors:ratio5m{of} * mlops:model_requests:rate5m{of})"
                        f" / (sum(mlops:model_requests:rate5m{of}) > 0) or vector(0)",
                        "percentunit",
                        bounds=ERRORS,
                    ),
                    number(
                        "95 of 100 within",
                        f"max(mlops:model_seconds:p95_5m{of}) or vector(0)",
                        "s",
                        "In the server of the model",
                        (0.5, 1),
                    ),
                    number("Pods", f"sum(up{{{chosen}}}) or vector(0)", plain=True),
                ],
            ),
            Row(
                "Version beside version",
                [
                    rows(
                        "Versions",
                        {"model": "Model", "model_version": "Version"},
                        Column("Pods", f"{by} (up{{{chosen}}}) or {seen} * 0"),
                        Column("Requests", f"mlops:model_requests:rate5m{of} or {seen} * 0", "reqps"),
                        Column("Failed", f"mlops:model_errors:ratio5m{of} or {seen} * 0", "percentunit", ERRORS),
                        Column("Rows predicted", f"last_over_time(model_predictions_total{{{chosen}}}[$__range])"),
                        about="Versions that were served in the time that is shown",
                        height=6,
                    ),
                    lines(
                        "Requests by version",
                        (or_zero(f"{by} (mlops:model_requests:rate5m{of})"), version),
                        unit="reqps",
                        stacked=True,
                    ),
                    lines(
                        "Errors by version",
                        (or_zero(f"max by (model, model_version) (mlops:model_errors:ratio5m{of})"), version),
                        unit="percentunit",
                        bound=0.05,
                    ),
                    lines(
                        "Latency by version",
                        (or_zero(f"max by (model, model_version) (mlops:model_seconds:p95_5m{of})"), version),
                        unit="s",
                        bound=1,
                    ),
                    spread("Duration", "model_request_duration_seconds_bucket", f"{{{chosen}}}"),
                    lines("Pods by version", (or_zero(f"{by} (up{{{chosen}}})"), version), stacked=True),
                    lines(
                        "Memory by pod",
                        (
                            or_zero('sum by (pod) (container_memory_working_set_bytes{container="kserve-container"})'),
                            "{{pod}}",
                        ),
                        unit="bytes",
                        stacked=True,
                    ),
                ],
            ),
            Row(
                "Predictions and inputs",
                [
                    lines(
                        "Predictions by class",
                        (
                            or_zero(f"{by_class} (mlops:model_predictions:rate5m{of})"),
                            f"{version}: {{{{prediction}}}}",
                        ),
                        unit="suffix: rows/s",
                        stacked=True,
                    ),
                    lines(
                        "Share of each class",
                        (
                            or_zero(
                                f"{by_class} (increase(model_predictions_total{{{chosen}}}[1h]))"
                                " / ignoring (prediction) group_left ()"
                                f" ({by} (increase(model_predictions_total{{{chosen}}}[1h])) > 0)"
                            ),
                            f"{version}: {{{{prediction}}}}",
                        ),
                        unit="percentunit",
                        about="In the hour before",
                        most=1,
                    ),
                    lines(
                        "Mean of each input",
                        (
                            or_zero(f"{by_feature} (mlops:model_input_mean:rate5m{of})"),
                            f"{version}: {{{{feature}}}}",
                        ),
                        least=None,
                    ),
                    lines(
                        "Spread of each input",
                        (
                            or_zero(f"{by_feature} (mlops:model_input_stddev:rate5m{of})"),
                            f"{version}: {{{{feature}}}}",
                        ),
                        about="Standard deviation",
                    ),
                    lines(
                        "Missing inputs",
                        (
                            or_zero(f"{by_feature} (mlops:model_input_missing:ratio5m{of})"),
                            f"{version}: {{{{feature}}}}",
                        ),
                        unit="percentunit",
                        bound=0.2,
                        most=1,
                    ),
                    lines(
                        "Feedback of users",
                        (
                            or_zero(
                                f"sum by (model, model_version, outcome) (rate(model_feedback_total{{{chosen}}}[5m]))"
                            ),
                            f"{version}: {{{{outcome}}}}",
                        ),
                        unit="suffix: /s",
                    ),
                ],
            ),
        ],
        variables={"model": 'label_values(model_request_duration_seconds_count{component="models"}, model)'},
    )
