"""The dashboards of the components: one each, which begins and ends as all others do."""

from __future__ import annotations

from tools.dashboards.panels import (
    Board,
    Built,
    Column,
    Row,
    level,
    lines,
    number,
    or_zero,
    rates,
    rows,
    spread,
)

YES = {0: ("no", "red"), 1: ("yes", "green")}
ERRORS = (0.01, 0.05)
"""Shares of requests that fail: from the second on an alert waits."""
OFTEN = "0.5, 0.95, 0.99"


def health(component: str) -> list[Built]:
    """Whether it runs: what every dashboard of a component begins with."""
    return [
        number(
            "Targets up",
            f'count(up{{component="{component}"}} == 1) or vector(0)',
            about="Pods that answer Prometheus",
            bounds=(1, 0.5),
        ),
        number(
            "Alerts firing",
            f'count(ALERTS{{alertstate="firing", alertname!="Watchdog", component="{component}"}}) or vector(0)',
            bounds=(1, 1),
        ),
        number(
            "Pods missing",
            f'sum(mlops:pods_missing:count{{label_mlops_platform_component="{component}"}}) or vector(0)',
            about="Pods that are wanted and not ready",
            bounds=(1, 1),
        ),
    ]


def served(component: str, seconds: tuple[float, float]) -> list[Built]:
    """How well it answers: for components that take requests. `seconds` are the bounds of the slow ones."""
    own = f'{{component="{component}"}}'
    return [
        number("Requests", f"mlops:requests:rate5m{own}", "reqps", plain=True),
        number("Failed", f"mlops:request_errors:ratio5m{own}", "percentunit", "Answers of 500 and above", ERRORS),
        number("95 of 100 within", f"mlops:request_seconds:p95_5m{own}", "s", bounds=seconds),
    ]


def resources(component: str) -> Row:
    """What it takes of the cluster: what every dashboard of a component ends with."""
    pods = (
        f"* on (namespace, pod) group_left () max by (namespace, pod) "
        f'(kube_pod_labels{{label_mlops_platform_component="{component}"}})'
    )
    return Row(
        "Resources",
        [
            lines(
                "CPU by pod",
                (f"sum by (pod) (rate(container_cpu_usage_seconds_total[5m]) {pods})", "{{pod}}"),
                unit="suffix: CPU",
                stacked=True,
            ),
            lines(
                "Memory by pod",
                (f"sum by (pod) (container_memory_working_set_bytes {pods})", "{{pod}}"),
                unit="bytes",
                stacked=True,
            ),
        ],
    )


def quantiles(metric: str, own: str, factor: str = "") -> list[tuple[str, str]]:
    """The usual shares of a histogram over time; `factor` follows each."""
    return [
        (
            or_zero(f"histogram_quantile({share}, sum by (le) (rate({metric}{own}[5m]))){factor} >= 0"),
            f"{float(share):.0%}",
        )
        for share in OFTEN.split(", ")
    ]


def minio() -> Board:
    """Object storage."""
    own = '{component="minio"}'
    free = f"min(minio_cluster_health_capacity_usable_free_bytes{own})"
    total = f"min(minio_cluster_health_capacity_usable_total_bytes{own})"
    return Board(
        "minio/files/monitoring/dashboard.json",
        "MinIO",
        "Object storage: requests of the S3 API, drives and their room",
        [
            Row("", [*health("minio"), *served("minio", (0.5, 1))]),
            Row(
                "Requests",
                [
                    rates("Requests by call", "minio_api_requests_total", own, "name"),
                    lines(
                        "Errors by call",
                        (
                            or_zero(f"sum by (name) (rate(minio_api_requests_5xx_errors_total{own}[5m]))"),
                            "{{name}}",
                        ),
                        unit="reqps",
                    ),
                    spread("Time to first byte", "minio_api_requests_ttfb_seconds_distribution", own),
                    lines(
                        "Traffic",
                        (f"sum(rate(minio_api_requests_traffic_received_bytes{own}[5m]))", "received"),
                        (f"sum(rate(minio_api_requests_traffic_sent_bytes{own}[5m]))", "sent"),
                        unit="binBps",
                    ),
                ],
            ),
            Row(
                "Storage",
                [
                    level("Room used", f"1 - {free} / {total}", (0.75, 0.85), "An alert fires at 85%"),
                    number("Drives online", f"min(minio_cluster_health_drives_online_count{own})", bounds=(1, 0.5)),
                    number("Healthy", f"min(minio_cluster_erasure_set_overall_health{own})", words=YES, way=False),
                    lines("Room", (f"{total} - {free}", "used"), (total, "there"), unit="bytes"),
                ],
            ),
            resources("minio"),
        ],
    )


