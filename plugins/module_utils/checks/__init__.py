# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Typed health checks: each one is a transaction with a service that asserts a value.

Adding a type: a frozen dataclass of its parameters with a `run` method, listed in CHECKS.
"""

from __future__ import annotations

from ansible_collections.mlops.platform.plugins.module_utils.checks.admission import WebhookCheck
from ansible_collections.mlops.platform.plugins.module_utils.checks.alerts import (
    AlertFiresCheck,
    AlertmanagerAlertCheck,
)
from ansible_collections.mlops.platform.plugins.module_utils.checks.autoscaler import AutoscalerCheck
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Check
from ansible_collections.mlops.platform.plugins.module_utils.checks.certificate import CertificateCheck
from ansible_collections.mlops.platform.plugins.module_utils.checks.connection import ConnectionCheck
from ansible_collections.mlops.platform.plugins.module_utils.checks.dns import DnsCheck
from ansible_collections.mlops.platform.plugins.module_utils.checks.drift import DriftCheck
from ansible_collections.mlops.platform.plugins.module_utils.checks.edge import EdgeCheck
from ansible_collections.mlops.platform.plugins.module_utils.checks.gpu import (
    GpuAllocatableCheck,
    GpuKeptOffCheck,
    GpuPodCheck,
    GpuTooManyCheck,
)
from ansible_collections.mlops.platform.plugins.module_utils.checks.http import HttpCheck
from ansible_collections.mlops.platform.plugins.module_utils.checks.inference import InferenceCheck
from ansible_collections.mlops.platform.plugins.module_utils.checks.iter8 import Iter8RoutemapCheck, Iter8UsersCheck
from ansible_collections.mlops.platform.plugins.module_utils.checks.knative import (
    KnativeScaleCheck,
    KnativeServiceCheck,
)
from ansible_collections.mlops.platform.plugins.module_utils.checks.kserve import (
    KserveAdmissionCheck,
    KservePodCheck,
    KserveRuntimesCheck,
)
from ansible_collections.mlops.platform.plugins.module_utils.checks.mlflow import MlflowAccessCheck, MlflowRunCheck
from ansible_collections.mlops.platform.plugins.module_utils.checks.model_api import MlflowModelCheck, ModelApiCheck
from ansible_collections.mlops.platform.plugins.module_utils.checks.prometheus import (
    PrometheusQueryCheck,
    PrometheusRulesCheck,
    PrometheusTargetsCheck,
)
from ansible_collections.mlops.platform.plugins.module_utils.checks.s3 import (
    S3AccessCheck,
    S3DeniedCheck,
    S3RefusedCheck,
)
from ansible_collections.mlops.platform.plugins.module_utils.checks.sql import (
    SqlExtensionsCheck,
    SqlRefusedCheck,
    SqlSettingsCheck,
    SqlTransactionCheck,
)

CHECKS: dict[str, type[Check]] = {
    "certificate": CertificateCheck,
    "connection": ConnectionCheck,
    "dns": DnsCheck,
    "drift": DriftCheck,
    "edge": EdgeCheck,
    "gpu_allocatable": GpuAllocatableCheck,
    "gpu_kept_off": GpuKeptOffCheck,
    "gpu_pod": GpuPodCheck,
    "gpu_too_many": GpuTooManyCheck,
    "http": HttpCheck,
    "knative_service": KnativeServiceCheck,
    "knative_scale": KnativeScaleCheck,
    "webhook": WebhookCheck,
    "s3_access": S3AccessCheck,
    "s3_denied": S3DeniedCheck,
    "s3_refused": S3RefusedCheck,
    "sql_transaction": SqlTransactionCheck,
    "sql_extensions": SqlExtensionsCheck,
    "sql_settings": SqlSettingsCheck,
    "sql_refused": SqlRefusedCheck,
    "kserve_admission": KserveAdmissionCheck,
    "kserve_pod": KservePodCheck,
    "kserve_runtimes": KserveRuntimesCheck,
    "inference": InferenceCheck,
    "iter8_users": Iter8UsersCheck,
    "iter8_routemap": Iter8RoutemapCheck,
    "mlflow_run": MlflowRunCheck,
    "mlflow_access": MlflowAccessCheck,
    "mlflow_model": MlflowModelCheck,
    "model_api": ModelApiCheck,
    "autoscaler": AutoscalerCheck,
    "alert_fires": AlertFiresCheck,
    "alertmanager_alert": AlertmanagerAlertCheck,
    "prometheus_query": PrometheusQueryCheck,
    "prometheus_rules": PrometheusRulesCheck,
    "prometheus_targets": PrometheusTargetsCheck,
}
