# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action `local_cluster_node`: see plugins/modules/local_cluster_node.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.mlops.platform.plugins.module_utils.local_cluster import node, probes
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.supervisor import Supervisor
from ansible_collections.mlops.platform.plugins.plugin_utils.action import PlatformAction


class ActionModule(PlatformAction):
    """Gives the cluster's administrators their rights and waits for its node."""

    PHASE = "cluster"
    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        "name": {"type": "str", "required": True},
        "server": {"type": "str", "required": True},
        "run_dir": {"type": "path", "required": True},
        "authority": {"type": "path", "required": True},
        "pair": {"type": "path", "required": True},
        "signer": {"type": "path", "required": True},
        "grants": {"type": "dict", "required": True},
        "start_seconds": {"type": "int", "default": 180},
    }

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        host = task_vars.get("inventory_hostname", "localhost")
        run_dir = Path(arguments["run_dir"])
        identity = probes.Identity(Path(arguments["authority"]), Path(arguments["pair"]))
        api = node.Api(arguments["server"], identity)
        grants = {name: node.Grant(**grant) for name, grant in arguments["grants"].items()}
        if self.check_mode and not (run_dir / "supervisord.pid").exists():
            return {"changed": True, "granted": list(grants)}
        missing = node.missing_grants(api, grants)
        if missing and not self.check_mode:
            node.give(api, missing, Path(arguments["signer"]))
        waited = node.wait_ready(
            api,
            arguments["name"],
            kubelet=Supervisor(run_dir / "supervisor.sock").states()["kubelet"]["start"],
            cluster=(run_dir / "supervisord.pid").stat().st_mtime,
            seconds=arguments["start_seconds"],
            say=lambda message: self.progress(host, message),
        )
        if waited > 1:
            self.progress(host, f"node {arguments['name']} is ready after {waited:.1f} s")
        return {"changed": bool(missing), "granted": list(missing)}
