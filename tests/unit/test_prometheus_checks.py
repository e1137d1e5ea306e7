"""Targets, rules and alerts as checks judge them; Prometheus and the cluster say what a test has them say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.checks import alerts as alert_checks
from ansible_collections.mlops.platform.plugins.module_utils.checks import prometheus as checks
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import (
    Access,
    Check,
    CheckFailed,
    External,
    NotYet,
    Service,
)
from ansible_collections.mlops.platform.plugins.module_utils.checks.lasting import lasting
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster, Objects, Resource
from ansible_collections.mlops.platform.plugins.module_utils.configure import prometheus as steps
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards
from ansible_collections.mlops.platform.plugins.module_utils.prometheus import (
    Alert,
    PrometheusError,
    Rule,
    Sample,
    Target,
)

SERVICE = Service("prometheus", 9090, "monitoring")
WEB = {
    "kind": "PodMonitor",
    "metadata": {"namespace": "ml", "name": "web"},
    "spec": {"podMetricsEndpoints": [{"port": "a"}, {"port": "b"}]},
}
RULES = {
    "kind": "PrometheusRule",
    "metadata": {"namespace": "ml", "name": "web-monitoring", "uid": "u1"},
    "spec": {"groups": [{"name": "web", "rules": [{"alert": "WebDown"}, {"record": "mlops:web"}]}]},
}
FILE = "/etc/prometheus/rules/prometheus-platform-rulefiles-0/ml-web-monitoring-u1.yaml"


def target(number: int, health: str = "up", **labels: str) -> Target:
    own = {"component": "web", "instance": f"10.0.0.{number}:80", "job": "ml/web", **labels}
    return Target(own, f"http://10.0.0.{number}/metrics", f"podMonitor/ml/web/{number}", health, "refused", 1.0, 30.0)


def rule(name: str, health: str = "ok", evaluated: float = 1.0, file: str = FILE) -> Rule:
    error = "" if health == "ok" else "many-to-many"
    return Rule("web", file, name, "up", "alerting", health, error, {}, {}, "inactive", evaluated, ())


@dataclass
class Prometheus:
    """Says what it is given."""

    found: list[Target] = field(default_factory=list)
    known: list[Rule] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    firing: list[Alert] = field(default_factory=list)
    configured: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def targets(self) -> list[Target]:
        return self.found

    def rules(self) -> list[Rule]:
        return self.known

    def alerts(self) -> list[Alert]:
        return self.firing

    def pools(self) -> set[str]:
        return self.configured

    def query(self, expr: str) -> list[Sample]:
        self.asked.append(expr)
        return self.samples


@dataclass
class FakeCluster:
    """Has the objects that it is given, notes what is applied and which pods are touched."""

    objects: dict[str, Objects] = field(default_factory=dict)
    applied: Objects = field(default_factory=list)
    touched: int = 0

    def list(self, _: str, kind: str, namespace: str | None = None, selector: str = "") -> Objects:
        return self.objects.get(kind, [])

    def resource(self, api_version: str, kind: str) -> Resource:
        return Resource(api_version, kind, f"{kind.lower()}s", True)

    def list_metadata(self, *_: object) -> Objects:
        return [{"metadata": {"name": "prometheus-platform-0"}}]

    def request(self, method: str, path: str, **_: object) -> None:
        assert (method, path) == ("PATCH", "/api/v1/namespaces/monitoring/pods/prometheus-platform-0")
        self.touched += 1

    def apply(self, manifest: dict[str, Any]) -> None:
        self.applied.append(manifest)
        self.objects["PrometheusRule"] = [manifest]

    def delete(self, _: str, kind: str, name: str, namespace: str) -> None:
        self.objects[kind] = [item for item in self.objects[kind] if item["metadata"]["name"] != name]


@pytest.fixture
def prometheus(monkeypatch: pytest.MonkeyPatch) -> Prometheus:
    found = Prometheus()

    @contextmanager
    def asked(*_: object) -> Iterator[Prometheus]:
        yield found

    for module in (checks, steps, alert_checks):
        monkeypatch.setattr(module, "asked", asked)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    return found


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster({"PodMonitor": [WEB], "PrometheusRule": [RULES]})


@pytest.fixture
def access(cluster: FakeCluster) -> Access:
    forwards = Forwards(cast(Cluster, None))
    return Access(cast(Cluster, cluster), forwards, "monitoring", deadline=time.monotonic() + 60)


def failure(check: Check, access: Access) -> CheckFailed:
    with pytest.raises(CheckFailed) as caught:
        check.run(access)
    return caught.value


TARGETS = checks.PrometheusTargetsCheck("t", SERVICE, component="web")
EVALUATED = checks.PrometheusRulesCheck("r", SERVICE, component="web")


def test_all_targets_are_up(prometheus: Prometheus, access: Access) -> None:
    stranger = Target({}, "http://x/", "podMonitor/other/x/0", "down", "refused", 1.0, 30.0)
    prometheus.found = [target(0), target(1), stranger]
    assert TARGETS.run(access) == ("2 of 2 targets up", "all targets of web up")


def test_a_monitor_without_targets_is_waited_for(prometheus: Prometheus, access: Access) -> None:
    prometheus.found = [target(0)]
    error = failure(TARGETS, access)
    assert isinstance(error, NotYet)
    assert "PodMonitor ml/web has no targets (podMonitor/ml/web/1)" in str(error)


def test_a_monitor_whose_pods_may_be_gone_needs_none(
    prometheus: Prometheus, cluster: FakeCluster, access: Access
) -> None:
    models = {**WEB, "metadata": {"namespace": "models", "name": "m", "annotations": {checks.OPTIONAL: "optional"}}}
    cluster.objects["PodMonitor"] = [WEB, models]
    prometheus.found = [target(0), target(1)]
    assert TARGETS.run(access)[0] == "2 of 2 targets up"


def test_a_target_that_failed_once_may_be_late_and_one_that_failed_twice_is_down(
    prometheus: Prometheus, access: Access
) -> None:
    prometheus.found = [target(0), target(1, "down")]
    late = failure(TARGETS, access)
    assert isinstance(late, NotYet)
    assert not lasting(late)
    assert 'up{instance="10.0.0.1:80",job="ml/web"}[75s]' in prometheus.asked[0]
    prometheus.samples = [Sample({}, 0.0, 1.0)]
    down = failure(TARGETS, access)
    assert lasting(down)
    assert str(down) == "1 of 2 targets up: http://10.0.0.1/metrics: refused"


def test_a_target_that_was_not_scraped_yet_is_waited_for(prometheus: Prometheus, access: Access) -> None:
    prometheus.found = [target(0), target(1, "unknown")]
    assert not lasting(failure(TARGETS, access))
    assert prometheus.asked == []


def test_targets_say_whose_they_are(prometheus: Prometheus, access: Access) -> None:
    prometheus.found = [target(0, component=""), target(1, component="other")]
    assert "no target has the label component=web" in str(failure(TARGETS, access))


def test_rules_are_loaded_evaluated_and_healthy(prometheus: Prometheus, access: Access) -> None:
    prometheus.known = [rule("WebDown"), rule("mlops:web")]
    assert EVALUATED.run(access) == ("2 rules evaluated", "2 rules evaluated")


@pytest.mark.parametrize(
    ("known", "lasts", "words"),
    [
        ([], False, "2 rules are not loaded: WebDown of web, mlops:web of web"),
        ([rule("WebDown")], False, "1 rules are not loaded: mlops:web of web"),
        ([rule("WebDown"), rule("mlops:web", file="/x/ml-web-monitoring-old.yaml")], False, "not loaded"),
        ([rule("WebDown"), rule("mlops:web", "unknown", 0)], False, "mlops:web not evaluated yet"),
        ([rule("WebDown", "err"), rule("mlops:web")], False, "1 rules fail: WebDown: many-to-many"),
    ],
    ids=["none", "one", "of an older object", "not yet", "broken"],
)
def test_what_is_wrong_with_rules(
    prometheus: Prometheus, access: Access, known: list[Rule], lasts: bool, words: str
) -> None:
    prometheus.known = known
    error = failure(EVALUATED, access)
    assert lasting(error) is lasts
    assert words in str(error)


def test_a_component_without_rules_is_not_watched(cluster: FakeCluster, prometheus: Prometheus, access: Access) -> None:
    cluster.objects["PrometheusRule"] = []
    assert "web has no rules in the cluster" in str(failure(EVALUATED, access))


def test_samples_must_be_of_now(prometheus: Prometheus, access: Access) -> None:
    check = checks.PrometheusQueryCheck("q", SERVICE, query="up", fresh_seconds=60)
    assert isinstance(failure(check, access), NotYet)
    prometheus.samples = [Sample({}, 1000.0, 1500.0)]
    assert "nothing is scraped any more" in str(failure(check, access))
    prometheus.samples.append(Sample({}, 1495.0, 1500.0))
    assert check.run(access)[0] == "2 series, the newest sample 5 s old"
    assert prometheus.asked[0] == "timestamp(up)"


def test_prometheus_is_told_to_look_until_it_has_loaded_everything(
    prometheus: Prometheus, cluster: FakeCluster, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_: float) -> None:
        if prometheus.known:
            prometheus.configured = {"podMonitor/ml/web/0", "podMonitor/ml/web/1"}
        prometheus.known = [rule("WebDown"), rule("mlops:web")]

    monkeypatch.setattr(time, "sleep", load)
    step = steps.PrometheusStep(SERVICE, component="web-monitoring")
    assert step.apply(access, check_mode=True) == []
    assert cluster.touched == 0
    assert step.apply(access, check_mode=False) == []
    assert cluster.touched == steps.LOOKS
    assert step.apply(access, check_mode=False) == []
    assert cluster.touched == 2 * steps.LOOKS, "what changed under its name is looked at, too"


def test_what_is_never_loaded_is_named(prometheus: Prometheus, access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "LOADED_SECONDS", -1.0)
    step = steps.PrometheusStep(SERVICE, component="web-monitoring")
    with pytest.raises(PlatformError, match="has not loaded the rules of web-monitoring"):
        step.apply(access, check_mode=False)


class Alertmanager:
    """Lists what it was sent, as long as it has not ended, and what Prometheus fires."""

    def __init__(self, prometheus: Prometheus, *, deaf: bool = False, stubborn: bool = False) -> None:
        self.prometheus, self.deaf, self.stubborn = prometheus, deaf, stubborn
        self.sent: dict[str, float] = {}

    @contextmanager
    def at(self, url: str) -> Iterator[Alertmanager]:
        yield self

    def send(self, labels: dict[str, str], annotations: dict[str, str], *, ends_in: float) -> None:
        assert labels["probe"] == "true"
        if not (self.stubborn and ends_in < 0):
            self.sent[labels["alertname"]] = ends_in

    def names(self, **labels: str) -> list[str]:
        listed = [name for name, ends_in in self.sent.items() if ends_in > 0 and not self.deaf]
        return [*listed, *(alert.name for alert in self.prometheus.firing if not self.deaf)]


TAKEN = alert_checks.AlertmanagerAlertCheck("a", External("http://alertmanager", "nowhere"))


def test_an_alert_is_taken_and_ends(prometheus: Prometheus, access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_checks, "Alertmanager", Alertmanager(prometheus))
    assert TAKEN.run(access)[0] == "listed, then ended"


@pytest.mark.parametrize(
    ("fault", "lasts", "words"),
    [({"deaf": True}, False, "does not list it"), ({"stubborn": True}, True, "lists an alert that has ended")],
)
def test_an_alertmanager_that_loses_or_keeps_alerts_is_seen(
    prometheus: Prometheus,
    access: Access,
    monkeypatch: pytest.MonkeyPatch,
    fault: dict[str, bool],
    lasts: bool,
    words: str,
) -> None:
    monkeypatch.setattr(alert_checks, "Alertmanager", Alertmanager(prometheus, **fault))
    error = failure(TAKEN, access)
    assert words in str(error)
    assert lasting(error) is lasts


FIRES = alert_checks.AlertFiresCheck("f", SERVICE, alertmanager={"name": "alertmanager", "port": 9093})


@pytest.fixture
def evaluating(prometheus: Prometheus, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> Alertmanager:
    """A Prometheus that evaluates the newest rule whenever somebody waits, beside an Alertmanager."""

    def evaluate(_: float) -> None:
        newest = cluster.applied[-1]["spec"]["groups"][0]["rules"][0]
        alert = Alert({**newest["labels"], "alertname": newest["alert"]}, {}, "firing", 1.0, 1.0)
        prometheus.firing = [alert] if newest["expr"] == "vector(1)" else []

    monkeypatch.setattr(time, "sleep", evaluate)
    monkeypatch.setattr(Access, "url", lambda *_: "http://nowhere")
    found = Alertmanager(prometheus)
    monkeypatch.setattr(alert_checks, "Alertmanager", found)
    return found


def test_a_rule_fires_arrives_and_resolves_and_is_removed(
    evaluating: Alertmanager, cluster: FakeCluster, access: Access
) -> None:
    cluster.objects["PrometheusRule"] = []
    observed, _ = FIRES.run(access)
    assert str(observed).startswith("fired after")
    fired, ended = cluster.applied
    assert fired["metadata"] == ended["metadata"]
    assert fired["metadata"]["labels"]["app.kubernetes.io/part-of"] == "mlops-platform"
    assert cluster.objects["PrometheusRule"] == []


def test_an_alert_that_does_not_arrive_is_named_and_its_rule_removed(
    evaluating: Alertmanager, cluster: FakeCluster, access: Access
) -> None:
    evaluating.deaf = True
    cluster.objects["PrometheusRule"] = []
    hurried = Access(access.cluster, access.forwards, "monitoring", deadline=time.monotonic() + 3)
    assert "the alert reaches no Alertmanager" in str(failure(FIRES, hurried))
    assert cluster.objects["PrometheusRule"] == []


def test_refusals_last_and_overload_does_not() -> None:
    assert lasting(PrometheusError("bad_data", 400))
    assert not lasting(PrometheusError("timeout", 503))


def test_a_login_in_the_url_of_a_prometheus_is_sent_and_not_shown(access: Access) -> None:
    endpoint = External("https://me:secret@prometheus.example.org/prefix", "platform_prometheus_url")
    assert access.url(endpoint) == "https://me:secret@prometheus.example.org/prefix"
    check = checks.PrometheusTargetsCheck("t", endpoint, component="web")
    assert check.target == "https://prometheus.example.org/prefix, web"
