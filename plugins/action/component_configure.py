# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell a running service what it must know: buckets, users, databases."""

from __future__ import annotations

from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils import configure, events
from ansible_collections.mlops.platform.plugins.module_utils.engine import load_memory
from ansible_collections.mlops.platform.plugins.module_utils.health import applied_workloads
from ansible_collections.mlops.platform.plugins.module_utils.waiting import wait_ready
from ansible_collections.mlops.platform.plugins.plugin_utils.component_action import ComponentAction


class ActionModule(ComponentAction):
    """See plugins/modules/component_configure.py for the documentation."""

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        cluster, component = self.cluster(), self.component
        premises, steps = configure.parse(component)
        changes: list[str] = []
        for group in filter(None, (premises, steps)):
            if group is steps:
                awaited = applied_workloads(cluster, load_memory(cluster, component))
                wait_ready(cluster, awaited, component.name, component.timeout_seconds, self.say)
            with events.phase(component.name, "configure", of=len(group)) as configuring:
                changed = configure.apply(cluster, component, group, self.check_mode)
                configuring.message = f"{len(changed)} changed" if changed else ""
            changes += changed
        return {"changed": bool(changes), "configured": changes}