def postgresql() -> Board:
    """The database."""
    own = '{component="postgresql"}'
    hits, reads = f"sum(rate(pg_stat_database_blks_hit{own}[5m]))", f"sum(rate(pg_stat_database_blks_read{own}[5m]))"
    return Board(
        "postgresql/files/monitoring/dashboard.json",
        "PostgreSQL",
        "The database of MLflow's backend and of its users",
        [
            Row(
                "",
                [
                    *health("postgresql"),
                    number("Answers", f"min(pg_up{own})", words=YES, way=False),
                    level(
                        "Connections used", "mlops:postgresql_connections:ratio", (0.6, 0.8), "An alert fires at 80%"
                    ),
                    level("Read from memory", f"{hits} / ({hits} + {reads} > 0) or vector(1)", (0.95, 0.8)),
                ],
            ),
            Row(
                "Transactions",
                [
                    lines(
                        "Transactions by database",
                        ("mlops:postgresql_transactions:rate5m", "{{datname}}"),
                        unit="suffix: tx/s",
                        stacked=True,
                    ),
                    lines(
                        "Rolled back",
                        ("mlops:postgresql_rollbacks:ratio5m", "{{datname}}"),
                        unit="percentunit",
                        bound=0.1,
                    ),
                    lines(
                        "Connections",
                        (f"sum by (datname) (pg_stat_database_numbackends{own})", "{{datname}}"),
                        (f"max(pg_settings_max_connections{own})", "allowed"),
                    ),
                    lines(
                        "Longest transaction",
                        (f"max by (datname) (pg_stat_activity_max_tx_duration{own})", "{{datname}}"),
                        unit="s",
                    ),
                    lines(
                        "Size",
                        (f"sum by (datname) (pg_database_size_bytes{own})", "{{datname}}"),
                        unit="bytes",
                        stacked=True,
                    ),
                    lines(
                        "Deadlocks in 10 minutes",
                        (f"sum by (datname) (increase(pg_stat_database_deadlocks{own}[10m]))", "{{datname}}"),
                    ),
                ],
            ),
            resources("postgresql"),
        ],
    )


def mlflow() -> Board:
    """Tracking and registry."""
    own = '{component="mlflow"}'
    return Board(
        "mlflow/files/monitoring/dashboard.json",
        "MLflow",
        "Tracking and model registry: requests of its API",
        [
            Row("", [*health("mlflow"), *served("mlflow", (1, 2.5))]),
            Row(
                "Requests",
                [
                    rates("Requests by status", "mlflow_http_request_total", own, "status"),
                    rates("Requests by method", "mlflow_http_request_total", own, "method"),
                    lines(
                        "Latency",
                        *quantiles("mlflow_http_request_duration_seconds_bucket", own),
                        unit="s",
                        bound=2.5,
                    ),
                    spread("Duration", "mlflow_http_request_duration_seconds_bucket", own),
                ],
            ),
            resources("mlflow"),
        ],
    )


