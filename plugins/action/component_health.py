# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validate a component by transactions and say so to those that wait for it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.mlops.platform.plugins.module_utils import gateway
from ansible_collections.mlops.platform.plugins.module_utils.health import (
    access_lines,
    validate,
    validate_fully,
    verdict,
)
from ansible_collections.mlops.platform.plugins.plugin_utils.component_action import (
    ComponentAction,
    mark,
    run_directory,
)


class ActionModule(ComponentAction):
    """See plugins/modules/component_health.py for the documentation."""

    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        **ComponentAction.ARGUMENTS,
        "timeout_seconds": {"type": "float"},
        "full": {"type": "bool", "default": False},
        "fail_on_unhealthy": {"type": "bool", "default": True},
    }

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        cluster, component = self.cluster(), self.component
        reason = self.unwatched() if component.wanted else f"nothing of {component.name} is asked for"
        if component.observes and not reason and not self.render():
            reason = f"{component.observes} has nothing to watch"
        if reason:
            return {"changed": False, "skipped": True, "msg": reason}
        seconds = arguments["timeout_seconds"] or component.checks_seconds
        checks = validate(cluster, component, seconds, self.say, self.authorities())
        if all(check["healthy"] for check in checks):
            mark(self.task_vars, component.name, healthy=True)  # those that wait need not wait for the full checks
            if arguments["full"]:
                checks += validate_fully(cluster, component, self.authorities())
        result = {"changed": False, **verdict(cluster, component, checks)}
        if result["healthy"]:
            result["access"] = access_lines(cluster, component, self._authority_file())
        else:
            result["failed"] = bool(arguments["fail_on_unhealthy"])
        return result

    def _authority_file(self) -> str:
        """Where the certificate of the edge's own authority stands beside the report; empty where there is none."""
        raw = next((item for item in self.component.access if item.get("issuer")), None)
        directory = run_directory(self.task_vars)
        return gateway.keep_authority(self.cluster(), raw, directory) if raw and directory else ""
