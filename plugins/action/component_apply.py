# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply a component: wait for its requirements, render, compare, send what differs, remember."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.cluster import FIELD_MANAGER, Object
from ansible_collections.mlops.platform.plugins.module_utils.engine import provision
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.manifests import Manifest, identity, title
from ansible_collections.mlops.platform.plugins.plugin_utils.component_action import ComponentAction


class ActionModule(ComponentAction):
    """See plugins/modules/component_apply.py for the documentation."""

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        manifests = self.render()
        self.await_requirements()
        objects = provision(self.cluster(), self.component, manifests, self.send, self.say, self.check_mode)
        return {"changed": objects.touched, "objects": objects.__dict__}

    def send(self, manifests: Sequence[Manifest]) -> Mapping[str, tuple[bool, Object]]:
        """Apply manifests with one call of kubernetes.core.k8s; big ones travel as a file, not as arguments."""
        self.say(f"applies {len(manifests)} objects: {', '.join(title(item) for item in manifests)}")
        with tempfile.NamedTemporaryFile("w", suffix=".yaml", prefix="mlops-platform-") as file:
            file.write("\n---\n".join(json.dumps(item) for item in manifests))
            file.flush()
            answer = self._execute_module(
                module_name="kubernetes.core.k8s",
                module_args={
                    "kubeconfig": self.cluster().kubeconfig,
                    "src": file.name,
                    "apply": True,
                    "server_side_apply": {"field_manager": FIELD_MANAGER, "force_conflicts": True},
                    "wait": False,
                    "hidden_fields": ["metadata.managedFields"],
                },
                task_vars=self.task_vars,
            )
        if answer.get("failed"):
            raise PlatformError(f"{self.component.name}: the cluster refused the manifests: {_reason(answer)}")
        found = answer["result"]
        results = found["results"] if "results" in found else [{"changed": answer["changed"], "result": found}]
        return {identity(item["result"]): (bool(item["changed"]), item["result"]) for item in results}


def _reason(answer: Mapping[str, Any]) -> str:
    """The API server's own message out of a failed k8s module's result."""
    text = str(answer.get("msg") or answer.get("error") or answer)
    start, end = text.find("{"), text.rfind("}")
    try:
        said = json.loads(text[start : end + 1].replace("\\'", "'").replace('\\\\"', '\\"'))["message"]
    except (ValueError, KeyError):
        return text
    return str(said)
