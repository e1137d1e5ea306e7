# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell a running service what it must know: buckets, users, databases."""

from __future__ import annotations

from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils import events
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access, parse_typed
from ansible_collections.mlops.platform.plugins.module_utils.configure import STEPS
from ansible_collections.mlops.platform.plugins.module_utils.engine import load_memory
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards
from ansible_collections.mlops.platform.plugins.module_utils.health import applied_workloads
from ansible_collections.mlops.platform.plugins.module_utils.waiting import wait_ready
from ansible_collections.mlops.platform.plugins.plugin_utils.component_action import ComponentAction


class ActionModule(ComponentAction):
    """See plugins/modules/component_configure.py for the documentation."""

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        cluster, component = self.cluster(), self.component
        where = f"component_spec of {component.name}: configure"
        steps = [parse_typed(raw, STEPS, where) for raw in component.configure]
        awaited = applied_workloads(cluster, load_memory(cluster, component))
        wait_ready(cluster, awaited, component.name, component.timeout_seconds, self.say)
        changes: list[str] = []
        with events.phase(component.name, "configure", of=len(steps)) as configuring, Forwards(cluster) as forwards:
            access = Access(cluster, forwards, component.namespace)
            for step in steps:
                try:
                    changes += step.apply(access, self.check_mode)
                except PlatformError:
                    raise
                except Exception as error:  # what a client library raises is the user's to read
                    kind = type(step).__name__
                    raise PlatformError(f"{component.name}: {kind}: {type(error).__name__}: {error}") from error
            configuring.message = f"{len(changes)} changed" if changes else ""
        return {"changed": bool(changes), "configured": changes}
