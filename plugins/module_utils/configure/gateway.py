# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Gateway: the proxies that its controller makes of it are ready and have an address."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.mlops.platform.plugins.module_utils import events, gateway
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access
from ansible_collections.mlops.platform.plugins.module_utils.configure.base import Step
from ansible_collections.mlops.platform.plugins.module_utils.waiting import NotReady, Waker, wait_ready

READY_SECONDS = 300.0
"""The longest wait for proxies, whose image may have to be pulled, and for a load balancer's address."""
LOOK_SECONDS = 5.0
"""The longest time without a look at the Gateway: proxies and addresses may come without a change of it."""


@dataclass(frozen=True)
class GatewayStep(Step):
    """The Gateway `service` of the component `component` is programmed.

    `proxies` is the Deployment that Envoy Gateway makes of it; without it another implementation looks after them.
    Nothing is told to anybody: the controller keeps its proxies as they must be, and this waits for them.
    """

    component: str
    proxies: str = ""

    def apply(self, access: Access, check_mode: bool) -> list[str]:
        if check_mode:
            return []
        if self.proxies:
            self._await(access, self._unmade)
            metadata = {"name": self.proxies, "namespace": self.service.namespace or access.namespace}
            awaited = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata}
            wait_ready(access.cluster, [awaited], self.component, READY_SECONDS, self._say)
        self._await(access, self._missing)
        return []

    def _await(self, access: Access, missing: Callable[[Access], str]) -> None:
        """Return when nothing is missing. Raises NotReady with what is where that takes too long."""
        namespace = self.service.namespace or access.namespace
        started, waker = time.monotonic(), None
        try:
            while reason := missing(access):
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

    def _unmade(self, access: Access) -> str:
        """What the controller has not done for the proxies yet: made them, or put back what somebody scaled to 0."""
        namespace = self.service.namespace or access.namespace
        found = access.cluster.get("apps/v1", "Deployment", self.proxies, namespace)
        return "" if found and found["spec"].get("replicas") else f"Deployment {namespace}/{self.proxies} has no pods"

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
