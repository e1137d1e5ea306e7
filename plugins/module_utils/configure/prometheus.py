# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus: it has loaded what was applied for it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import count

import urllib3
from ansible_collections.mlops.platform.plugins.module_utils import events, observation
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access
from ansible_collections.mlops.platform.plugins.module_utils.checks.prometheus import (
    applied,
    asked,
    loaded,
    named,
    pools,
    touch,
)
from ansible_collections.mlops.platform.plugins.module_utils.configure.base import Step
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.forward import NobodyReady
from ansible_collections.mlops.platform.plugins.module_utils.prometheus import Prometheus

LOADED_SECONDS = 150.0
"""The longest wait: a kubelet looks at mounted configuration each minute or so, where a touch does not help."""
LOOKS = 3
"""How often pods are touched at least: what was there before and is another now has its name still."""
LOOK_SECONDS = 1.0
"""How often Prometheus is asked: there is nothing to watch."""


@dataclass(frozen=True)
class PrometheusStep(Step):
    """The Prometheus `service` has loaded the rules and the monitors of the observation `component`.

    Its operator writes them into objects that the pods mount, which kubelets look at about once a minute: a pod that is
    touched is looked at at once. Nothing else is told to anybody.
    """

    component: str

    def apply(self, access: Access, check_mode: bool) -> list[str]:
        if check_mode:
            return []
        deadline = time.monotonic() + LOADED_SECONDS
        for look in count(1):
            missing = self._missing(access)
            if not missing and look > LOOKS:
                break
            if time.monotonic() > deadline:
                raise PlatformError(f"{missing} (after {LOADED_SECONDS:.0f} s)")
            if missing:
                events.progress(self.component, missing)
            touch(access.cluster, self.service.namespace or access.namespace)
            time.sleep(LOOK_SECONDS)
        return []

    def _missing(self, access: Access) -> str:
        """What Prometheus has not loaded yet; empty where it has all."""
        try:
            with asked(access, self.service) as prometheus:
                return self._unloaded(access, prometheus)
        except (NobodyReady, urllib3.exceptions.HTTPError) as error:
            return f"Prometheus does not answer: {access.trouble(self.service) or error}"

    def _unloaded(self, access: Access, prometheus: Prometheus) -> str:
        known = prometheus.rules()
        for item in applied(access.cluster, self.component, ["PrometheusRule"]):
            have = {(rule.group, rule.name) for rule in loaded(item, known)}
            if have != set(named(item)):
                return f"Prometheus has not loaded the rules of {self.component}"
        wanted = {
            pool for item in applied(access.cluster, self.component, observation.MONITORS) for pool in pools(item)
        }
        if not wanted <= prometheus.pools():
            return f"Prometheus has not loaded the monitors of {self.component}"
        return ""
