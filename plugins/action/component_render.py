# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Render a component's manifests into a file, without a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import yaml
from ansible_collections.mlops.platform.plugins.plugin_utils.component_action import ComponentAction

DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class ActionModule(ComponentAction):
    """See plugins/modules/component_render.py for the documentation."""

    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        **ComponentAction.ARGUMENTS,
        "dest": {"type": "path", "required": True},
    }

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        manifests, path = self.render(), Path(arguments["dest"])
        changed = self._write(path, manifests)
        if patches := self.patches():
            changed |= self._write(path.with_suffix(f".patches{path.suffix}"), patches)
        return {"changed": changed, "dest": str(path), "objects": len(manifests)}

    def _write(self, path: Path, objects: list[dict[str, Any]]) -> bool:
        """Write objects into a file; returns whether that changes it."""
        text = yaml.dump_all(objects, Dumper=DUMPER, sort_keys=True, width=120)
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return False
        if not self.check_mode:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return True
