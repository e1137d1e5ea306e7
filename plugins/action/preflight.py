# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the inventory and this machine, touch nothing, and open the directory of the run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml
from ansible import context
from ansible.utils.collection_loader._collection_finder import _get_collection_role_path
from ansible_collections.mlops.platform.plugins.module_utils import graph, preflight
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.report import new_run_directory
from ansible_collections.mlops.platform.plugins.plugin_utils.action import PlatformAction

COLLECTION = Path(__file__).parents[2]


class ActionModule(PlatformAction):
    """See plugins/modules/preflight.py for the documentation."""

    PHASE = "preflight"
    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {"reports": {"type": "path", "required": True}}

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        problems: list[str] = []
        groups, hostvars = task_vars["groups"], task_vars["hostvars"]
        components = groups.get("components", [])
        roles: dict[str, preflight.RoleDescription] = {}
        for name in components:
            try:
                roles[name] = self._describe(name, hostvars[name])
            except PlatformError as error:
                problems.append(str(error))
        external: dict[str, bool] = {}
        for name, role in roles.items():
            given = {key: hostvars[name][key] for key in hostvars[name] if key.startswith(f"{role.name}_")}
            problems += preflight.wrong_variables(role, given)
            for variable in role.requires.values():
                external[variable] = bool(variable and hostvars[name].get(variable))
        try:
            waves = graph.waves({name: role.requires for name, role in roles.items()}, external) if not problems else []
        except PlatformError as error:
            problems.append(str(error))
        forks = int(context.CLIARGS.get("forks") or 5)
        if forks < len(components):
            problems.append(
                f"ansible.cfg: forks is {forks}; components wait for each other: at least {len(components)} are needed"
            )
        problems += self._shadowed(task_vars)
        if groups.get("local_cluster"):
            places = [Path(task_vars["platform_cache_dir"]), Path("/var/lib")]
            problems += preflight.machine([Path(str(self._templar.template(str(p)))) for p in places], [])
        if problems:
            count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
            raise PlatformError(f"{count}, nothing was touched:\n" + "\n".join(f"- {item}" for item in problems))
        directory = new_run_directory(Path(arguments["reports"]), time.time())
        return {"changed": False, "waves": waves, "run_directory": str(directory)}

    def _describe(self, name: str, variables: Mapping[str, Any]) -> preflight.RoleDescription:
        """The role of a component: its variable component_role, else the role of this collection with its name."""
        role = str(variables.get("component_role") or f"mlops.platform.{name}")
        found = _get_collection_role_path(role)
        if not found:
            known = [path.parent.parent.name for path in (COLLECTION / "roles").glob("*/vars/main.yml")]
            raise PlatformError(preflight.unknown_component(name, known))
        return preflight.describe(Path(found[1]), name)

    def _shadowed(self, task_vars: dict[str, Any]) -> list[str]:
        names: set[str] = set()
        for path in (COLLECTION / "group_vars" / "all").glob("*.yml"):
            names |= set(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
        found: list[str] = []
        for source in task_vars.get("ansible_inventory_sources") or []:
            path = Path(source)
            found += preflight.shadowed(path if path.is_dir() else path.parent, names)
        return found
