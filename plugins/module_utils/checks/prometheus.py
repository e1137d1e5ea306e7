# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus: what it scrapes is up, its rules are evaluated, and it answers by samples of now."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from ansible_collections.mlops.platform.plugins.module_utils import observation
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import (
    Access,
    Check,
    CheckFailed,
    Endpoint,
    NotYet,
)
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster, Object
from ansible_collections.mlops.platform.plugins.module_utils.manifests import COMPONENT_LABEL, title
from ansible_collections.mlops.platform.plugins.module_utils.prometheus import Prometheus, Rule, Target

SUFFIX = "-monitoring"
"""What the name of a component's observation ends with: `__component_observation` of the role component."""
OPTIONAL = "mlops.platform/targets"
"""The annotation of a monitor that may have no targets, as models that went to zero: its value is `optional`."""
LASTING_SECONDS = 75
"""Two scrapes of half a minute and a bit: a target that failed as long is down, one that failed once may be late."""
NAMED = 3
"""Targets and rules that a message names."""

TOUCHED = "mlops.platform/touched"
PODS = "app.kubernetes.io/name=prometheus,app.kubernetes.io/managed-by=prometheus-operator"
"""How the operator labels the pods of a Prometheus."""


@contextmanager
def asked(access: Access, service: Endpoint) -> Iterator[Prometheus]:
    """The Prometheus at `service`."""
    with Prometheus.at(access.url(service), access.ca_file) as found:
        yield found


@dataclass(frozen=True)
class PrometheusQueryCheck(Check):
    """PromQL `query` gives at least one sample, and the newest was scraped at most `fresh_seconds` ago."""

    query: str = "up"
    fresh_seconds: float = 120

    def run(self, access: Access) -> tuple[object, object]:
        with asked(access, self.service) as prometheus:
            # The time of a sample in an answer is that of the question, by Prometheus's own clock; timestamp() tells
            # when it was scraped.
            ages = [sample.time - sample.value for sample in prometheus.query(f"timestamp({self.query})")]
        expected = f"a sample of the last {self.fresh_seconds:.0f} s"
        if not ages:
            raise NotYet(f"{self.query} has no samples", "no samples", expected)
        age = min(ages)
        if age > self.fresh_seconds:
            said = f"the newest sample of {self.query} is {age:.0f} s old: nothing is scraped any more"
            raise CheckFailed(said, f"{age:.0f} s old", expected)
        return f"{len(ages)} series, the newest sample {age:.0f} s old", expected


@dataclass(frozen=True)
class _Observed(Check):
    """What is known of a `component` whose observation was applied: there is nothing to ask before that."""

    component: str = ""
    beforehand = False

    @property
    def target(self) -> str:
        return f"{self.service}, {self.component}"

    @property
    def observation(self) -> str:
        """The name under which what watches the component was applied."""
        return f"{self.component}{SUFFIX}"


def applied(cluster: Cluster, name: str, kinds: Sequence[str]) -> list[Object]:
    """The objects of some kinds of an observation, with the type fields that a list leaves out."""
    selector = f"{COMPONENT_LABEL}={name}"
    return [{**item, "kind": kind} for kind in kinds for item in cluster.list(observation.API, kind, None, selector)]


@dataclass(frozen=True)
class PrometheusTargetsCheck(_Observed):
    """All targets of the monitors of `component` are up, each monitor has at least one, and one says whose it is."""

    def run(self, access: Access) -> tuple[object, object]:
        monitors = applied(access.cluster, self.observation, observation.MONITORS)
        wanted = {pool: monitor for monitor in monitors for pool in pools(monitor)}
        with asked(access, self.service) as prometheus:
            found = [item for item in prometheus.targets() if item.pool in wanted]
            bad = [item for item in found if item.health != "up"]
            lasts = any(prometheus.query(lasting_failure(item)) for item in bad if item.health == "down")
        expected = f"all targets of {self.component} up"
        observed = f"{len(found) - len(bad)} of {len(found)} targets up"
        for pool in sorted(wanted.keys() - {item.pool for item in found}):
            if (wanted[pool]["metadata"].get("annotations") or {}).get(OPTIONAL) != "optional":
                raise NotYet(f"{title(wanted[pool])} has no targets ({pool})", "no targets", expected)
        if bad:
            told = [f"{item.url}: {item.error or item.health}" for item in bad[:NAMED]]
            more = [f"{len(bad) - NAMED} more"] if len(bad) > NAMED else []
            raise (CheckFailed if lasts else NotYet)(f"{observed}: {'; '.join(told + more)}", observed, expected)
        if not any(item.labels.get("component") == self.component for item in found):
            raise NotYet(f"no target has the label component={self.component}", observed, expected)
        return observed, expected


