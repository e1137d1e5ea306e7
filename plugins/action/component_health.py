# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validate a component by transactions and say so to those that wait for it."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from ansible_collections.mlops.platform.plugins.module_utils import gateway
from ansible_collections.mlops.platform.plugins.module_utils.health import (
    EXTERNAL_NEXT_STEP,
    access_lines,
    evidence,
    external,
    parse_checks,
    validate,
    validate_fully,
)
from ansible_collections.mlops.platform.plugins.module_utils.report import write_text
from ansible_collections.mlops.platform.plugins.module_utils.usage import usage
from ansible_collections.mlops.platform.plugins.plugin_utils.component_action import (
    ComponentAction,
    mark,
    run_directory,
)

AUTHORITY_FILE = "platform-ca.crt"
"""The name under which the certificate of the platform's own authority stands beside the report."""


class ActionModule(ComponentAction):
    """See plugins/modules/component_health.py for the documentation."""

    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        **ComponentAction.ARGUMENTS,
        "timeout_seconds": {"type": "float", "default": 30.0},
        "full": {"type": "bool", "default": False},
        "fail_on_unhealthy": {"type": "bool", "default": True},
    }

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        cluster, component = self.cluster(), self.component
        checks = validate(cluster, component, arguments["timeout_seconds"], self.say, self.authorities())
        if all(check["healthy"] for check in checks):
            mark(self.task_vars, component.name, healthy=True)  # those that wait need not wait for the full checks
            if arguments["full"]:
                checks += validate_fully(cluster, component, self.authorities())
        failed = [check for check in checks if not check["healthy"]]
        result: dict[str, Any] = {
            "changed": False,
            "healthy": not failed,
            "checks": checks,
            "failed_checks": [check["name"] for check in failed],
            **usage(cluster, component.name, component.spaces),
        }
        if not failed:
            result["access"] = access_lines(cluster, component, self._authority_file())
            return result
        first = failed[0]
        result["evidence"] = evidence(cluster, component)
        result["msg"] = f"{component.name} is unhealthy: {first['name']}: {first['message']}"
        if first["name"] in external(parse_checks(component)):
            result["next_step"] = EXTERNAL_NEXT_STEP
        result["failed"] = bool(arguments["fail_on_unhealthy"])
        return result

    def _authority_file(self) -> str:
        """Write the certificate of the edge's own authority beside the report, where the component names its issuer.

        Returns the path as people see it; empty where there is no such authority, or no report.
        """
        raw = next((item for item in self.component.access if item.get("issuer")), None)
        directory = run_directory(self.task_vars) if raw else None
        certificates = gateway.authority(self.cluster(), raw["issuer"], raw["issuer_namespace"]) if raw else ""
        if directory is None or not certificates:
            return ""
        write_text(directory / AUTHORITY_FILE, certificates)
        return os.path.relpath(directory.parent / "latest" / AUTHORITY_FILE)
