# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration steps: what a service must be told once it runs, each one compared with what it has.

Adding a step: a frozen dataclass of its parameters with an `apply` method, listed in STEPS.
"""

from __future__ import annotations

from ansible_collections.mlops.platform.plugins.module_utils.configure.base import Step
from ansible_collections.mlops.platform.plugins.module_utils.configure.minio import MinioStep
from ansible_collections.mlops.platform.plugins.module_utils.configure.mlflow import MlflowUserStep
from ansible_collections.mlops.platform.plugins.module_utils.configure.postgresql import PostgresqlStep

STEPS: dict[str, type[Step]] = {
    "minio": MinioStep,
    "postgresql": PostgresqlStep,
    "mlflow_user": MlflowUserStep,
}
