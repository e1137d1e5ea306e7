# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Gateway: the proxies that its controller makes of it are there, as many as asked for, and have an address."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ansible_collections.mlops.platform.plugins.module_utils import events, gateway
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access
from ansible_collections.mlops.platform.plugins.module_utils.cluster import FIELD_MANAGER
from ansible_collections.mlops.platform.plugins.module_utils.configure.base import Step
from ansible_collections.mlops.platform.plugins.module_utils.waiting import NotReady, Waker, wait_ready

READY_SECONDS = 300.0
"""The longest wait for proxies, whose image may have to be pulled, and for a load balancer's address."""
LOOK_SECONDS = 5.0
"""The longest time without a look at the Gateway: proxies and addresses may come without a change of it."""


@dataclass(frozen=True)
class GatewayStep(Step):
    """The Gateway `service` of the component `component` is programmed.

    `proxies` is the Deployment that Envoy Gateway makes of it, `replicas` of it: the controller does not put that
    number back where somebody lowered it. Without `proxies` another implementation looks after them.
    """

    component: str
    proxies: str = ""
    replicas: int = 0

    def apply(self, access: Access, check_mode: bool) -> list[str]:
        changes = self._scale(access, check_mode) if self.proxies else []
        if not check_mode:
            self._await(access)
        return changes

    def _scale(self, access: Access, check_mode: bool) -> list[str]:
        """Have as many proxies as were asked for at least, all of them ready."""
        cluster, namespace = access.cluster, self.service.namespace or access.namespace
        found = cluster.get("apps/v1", "Deployment", self.proxies, namespace)
        present = found["spec"].get("replicas", 1) if found else self.replicas
        changes = []
        if present < self.replicas:
            changes.append(f"Deployment {namespace}/{self.proxies} scaled from {present} to {self.replicas}")
        if check_mode:
            return changes
        if changes:
            path = cluster.resource("apps/v1", "Deployment").path(namespace, self.proxies)
            body = {"spec": {"replicas": self.replicas}}
            merge = "application/merge-patch+json"
            cluster.request(
                "PATCH", f"{path}/scale", query={"fieldManager": FIELD_MANAGER}, body=body, content_type=merge
            )
        metadata = {"name": self.proxies, "namespace": namespace}
        awaited = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata}
        wait_ready(cluster, [awaited], self.component, READY_SECONDS, self._say)
        return changes

    def _await(self, access: Access) -> None:
        """Return when the Gateway is programmed. Raises NotReady with its own reason where it is not in time."""
        namespace = self.service.namespace or access.namespace
        started, waker = time.monotonic(), None
        try:
            while reason := self._missing(access):
                elapsed = time.monotonic() - started
                if elapsed > READY_SECONDS:
                    raise NotReady(f"{reason} (after {elapsed:.0f} s)", [])
                self._say(reason)
                path = access.cluster.resource(gateway.API, "Gateway").path(namespace)
                waker = waker or Waker(access.cluster, [path], "")
                waker.wait(LOOK_SECONDS)
        finally:
            if waker:
                waker.close()

    def _missing(self, access: Access) -> str:
        """What the Gateway waits for: to be looked at, proxies, an address. What else it complains of checks tell."""
        name, namespace = self.service.name, self.service.namespace or access.namespace
        found = gateway.gateway(access.cluster, name, namespace)
        behind = gateway.service(access.cluster, name, namespace)
        said = gateway.complaints(found, behind=behind)
        own = [item for item in said if item.startswith("Gateway ") and "not Programmed" in item]
        return gateway.unseen(found) or next(iter(own), "")

    def _say(self, message: str) -> None:
        events.progress(self.component, message)