def gateway() -> Board:
    """The edge."""
    inner = 'component="gateway", envoy_http_conn_manager_prefix=~"https?-.*"'
    route = 'component="gateway", envoy_cluster_name=~"httproute/.*"'
    return Board(
        "gateway/files/monitoring/dashboard.json",
        "Gateway",
        "The edge: requests from outside, by route",
        [
            Row("", [*health("gateway"), *served("gateway", (1, 5))]),
            Row(
                "Requests",
                [
                    lines(
                        "Requests by class of status",
                        (
                            or_zero(
                                f"sum by (envoy_response_code_class) (rate(envoy_http_downstream_rq_xx{{{inner}}}[5m]))"
                            ),
                            "{{envoy_response_code_class}}xx",
                        ),
                        unit="reqps",
                        stacked=True,
                    ),
                    rates("Requests by route", "envoy_cluster_upstream_rq_xx", f"{{{route}}}", "envoy_cluster_name"),
                    lines(
                        "Errors by route",
                        (or_zero("mlops:gateway_route_errors:ratio5m"), "{{envoy_cluster_name}}"),
                        unit="percentunit",
                        bound=0.05,
                    ),
                    lines(
                        "Latency",
                        *quantiles("envoy_http_downstream_rq_time_bucket", f"{{{inner}}}", " / 1000"),
                        unit="s",
                        bound=5,
                    ),
                    spread("Duration", "envoy_http_downstream_rq_time_bucket", f"{{{inner}}}", "ms"),
                    lines(
                        "Connections", (f"sum(envoy_http_downstream_cx_active{{{inner}}}) or vector(0)", "from outside")
                    ),
                ],
            ),
            Row(
                "Behind it",
                [
                    number(
                        "Certificate left",
                        'min(envoy_server_days_until_first_cert_expiring{component="gateway"}) * 86400',
                        "s",
                        "The first certificate of the listeners that expires; an alert fires at 7 days",
                        (14 * 86400, 7 * 86400),
                        way=False,
                    ),
                    number(
                        "Configurations refused",
                        'sum(increase(xds_nack_total{component="gateway"}[1h])) or vector(0)',
                        about="In the last hour",
                        bounds=(1, 1),
                    ),
                    number(
                        "Errors of the controller",
                        'sum(increase(watchable_subscribe_total{component="gateway", status="failure"}[1h]))'
                        " or vector(0)",
                        about="In the last hour",
                        bounds=(1, 5),
                    ),
                ],
            ),
            resources("gateway"),
        ],
    )


def cert_manager() -> Board:
    """Certificates."""
    own = 'component="cert_manager"'
    return Board(
        "cert_manager/files/monitoring/dashboard.json",
        "Certificates",
        "cert-manager: the platform's certificates and their renewal",
        [
            Row(
                "",
                [
                    *health("cert_manager"),
                    number(
                        "Certificates",
                        f'count(certmanager_certificate_ready_status{{{own}, condition="True"}})',
                        plain=True,
                        way=False,
                    ),
                    number(
                        "Not ready",
                        f'count(certmanager_certificate_ready_status{{{own}, condition="True"}} == 0) or vector(0)',
                        bounds=(1, 1),
                    ),
                    number(
                        "First expires in",
                        "min(mlops:certificate_left:seconds)",
                        "s",
                        bounds=(14 * 86400, 7 * 86400),
                        way=False,
                    ),
                ],
            ),
            Row(
                "Certificates",
                [
                    rows(
                        "Certificates",
                        {"namespace": "Namespace", "name": "Certificate"},
                        Column("Ready", f'certmanager_certificate_ready_status{{{own}, condition="True"}}', words=YES),
                        Column("Expires in", "mlops:certificate_left:seconds", "s", (14 * 86400, 7 * 86400)),
                        Column(
                            "Renewed in", f"certmanager_certificate_renewal_timestamp_seconds{{{own}}} - time()", "s"
                        ),
                        width=12,
                    ),
                    lines(
                        "Work by controller",
                        (
                            f"sum by (controller) (rate(certmanager_controller_sync_call_count{{{own}}}[5m]))",
                            "{{controller}}",
                        ),
                        unit="ops",
                    ),
                ],
            ),
            resources("cert_manager"),
        ],
    )


def knative() -> Board:
    """What scales by requests."""
    own = 'component="knative"'
    names = "{{kn_revision_name}}"
    return Board(
        "knative/files/monitoring/dashboard.json",
        "Knative",
        "Revisions that scale by their requests: pods wanted and there, requests and how long they take",
        [
            Row("", [*health("knative"), *served("knative", (0.5, 2))]),
            Row(
                "Revisions",
                [
                    lines(
                        "Pods wanted",
                        (or_zero(f"sum by (kn_revision_name) (kn_revision_pods_requested{{{own}}})"), names),
                        stacked=True,
                    ),
                    lines(
                        "Pods there",
                        (or_zero(f"sum by (kn_revision_name) (kn_revision_pods_count{{{own}}})"), names),
                        stacked=True,
                    ),
                    lines(
                        "Requests by revision",
                        (or_zero("sum by (revision) (mlops:revision_requests:rate5m)"), "{{revision}}"),
                        unit="reqps",
                        stacked=True,
                    ),
                    lines(
                        "Latency by revision",
                        (or_zero("max by (revision) (mlops:revision_seconds:p95_5m)"), "{{revision}}"),
                        unit="s",
                        about="Waiting for a pod is in it",
                    ),
                    lines(
                        "Requests at a time",
                        (
                            or_zero(f"sum by (kn_revision_name) (kn_revision_concurrency_stable{{{own}}})"),
                            names,
                        ),
                        about="What the autoscaler decides by",
                    ),
                    lines("Controllers' queues", (f"sum by (name) (kn_workqueue_depth{{{own}}})", "{{name}}")),
                ],
            ),
            resources("knative"),
        ],
    )


