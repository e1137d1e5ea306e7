# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the missing images and programs of the catalogue. See plugins/modules/images.py."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.mlops.platform.plugins.module_utils.image_build import Builder
from ansible_collections.mlops.platform.plugins.module_utils.image_events import ImageEvents
from ansible_collections.mlops.platform.plugins.module_utils.images import Catalogue
from ansible_collections.mlops.platform.plugins.plugin_utils.action import PlatformAction


class ActionModule(PlatformAction):
    """Build what the registry and the cache do not have yet."""

    PHASE = "images"
    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        "names": {"type": "list", "elements": "str", "required": True},
        "catalogue": {"type": "dict", "required": True},
        "registry": {"type": "str", "required": True},
        "mirror": {"type": "str", "default": ""},
        "cache_dir": {"type": "path", "required": True},
        "go_version": {"type": "str", "required": True},
        "keep_caches": {"type": "bool", "default": False},
    }

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        started = time.monotonic()
        host = task_vars["inventory_hostname"]
        names, cache = arguments["names"], Path(arguments["cache_dir"])
        catalogue = Catalogue.load(arguments["catalogue"], registry=arguments["registry"], mirror=arguments["mirror"])
        watched = ImageEvents(host)

        def report(line: str) -> None:
            watched.take(line)
            self.print_unless_shown(host, line)

        builder = Builder(
            catalogue,
            cache,
            report,
            go_version=arguments["go_version"],
            keep_caches=arguments["keep_caches"],
        )
        missing = [image.name for image in builder.missing(names)]
        left_over = builder.left_over()
        try:
            built = [] if self.check_mode else builder.build(names)
        finally:
            watched.close()
        return {
            "changed": bool(missing) or left_over,
            "left_over": left_over,
            "missing": missing,
            "built": [{"name": name, "seconds": builder.seconds[name]} for name in built],
            "references": {n: catalogue.reference(n) for n in names if not catalogue.image(n).program},
            "programs": {n: str(catalogue.program_path(n, cache)) for n in names if catalogue.image(n).program},
            "seconds": round(time.monotonic() - started, 1),
        }
