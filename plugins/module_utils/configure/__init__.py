# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration steps: what a service must be told once it runs, each one compared with what it has.

Adding a step: a frozen dataclass of its parameters with an `apply` method, listed in STEPS.
"""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access, parse_typed
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster
from ansible_collections.mlops.platform.plugins.module_utils.component import Component
from ansible_collections.mlops.platform.plugins.module_utils.configure.base import Step
from ansible_collections.mlops.platform.plugins.module_utils.configure.gateway import GatewayStep
from ansible_collections.mlops.platform.plugins.module_utils.configure.gpu import GpuNodesStep
from ansible_collections.mlops.platform.plugins.module_utils.configure.iter8 import Iter8Step
from ansible_collections.mlops.platform.plugins.module_utils.configure.minio import MinioStep
from ansible_collections.mlops.platform.plugins.module_utils.configure.mlflow import MlflowUserStep
from ansible_collections.mlops.platform.plugins.module_utils.configure.postgresql import PostgresqlStep
from ansible_collections.mlops.platform.plugins.module_utils.configure.prometheus import PrometheusStep
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards

STEPS: dict[str, type[Step]] = {
    "gateway": GatewayStep,
    "gpu_nodes": GpuNodesStep,
    "iter8": Iter8Step,
    "minio": MinioStep,
    "postgresql": PostgresqlStep,
    "mlflow_user": MlflowUserStep,
    "prometheus": PrometheusStep,
}


def parse(component: Component) -> tuple[list[Step], list[Step]]:
    """The steps of a component: those that are premises, which come before its workloads are ready, and the others."""
    where = f"component_spec of {component.name}: configure"
    steps = [parse_typed(raw, STEPS, where) for raw in component.configure]
    return [step for step in steps if step.premise], [step for step in steps if not step.premise]


def apply(cluster: Cluster, component: Component, steps: Iterable[Step], check_mode: bool) -> list[str]:
    """Perform steps of a component; returns what was changed, one line each.

    Raises PlatformError with the step and what its client library said.
    """
    changes: list[str] = []
    with Forwards(cluster) as forwards:
        access = Access(cluster, forwards, component.namespace)
        for step in steps:
            try:
                changes += step.apply(access, check_mode)
            except PlatformError:
                raise
            except Exception as error:  # what a client library raises is the user's to read
                kind = type(step).__name__
                raise PlatformError(f"{component.name}: {kind}: {type(error).__name__}: {error}") from error
    return changes
