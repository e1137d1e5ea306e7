# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action `local_cluster_preflight`: see plugins/modules/local_cluster_preflight.py."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.files import write_file
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.machine import (
    MADE_WITH,
    machine_nameservers,
    problems,
)
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.preflight import missing_packages
from ansible_collections.mlops.platform.plugins.plugin_utils.action import PlatformAction
from ansible_collections.mlops.platform.plugins.plugin_utils.local_cluster import MACHINE_ARGUMENTS, machine_of


class ActionModule(PlatformAction):
    """Refuses a machine on which the cluster could not work, and notes with what the cluster is made."""

    PHASE = "cluster"
    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = MACHINE_ARGUMENTS

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        machine = machine_of(arguments)
        found = problems(machine)
        if found:
            raise PlatformError("This machine cannot run the cluster:\n" + "\n".join(f"- {item}" for item in found))
        note = json.dumps(machine.unchangeable, indent=1)
        made_with = machine.host.state_dir / MADE_WITH
        return {
            "changed": bool(machine.unchangeable) and write_file(made_with, note, dry_run=self.check_mode),
            "missing_packages": missing_packages(machine.packages),
            "nameservers": machine_nameservers(),
        }