def kserve() -> Board:
    """What makes models served."""
    own = 'component="kserve"'
    return Board(
        "kserve/files/monitoring/dashboard.json",
        "KServe",
        "The controller that serves models; the models themselves have a dashboard of their own",
        [
            Row(
                "",
                [
                    *health("kserve"),
                    number("Work", f"sum(rate(controller_runtime_reconcile_total{{{own}}}[5m]))", "ops", plain=True),
                    number(
                        "Failed",
                        f"sum(rate(controller_runtime_reconcile_errors_total{{{own}}}[5m]))"
                        f" / (sum(rate(controller_runtime_reconcile_total{{{own}}}[5m])) > 0) or vector(0)",
                        "percentunit",
                        bounds=(0.1, 0.5),
                    ),
                    number(
                        "Pods refused",
                        f'sum(increase(controller_runtime_webhook_requests_total{{{own}, code!="200"}}[1h]))'
                        " or vector(0)",
                        about="What its webhooks could not answer in the last hour",
                        bounds=(1, 1),
                    ),
                ],
            ),
            Row(
                "Work",
                [
                    lines(
                        "Work by controller",
                        (
                            f"sum by (controller) (rate(controller_runtime_reconcile_total{{{own}}}[5m]))",
                            "{{controller}}",
                        ),
                        unit="ops",
                        stacked=True,
                    ),
                    rates("Requests by webhook", "controller_runtime_webhook_requests_total", f"{{{own}}}", "webhook"),
                ],
            ),
            resources("kserve"),
        ],
    )


def model_api() -> Board:
    """The plain serving API."""
    own = '{component="model_api"}'
    return Board(
        "model_api/files/monitoring/dashboard.json",
        "Model API",
        "The plain serving API: requests, predictions and the version that it serves",
        [
            Row("", [*health("model_api"), *served("model_api", (0.25, 1))]),
            Row(
                "Requests",
                [
                    rates("Requests by route", "model_api_requests_total", own, "route"),
                    rates("Requests by status", "model_api_requests_total", own, "status"),
                    lines("Latency", *quantiles("model_api_request_seconds_bucket", own), unit="s", bound=1),
                    rates("Predictions", "model_predictions_total", own, "prediction", "suffix: rows/s"),
                ],
            ),
            Row(
                "Model",
                [
                    number(
                        "Newest version",
                        f"min(model_api_model_current{own})",
                        words=YES,
                        about="Whether all pods serve the version that the alias leads to",
                        way=False,
                    ),
                    rows(
                        "Served",
                        {"model": "Model", "version": "Version"},
                        Column("Pods", f"model_api_model_info{own}"),
                        width=8,
                        height=4,
                    ),
                ],
            ),
            resources("model_api"),
        ],
    )


