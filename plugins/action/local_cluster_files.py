# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action `local_cluster_files`: see plugins/modules/local_cluster_files.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.files import make_directory, write_file
from ansible_collections.mlops.platform.plugins.plugin_utils.action import PlatformAction


class ActionModule(PlatformAction):
    """Writes a tree of small files in one task."""

    PHASE = "cluster"
    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        "directory": {"type": "path", "required": True},
        "files": {"type": "dict", "required": True},
        "closed_directories": {"type": "list", "elements": "path", "default": []},
    }

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        directory = Path(arguments["directory"])
        closed = [directory, *map(Path, arguments["closed_directories"])]
        changed = [str(path) for path in closed if make_directory(path, mode=0o700, dry_run=self.check_mode)]
        for name, content in arguments["files"].items():
            if not isinstance(content, str):
                raise PlatformError(f"{name}: the content must be text, not {type(content).__name__}")
            if write_file(directory / name, content, dry_run=self.check_mode):
                changed.append(name)
        return {"changed": bool(changed), "written": changed}
