# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alerts: Alertmanager takes one and lets it end, and one of a rule gets from Prometheus to Alertmanager and back."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils import observation
from ansible_collections.mlops.platform.plugins.module_utils.alertmanager import Alertmanager
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import (
    PROBE_LABEL,
    Access,
    Check,
    CheckFailed,
    NotYet,
    Service,
    abandoned,
)
from ansible_collections.mlops.platform.plugins.module_utils.checks.prometheus import asked, touch
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Object

LABELS = {"probe": "true", "severity": "info", "component": "monitoring"}
"""Those of alerts that checks make: Alertmanager's first route sends `probe` to nobody."""
ANNOTATIONS = {"summary": "A check of the platform tries whether alerts get through"}
LISTED_SECONDS = 300
"""How long an alert of a check lasts that is killed before it ends it."""
LOOK_SECONDS = 1.0
"""How often is looked: there is nothing to watch."""


@dataclass(frozen=True)
class AlertmanagerAlertCheck(Check):
    """An alert that is sent to Alertmanager is listed, and is listed no more once it has ended."""

    def run(self, access: Access) -> tuple[object, object]:
        name = f"PlatformProbe{secrets.token_hex(4)}"
        labels = {**LABELS, "alertname": name}
        with Alertmanager.at(access.url(self.service)) as alertmanager:
            alertmanager.send(labels, ANNOTATIONS, ends_in=LISTED_SECONDS)
            listed = alertmanager.names(alertname=name)
            alertmanager.send(labels, ANNOTATIONS, ends_in=-30)
            left = alertmanager.names(alertname=name)
        expected = "listed, then ended"
        if listed != [name]:
            raise NotYet("Alertmanager took an alert and does not list it", "not listed", expected)
        if left:
            raise CheckFailed("Alertmanager lists an alert that has ended", "listed, not ended", expected)
        return expected, expected


@dataclass(frozen=True)
class AlertFiresCheck(Check):
    """A rule that becomes true fires in the Prometheus `service` and reaches `alertmanager`, and resolves when it ends.

    The rule is a PrometheusRule of the check's own, in the namespace of the service, and is removed again.
    """

    service: Service
    alertmanager: Service | dict[str, Any] = field(default_factory=dict)

    def run(self, access: Access) -> tuple[object, object]:
        expected = "fired and resolved"
        name = f"probe-{secrets.token_hex(4)}"
        space = self.service.namespace or access.namespace
        behind = Service.parse(self.alertmanager, f"check {self.name}: alertmanager")
        self._remove(access, space, abandoned)
        started = time.monotonic()
        with asked(access, self.service) as prometheus, Alertmanager.at(access.url(behind)) as alertmanager:

            def until(done: Callable[[], bool], missing: str) -> float:
                """Wait for something; returns the seconds since the begin."""
                while not done():
                    if time.monotonic() + LOOK_SECONDS > access.deadline:
                        raise CheckFailed(missing, missing, expected)
                    touch(access.cluster, space)
                    time.sleep(LOOK_SECONDS)
                return time.monotonic() - started

            try:
                access.cluster.apply(_rule(name, space, "vector(1)"))
                until(lambda: _firing(prometheus.alerts(), name), "Prometheus does not fire the rule")
                fired = until(lambda: name in alertmanager.names(alertname=name), "the alert reaches no Alertmanager")
                access.cluster.apply(_rule(name, space, "vector(1) < 0"))
                ended = until(lambda: name not in alertmanager.names(alertname=name), "the alert does not resolve")
            finally:
                self._remove(access, space, lambda item: item["metadata"]["name"] == name)
        return f"fired after {fired:.0f} s, resolved after {ended:.0f} s", expected

    def _remove(self, access: Access, space: str, chosen: Callable[[Object], bool]) -> None:
        for item in access.cluster.list(observation.API, "PrometheusRule", space, PROBE_LABEL):
            if chosen(item):
                access.cluster.delete(observation.API, "PrometheusRule", item["metadata"]["name"], space)


def _firing(alerts: list[Any], name: str) -> bool:
    return any(alert.name == name and alert.state == "firing" for alert in alerts)


def _rule(name: str, namespace: str, expr: str) -> Object:
    rule = {"alert": name, "expr": expr, "labels": LABELS, "annotations": ANNOTATIONS}
    labels = {"app.kubernetes.io/part-of": "mlops-platform", PROBE_LABEL: "true"}
    return {
        "apiVersion": observation.API,
        "kind": "PrometheusRule",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"groups": [{"name": name, "interval": "5s", "rules": [rule]}]},
    }