def gpu_node() -> Board:
    """What GPUs do, and who holds them. A part of a GPU has its memory, and shares the rest."""
    own = '{component="gpu_node"}'
    gpu = "{{node}} GPU {{gpu}}{{GPU_I_PROFILE}}"
    return Board(
        "gpu_node/files/monitoring/dashboard.json",
        "GPU nodes",
        "What GPUs do, and how much of them is given to pods",
        [
            Row(
                "",
                [
                    *health("gpu_node"),
                    number("GPUs", f"count(count by (node, gpu) (DCGM_FI_DEV_GPU_UTIL{own})) or vector(0)", plain=True),
                    number(
                        "Given to pods",
                        "avg(mlops:gpu_held:ratio) or vector(0)",
                        "percentunit",
                        "Of what can be allocated, turns and parts included",
                        plain=True,
                    ),
                    number(
                        "Hottest",
                        f"max(DCGM_FI_DEV_GPU_TEMP{own}) or vector(0)",
                        "celsius",
                        bounds=(80, 88),
                    ),
                ],
            ),
            Row(
                "GPUs",
                [
                    lines(
                        "Computing",
                        (f"max by (node, gpu, GPU_I_PROFILE) (DCGM_FI_DEV_GPU_UTIL{own}) / 100", gpu),
                        unit="percentunit",
                        most=1,
                    ),
                    lines(
                        "GPU memory",
                        (
                            f"sum by (node, gpu, GPU_I_PROFILE) (DCGM_FI_DEV_FB_USED{own}) / "
                            f"(sum by (node, gpu, GPU_I_PROFILE) (DCGM_FI_DEV_FB_USED{own}) "
                            f"+ sum by (node, gpu, GPU_I_PROFILE) (DCGM_FI_DEV_FB_FREE{own}))",
                            gpu,
                        ),
                        unit="percentunit",
                        most=1,
                        bound=0.95,
                    ),
                    lines(
                        "Temperature",
                        (f"max by (node, gpu) (DCGM_FI_DEV_GPU_TEMP{own})", gpu),
                        unit="celsius",
                        bound=88,
                    ),
                    lines("Power", (f"max by (node, gpu) (DCGM_FI_DEV_POWER_USAGE{own})", gpu), unit="watt"),
                    lines(
                        "Given to pods, by resource",
                        ("mlops:gpu_held:ratio or on () vector(0)", "{{node}} {{resource}}"),
                        unit="percentunit",
                        most=1,
                    ),
                    lines(
                        "Last error of the driver",
                        (f"max by (node, gpu) (DCGM_FI_DEV_XID_ERRORS{own})", gpu),
                        about="Its number (XID), 0 for none",
                    ),
                ],
            ),
            resources("gpu_node"),
        ],
    )


def drift() -> Board:
    """What models are given beside what they were trained with. There is no verdict before a model logs enough rows."""
    own = '{component="drift"}'
    none = "or on () vector(0)"
    return Board(
        "drift/files/monitoring/dashboard.json",
        "Drift",
        "Whether models are still given what they were trained with",
        [
            Row(
                "",
                [
                    *health("drift"),
                    number("Models that drifted", f"sum(model_drift_detected{own}) or vector(0)", bounds=(1, 1)),
                    number(
                        "Compared",
                        'sum(model_drift_status{component="drift", status="compared"}) or vector(0)',
                        about="Versions with a verdict",
                        plain=True,
                    ),
                    number(
                        "Too few rows",
                        'sum(model_drift_status{component="drift", status="too_few_rows"}) or vector(0)',
                        about="Versions that log, and were given too little for a verdict",
                        plain=True,
                    ),
                ],
            ),
            Row(
                "Models",
                [
                    lines(
                        "Share of features that drifted",
                        (
                            f"max by (model, model_version) (model_drift_share{own}) {none}",
                            "{{model}} {{model_version}}",
                        ),
                        unit="percentunit",
                        most=1,
                        bound=0.5,
                    ),
                    lines(
                        "Rows compared",
                        (
                            'max by (model, model_version) (model_drift_rows{component="drift", data="logged"})'
                            f" {none}",
                            "{{model}} {{model_version}}",
                        ),
                        about="Those of the window (drift_window_hours)",
                    ),
                    lines(
                        "Features that drifted",
                        (
                            f"max by (model, model_version, feature) (model_drift_feature_drifted{own}) {none}",
                            "{{model}} {{model_version}} {{feature}}",
                        ),
                        most=1,
                    ),
                    lines(
                        "Scores",
                        (
                            f"max by (model, model_version, feature, method) (model_drift_score{own}) {none}",
                            "{{model}} {{model_version}} {{feature}} ({{method}})",
                        ),
                        about="p values are small where a feature drifted, distances are large",
                    ),
                    lines(
                        "Age of the newest comparison",
                        (
                            "time() - max by (model, model_version) "
                            f"(model_drift_last_run_timestamp_seconds{own}) {none}",
                            "{{model}} {{model_version}}",
                        ),
                        unit="s",
                        bound=172800,
                    ),
                    lines(
                        "Rows logged by models",
                        (
                            f"mlops:model_log_rows:rate5m {none}",
                            "{{model}} {{model_version}} {{result}}",
                        ),
                        unit="suffix: rows/s",
                        stacked=True,
                    ),
                ],
            ),
            resources("drift"),
        ],
    )