def lasting_failure(target: Target) -> str:
    """The PromQL that has a sample where a target failed more than once, and nothing else, of late."""
    labels = ",".join(f"{name}={json.dumps(target.labels[name])}" for name in ("instance", "job"))
    up = f"up{{{labels}}}[{LASTING_SECONDS}s]"
    return f"max_over_time({up}) == 0 and count_over_time({up}) > 1"


def pools(monitor: Object) -> list[str]:
    """What Prometheus calls the targets of a monitor, one name an endpoint: so its operator writes them."""
    kind, metadata, spec = monitor["kind"], monitor["metadata"], monitor["spec"]
    endpoints = spec.get("endpoints" if kind == "ServiceMonitor" else "podMetricsEndpoints") or []
    begin = f"{kind[0].lower()}{kind[1:]}/{metadata['namespace']}/{metadata['name']}"
    return [f"{begin}/{number}" for number in range(len(endpoints))]


@dataclass(frozen=True)
class PrometheusRulesCheck(_Observed):
    """The rules of `component` are loaded as they were applied, evaluated, and healthy."""

    def run(self, access: Access) -> tuple[object, object]:
        objects = applied(access.cluster, self.observation, ["PrometheusRule"])
        with asked(access, self.service) as prometheus:
            known = prometheus.rules()
        rules = [rule for item in objects for rule in loaded(item, known)]
        wanted = [name for item in objects for name in named(item)]
        expected = f"{len(wanted)} rules evaluated"
        if not wanted:
            raise CheckFailed(f"{self.component} has no rules in the cluster", "no rules", "rules")
        if missing := [name for name in wanted if name not in {(rule.group, rule.name) for rule in rules}]:
            told = ", ".join(f"{name} of {group}" for group, name in missing[:NAMED])
            raise NotYet(f"{len(missing)} rules are not loaded: {told}", f"{len(rules)} rules loaded", expected)
        if broken := [rule for rule in rules if rule.health == "err"]:
            told = "; ".join(f"{rule.name}: {rule.error}" for rule in broken[:NAMED])
            # What was replaced may be there twice until the next evaluation.
            raise NotYet(f"{len(broken)} rules fail: {told}", f"{len(broken)} rules fail", expected)
        if late := [rule.name for rule in rules if not rule.evaluated]:
            raise NotYet(f"{', '.join(late[:NAMED])} not evaluated yet", f"{len(late)} not evaluated", expected)
        return f"{len(rules)} rules evaluated", expected


def named(rule_object: Object) -> list[tuple[str, str]]:
    """Group and name of each rule of a PrometheusRule."""
    return [
        (group["name"], rule.get("alert") or rule["record"])
        for group in rule_object["spec"]["groups"]
        for rule in group["rules"]
    ]


def loaded(rule_object: Object, known: Sequence[Rule]) -> list[Rule]:
    """The rules that are loaded from a PrometheusRule: the operator names files by namespace, name and uid."""
    metadata = rule_object["metadata"]
    file = f"/{metadata['namespace']}-{metadata['name']}-{metadata['uid']}.yaml"
    return [rule for rule in known if rule.file.endswith(file)]


def touch(cluster: Cluster, namespace: str) -> None:
    """Have the kubelets look at the pods of the Prometheus in a namespace now, and at what these mount."""
    now = {"metadata": {"annotations": {TOUCHED: datetime.now(UTC).isoformat()}}}
    for pod in cluster.list_metadata(cluster.resource("v1", "Pod"), namespace, PODS):
        path = cluster.resource("v1", "Pod").path(namespace, pod["metadata"]["name"])
        try:
            cluster.request("PATCH", path, body=now, content_type="application/merge-patch+json")
        except ApiError as error:
            if error.status != 404:  # 404: it went since
                raise
