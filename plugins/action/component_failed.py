# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell the components that wait for this one that it failed, and fail with its first cause."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.mlops.platform.plugins.plugin_utils.action import PlatformAction
from ansible_collections.mlops.platform.plugins.plugin_utils.component_action import mark


class ActionModule(PlatformAction):
    """See plugins/modules/component_failed.py for the documentation."""

    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        "name": {"type": "str", "required": True},
        "cause": {"type": "dict", "required": True},
    }

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        mark(task_vars, arguments["name"], healthy=False)
        return {"failed": True, "msg": arguments["cause"].get("msg", f"{arguments['name']} failed")}
