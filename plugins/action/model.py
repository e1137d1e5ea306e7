# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serve a model and prove it by its predictions, release a new version of it, validate it, or serve it no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.models import lifecycle
from ansible_collections.mlops.platform.plugins.module_utils.models.releasing import release
from ansible_collections.mlops.platform.plugins.plugin_utils.action import PlatformAction


class ActionModule(PlatformAction):
    """See plugins/modules/model.py for the documentation."""

    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {"model": {"type": "dict", "required": True}}

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        raw = arguments["model"]
        model = lifecycle.Model.parse(raw, lambda message: self.progress(raw["host"], message), self.check_mode)
        about = {"name": model.name, "version": "", "namespace": model.serving.namespace}
        try:
            done = self._done(model, raw)
            return {"component": about, **done}
        except PlatformError as error:
            error.details["component"] = about
            raise

    def _done(self, model: lifecycle.Model, raw: Mapping[str, Any]) -> dict[str, Any]:
        if raw["experiment"]:
            # The libraries of statistics take seconds to import, and few runs need them.
            from ansible_collections.mlops.platform.plugins.module_utils.experiments.gate import experiment

            return experiment(model, raw["release"], raw["experiment"])
        if raw["release"]:
            return release(model, raw["release"])
        done: dict[str, Any] = getattr(model, raw["verb"])()
        return done
