# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serve a model and prove it by its predictions, release a new version of it, validate it, or serve it no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.mlops.platform.plugins.module_utils.cluster import connect
from ansible_collections.mlops.platform.plugins.module_utils.component import build
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.models import lifecycle
from ansible_collections.mlops.platform.plugins.module_utils.models.deploy import Record, component_name
from ansible_collections.mlops.platform.plugins.module_utils.models.inference_service import Serving, Settings
from ansible_collections.mlops.platform.plugins.module_utils.models.releasing import release
from ansible_collections.mlops.platform.plugins.plugin_utils.action import PlatformAction


class ActionModule(PlatformAction):
    """See plugins/modules/model.py for the documentation."""

    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {"model": {"type": "dict", "required": True}}

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        spec = arguments["model"]
        record = spec["record"]
        settings = build(Settings, record["settings"], "the settings of a model")
        name = component_name(settings.name)
        model = lifecycle.Model(
            cluster=connect(spec["kubeconfig"]),
            record=Record(settings, bool(record["declared"])),
            serving=build(Serving, spec["serving"], "how models are served"),
            mlflow=spec["mlflow"],
            own_server=bool(spec["own_server"]),
            authorities=spec["authorities"],
            directory=Path(spec["run_directory"]) if spec["run_directory"] else None,
            say=lambda message: self.progress(name, message),
            check_mode=self.check_mode,
        )
        about = {"name": name, "version": "", "namespace": model.serving.namespace}
        try:
            done = release(model, spec["release"]) if spec["release"] else getattr(model, spec["verb"])()
            return {"component": about, **done}
        except PlatformError as error:
            error.details["component"] = about
            raise
