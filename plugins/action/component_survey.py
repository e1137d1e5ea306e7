# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Render a component and say what it will need of the cluster."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.mlops.platform.plugins.module_utils.preflight.needs import needs
from ansible_collections.mlops.platform.plugins.plugin_utils.component_action import ComponentAction, parsed


class ActionModule(ComponentAction):
    """See plugins/modules/component_survey.py for the documentation."""

    PHASE = "preflight"
    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {**ComponentAction.ARGUMENTS, "observation": {"type": "dict"}}

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        found = [needs(self.component, self.render())]
        if arguments["observation"]:
            self.component = parsed(arguments["observation"])
            # The operator of our own Prometheus may come with a later run, that of a site's own is there.
            found.append(needs(self.component, self.render(), later=not self.variable("platform_prometheus_url")))
        return {"changed": False, "needs": [item.as_dict() for item in found]}
