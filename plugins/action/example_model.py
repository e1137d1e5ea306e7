# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a training example against the platform's MLflow, as its user would."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access, Service
from ansible_collections.mlops.platform.plugins.module_utils.cluster import connect
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards
from ansible_collections.mlops.platform.plugins.module_utils.process import run
from ansible_collections.mlops.platform.plugins.plugin_utils.action import PlatformAction

TRAINING_SECONDS = 300


class ActionModule(PlatformAction):
    """See plugins/modules/example_model.py for the documentation."""

    PHASE = "model"
    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        "script": {"type": "path", "required": True},
        "kubeconfig": {"type": "path"},
        "namespace": {"type": "str", "required": True},
        "port": {"type": "int", "default": 5000},
        "credentials": {"type": "str", "default": "mlflow-service"},
    }

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        if self.check_mode:
            return {"changed": False, "skipped": True}
        cluster = connect(arguments["kubeconfig"])
        with Forwards(cluster) as forwards:
            access = Access(cluster, forwards, arguments["namespace"])
            username, password = access.secret(arguments["credentials"], "username", "password")
            environment = {
                **os.environ,
                "MLFLOW_TRACKING_URI": access.url(Service("mlflow", arguments["port"])),
                "MLFLOW_TRACKING_USERNAME": username,
                "MLFLOW_TRACKING_PASSWORD": password,
                "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
                "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
                "PYTHONWARNINGS": "ignore",
            }
            script = Path(arguments["script"])
            command: list[str | Path] = [sys.executable, script, "train", "verify"]
            output = run(command, what=f"the example {script.name}", env=environment, timeout=TRAINING_SECONDS)
        try:
            found: dict[str, Any] = json.loads(output.splitlines()[-1])
        except (ValueError, IndexError) as error:
            raise PlatformError(f"the example {script.name} ended without its result: {output[-500:]}") from error
        return {"changed": False, **found}
