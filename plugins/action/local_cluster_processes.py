# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action `local_cluster_processes`: see plugins/modules/local_cluster_processes.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.mlops.platform.plugins.module_utils.local_cluster import probes
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.host import processes
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.lifecycle import Lifecycle, Step
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.supervisor import Program
from ansible_collections.mlops.platform.plugins.plugin_utils.action import PlatformAction
from ansible_collections.mlops.platform.plugins.plugin_utils.local_cluster import HOST_ARGUMENT, host_of

IDENTITY: dict[str, Any] = {
    "type": "dict",
    "options": {"authority": {"type": "path", "required": True}, "pair": {"type": "path"}},
}


class ActionModule(PlatformAction):
    """Starts, stops and kills the processes of a node."""

    PHASE = "cluster"
    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        "state": {"type": "str", "choices": ["started", "stopped", "killed"], "default": "started"},
        "host": HOST_ARGUMENT,
        "log_dir": {"type": "path", "required": True},
        "node": {"type": "bool", "default": False},
        "programs": {"type": "dict", "default": {}},
        "processes": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "name": {"type": "str", "required": True},
                "command": {"type": "list", "elements": "str", "required": True},
                "inputs": {"type": "list", "elements": "path", "default": []},
                "environment": {"type": "dict", "default": {}},
                "ready": {
                    "type": "dict",
                    "required": True,
                    "options": {"url": {"type": "str"}, "socket": {"type": "str"}, "identity": IDENTITY},
                },
            },
        },
        "start_seconds": {"type": "int", "default": 180},
        "stop_seconds": {"type": "int", "default": 15},
    }

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        name = task_vars.get("inventory_hostname", "localhost")
        host = host_of(arguments["host"])
        lifecycle = Lifecycle(
            host,
            Path(arguments["log_dir"]),
            arguments["stop_seconds"],
            lambda message: self.progress(name, message),
        )
        if arguments["state"] == "killed":
            ended = len(processes(host)) if self.check_mode else lifecycle.kill()
            return {"changed": bool(ended), "killed": ended}
        if arguments["state"] == "stopped":
            if self.check_mode:
                return {"changed": host.present}
            done = lifecycle.stop()
            return {"changed": bool(done), "stopped": done}
        steps = [_step(number, item, arguments["programs"]) for number, item in enumerate(arguments["processes"])]
        if self.check_mode:
            wanted = lifecycle.would_start(steps)
            return {"changed": bool(wanted), "started": wanted}
        outcome = lifecycle.start(steps, node=arguments["node"], seconds=arguments["start_seconds"])
        return {"changed": outcome.changed, "started": outcome.started, "swept": outcome.swept}


def _step(position: int, item: dict[str, Any], programs: dict[str, str]) -> Step:
    called, *words = item["command"]
    program = Program(
        name=item["name"],
        command=(programs.get(called, called), *words),
        inputs=tuple(Path(path) for path in item["inputs"]),
        environment={key: str(value) for key, value in item["environment"].items()},
        position=position,
    )
    ready = item["ready"]
    identity = None
    if ready.get("identity"):
        pair = ready["identity"].get("pair")
        identity = probes.Identity(Path(ready["identity"]["authority"]), Path(pair) if pair else None)
    return Step(program, probes.Probe(url=ready["url"] or "", unix_socket=ready["socket"] or "", identity=identity))
