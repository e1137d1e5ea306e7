# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply a component: wait for its requirements, render, compare, send what differs, remember."""

from __future__ import annotations

from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils import events
from ansible_collections.mlops.platform.plugins.module_utils.engine import forget, load_memory, provision
from ansible_collections.mlops.platform.plugins.module_utils.health import prove_external
from ansible_collections.mlops.platform.plugins.plugin_utils.component_action import ComponentAction


class ActionModule(ComponentAction):
    """See plugins/modules/component_apply.py for the documentation."""

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        name = self.component.name
        if not self.component.wanted:
            return self._removed()
        if reason := self.unwatched():
            return {"changed": False, "skipped": True, "msg": reason}
        with events.phase(name, "render") as rendering:
            manifests = self.render()
            rendering.message = f"{len(manifests)} objects"
        if not manifests:
            return self._removed()
        self.await_requirements()
        cluster = self.cluster()
        prove_external(cluster, self.component, self.authorities())
        with events.phase(name, "apply", of=len(manifests)) as applying:
            objects = provision(cluster, self.component, manifests, self.say, self.check_mode)
            applying.message = objects.summary()
        return {"changed": objects.touched, "objects": objects.__dict__, "warnings": sorted(cluster.warnings)}

    def _removed(self) -> dict[str, Any]:
        """Remove what an earlier run applied of a component that is not wanted, or has no objects, any more."""
        cluster = self.cluster()
        if not load_memory(cluster, self.component):
            return {"changed": False, "skipped": True, "msg": f"nothing was applied for {self.component.name}"}
        objects = provision(cluster, self.component, [], self.say, self.check_mode)
        if not self.check_mode:
            forget(cluster, self.component)
        return {"changed": True, "objects": objects.__dict__}
