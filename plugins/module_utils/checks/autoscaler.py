# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A HorizontalPodAutoscaler that has what it needs to do its work."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access, Check, CheckFailed, Service
from ansible_collections.mlops.platform.plugins.module_utils.rollout import conditions

FIRST_METRICS = timedelta(minutes=2)
"""How long metrics of new pods may take: the autoscaler's sync (15 s), metrics-server's resolution, two samples."""


@dataclass(frozen=True)
class AutoscalerCheck(Check):
    """The HorizontalPodAutoscaler of the Service's name finds what it scales and knows the use of its pods."""

    def run(self, access: Access) -> tuple[object, object]:
        assert isinstance(self.service, Service)
        namespace = self.service.namespace or access.namespace
        found = access.cluster.get("autoscaling/v2", "HorizontalPodAutoscaler", self.service.name, namespace)
        if found is None:
            raise CheckFailed(f"HorizontalPodAutoscaler {namespace}/{self.service.name} does not exist", None, "exists")
        made = datetime.fromisoformat(found["metadata"]["creationTimestamp"])
        known = conditions(found)
        able, active = known.get("AbleToScale", {}), known.get("ScalingActive", {})
        for condition in (able, active):
            young = datetime.now(UTC) - made < FIRST_METRICS and condition.get("reason") == "FailedGetResourceMetric"
            if condition.get("status") == "False" and not young:
                raise CheckFailed(f"{condition.get('reason')}: {condition.get('message')}", condition["type"], "True")
        status = found.get("status") or {}
        said = "knows the use of its pods" if active.get("status") == "True" else "waits for the first metrics"
        spec = found["spec"]
        return f"{status.get('currentReplicas', 0)} pods, {said}", f"{spec['minReplicas']} to {spec['maxReplicas']}"
