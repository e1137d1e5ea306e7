# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Render a component and say what it will need of the cluster."""

from __future__ import annotations

from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.preflight.needs import needs
from ansible_collections.mlops.platform.plugins.plugin_utils.component_action import ComponentAction


class ActionModule(ComponentAction):
    """See plugins/modules/component_survey.py for the documentation."""

    PHASE = "preflight"

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"changed": False, "needs": needs(self.component, self.render()).as_dict()}
