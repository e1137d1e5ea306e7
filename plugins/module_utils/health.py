# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validate a component: its rollouts first, then all its checks side by side, until one deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils import certificates, events
from ansible_collections.mlops.platform.plugins.module_utils.checks import CHECKS
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import (
    Access,
    Check,
    CheckFailed,
    External,
    Service,
    parse_typed,
)
from ansible_collections.mlops.platform.plugins.module_utils.checks.external import explain
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster
from ansible_collections.mlops.platform.plugins.module_utils.compare import Memory
from ansible_collections.mlops.platform.plugins.module_utils.component import Component
from ansible_collections.mlops.platform.plugins.module_utils.engine import load_memory
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards
from ansible_collections.mlops.platform.plugins.module_utils.generated_secrets import complete
from ansible_collections.mlops.platform.plugins.module_utils.manifests import Manifest
from ansible_collections.mlops.platform.plugins.module_utils.waiting import (
    AWAITED_KINDS,
    NotReady,
    Progress,
    wait_ready,
)

SIDE_BY_SIDE = 4
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 2.0
EXTERNAL_SECONDS = 5.0


def parse_checks(component: Component) -> list[Check]:
    """The typed checks of a component. Raises PlatformError naming the check and what is wrong with it."""
    return [
        parse_typed(raw, CHECKS, f"component_spec of {component.name}: check {raw.get('name', '(without a name)')!r}")
        for raw in component.checks
    ]


def validate(
    cluster: Cluster, component: Component, timeout: float, progress: Progress, authorities: str = ""
) -> list[dict[str, Any]]:
    """Run the rollout check and then all others; each outcome is a mapping as the report has them.

    `timeout` (seconds) bounds the checks; the rollout has the component's own. `authorities` are certificates (PEM)
    that clients trust besides the public ones. An API that cannot be reached raises ApiError: nothing was found out
    then.
    """
    checks = parse_checks(component)
    rollout = _rollout(cluster, component, progress)
    tried = [check for check in checks if rollout["healthy"] or isinstance(check.service, External)]
    outcomes = {
        outcome["name"]: outcome for outcome in _run(cluster, component, tried, timeout, authorities, "validate")
    }
    late = "not tried: the rollout is not complete"
    return [rollout, *(outcomes.get(check.name) or _outcome(check, late, attempts=0) for check in checks)]


def prove_external(cluster: Cluster, component: Component, authorities: str) -> None:
    """See that what is not the platform's own does what the component needs of it, before anything is touched.

    Raises PlatformError with the first cause of each endpoint, which names the variable to look at.
    """
    checks = {check.name: check for check in parse_checks(component) if isinstance(check.service, External)}
    causes: dict[str, str] = {}
    for outcome in _run(cluster, component, list(checks.values()), EXTERNAL_SECONDS, authorities, "preflight"):
        if not outcome["healthy"]:
            causes.setdefault(str(checks[outcome["name"]].service), f"{outcome['name']}: {outcome['message']}")
    if causes:
        raise PlatformError(
            f"{component.name} was not touched: {'; '.join(causes.values())}",
            next_step="Correct the variables that are named and run the same verb again; nothing was changed.",
        )


def _run(
    cluster: Cluster,
    component: Component,
    checks: Sequence[Check],
    timeout: float,
    authorities: str,
    phase: events.Phase,
) -> list[dict[str, Any]]:
    """The outcomes of checks that run side by side until `timeout` seconds have passed; `phase` is for events."""
    if not checks:
        return []
    deadline = time.monotonic() + timeout
    tried = count(1)
    with (
        events.phase(component.name, phase, of=len(checks)) as running,
        Forwards(cluster) as forwards,
        certificates.trusted(authorities) as ca_file,
        ThreadPoolExecutor(SIDE_BY_SIDE) as pool,
    ):
        declared = {secret.name: complete(secret, {}) for secret in component.secrets if not secret.generate}
        access = Access(cluster, forwards, component.namespace, ca_file, declared)

        def outcome(check: Check) -> dict[str, Any]:
            found = attempt(check, access, deadline)
            events.progress(
                component.name, f"{check.name}: {found['message'] or 'healthy'}", done=next(tried), of=len(checks)
            )
            return found

        outcomes = list(pool.map(outcome, checks))
        bad = [f"{item['name']}: {item['message']}" for item in outcomes if not item["healthy"]]
        running.message = "; ".join([f"{len(checks) - len(bad)} of {len(checks)} checks healthy", *bad[:1]])
        running.failed = bool(bad)
        return outcomes


def attempt(
    check: Check, access: Access, deadline: float, sleep: Callable[[float], None] = time.sleep
) -> dict[str, Any]:
    """Run a check until it is healthy or the deadline (of the monotonic clock) passes."""
    started, attempts, pause = time.monotonic(), 0, FIRST_PAUSE_SECONDS
    while True:
        attempts += 1
        observed: object = None
        expected: object = None
        try:
            observed, expected = check.run(access)
            message = ""
        except CheckFailed as failure:
            observed, expected, message = failure.observed, failure.expected, str(failure)
        except Exception as error:  # noqa: BLE001  (whatever a client library raises is an outcome of the check)
            plain = f"{type(error).__name__}: {error}".strip()
            message = explain(check.service, error) if isinstance(check.service, External) else plain
        late = time.monotonic() + pause > deadline
        if not message or late:
            return _outcome(check, message, attempts, observed, expected, time.monotonic() - started)
        sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _outcome(
    check: Check,
    message: str,
    attempts: int,
    observed: object = None,
    expected: object = None,
    seconds: float = 0.0,
) -> dict[str, Any]:
    kind = next(name for name, cls in CHECKS.items() if type(check) is cls)
    return {
        "name": check.name,
        "type": kind,
        "target": check.target,
        "healthy": attempts > 0 and not message,
        "observed": observed,
        "expected": expected,
        "message": message,
        "attempts": attempts,
        "duration_seconds": round(seconds, 3),
    }


def _rollout(cluster: Cluster, component: Component, progress: Progress) -> dict[str, Any]:
    """The outcome of waiting for all workloads that the component applied."""
    started = time.monotonic()
    memory = load_memory(cluster, component)
    if memory:
        try:
            awaited = applied_workloads(cluster, memory)
            states: Sequence[Any] = wait_ready(cluster, awaited, component.name, component.timeout_seconds, progress)
            message = ""
        except NotReady as error:
            states, message = error.states, str(error)
    else:
        states, message = [], f"{component.name} has not been provisioned in namespace {component.namespace}"
    return {
        "name": "rollout",
        "type": "rollout",
        "target": ", ".join(state.target for state in states),
        "healthy": not message,
        "observed": {state.target: state.message for state in states},
        "expected": "all ready",
        "message": message,
        "attempts": 1,
        "duration_seconds": round(time.monotonic() - started, 3),
    }


def applied_workloads(cluster: Cluster, memory: Memory) -> list[Manifest]:
    """The objects to wait for among those that were applied, as far as their identity goes."""
    versions = {(api.rpartition("/")[0], kind): api for api, kind in cluster.resources}
    found: list[Manifest] = []
    for key in memory:
        group, kind, namespace, name = key.rsplit("/", 3)
        if kind in AWAITED_KINDS and (group, kind) in versions:
            metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
            found.append({"apiVersion": versions[(group, kind)], "kind": kind, "metadata": metadata})
    return found


def access_lines(cluster: Cluster, component: Component) -> list[str]:
    """How people reach the component and where its credentials are, one line each; never a credential."""
    lines: list[str] = []
    for raw in component.access:
        service = Service.parse(raw.get("service"), f"component_spec of {component.name}: access")
        namespace = service.namespace or component.namespace
        found = cluster.get("v1", "Service", service.name, namespace)
        ports = (found or {}).get("spec", {}).get("ports", [])
        node_port = next((item.get("nodePort") for item in ports if item["port"] == service.port), None)
        if node_port:
            url = f"{raw.get('scheme', 'http')}://{node_address(cluster)}:{node_port}"
        else:
            url = f"kubectl -n {namespace} port-forward service/{service.name} {service.port}"
        secret = raw.get("secret")
        lines.append(f"{raw['name']}: {url}" + (f"  (login: Secret {namespace}/{secret})" if secret else ""))
    return lines


def node_address(cluster: Cluster) -> str:
    """The internal address of a node, at which its node ports answer."""
    for node in cluster.list("v1", "Node"):
        for address in node["status"]["addresses"]:
            if address["type"] == "InternalIP":
                return str(address["address"])
    raise PlatformError("the cluster has no node with an internal address")


def evidence(cluster: Cluster, component: Component) -> dict[str, Any]:
    """What helps to find the cause: warnings of the last events, and the last lines of pods that are not ready.

    Secrets are never read.
    """
    found: dict[str, Any] = {"events": [], "logs": {}}
    try:
        pods = cluster.list("v1", "Pod", component.namespace, f"mlops.platform/component={component.name}")
        names = {pod["metadata"]["name"] for pod in pods}
        for event in cluster.list("v1", "Event", component.namespace):
            about = event["involvedObject"]
            if event.get("type") == "Warning" and (about["name"] in names or about["name"].startswith(component.name)):
                found["events"].append(
                    f"{about['kind']} {about['name']}: {event.get('reason')}: {event.get('message')}"
                )
        for pod in pods:
            for container in _unready(pod):
                lines = _last_lines(cluster, pod, container["name"], previous=container.get("restartCount", 0) > 0)
                found["logs"][f"{pod['metadata']['name']}/{container['name']}"] = lines
    except ApiError as error:
        found["events"].append(str(error))
    found["events"] = found["events"][-10:]
    return found


def _unready(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    status = pod.get("status") or {}
    statuses = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    unready = [item for item in statuses if not item.get("ready")]
    return [item for item in unready if (item.get("state") or {}).get("terminated", {}).get("exitCode") != 0]


def _last_lines(cluster: Cluster, pod: Mapping[str, Any], container: str, previous: bool) -> list[str]:
    path = cluster.resource("v1", "Pod").path(pod["metadata"]["namespace"], pod["metadata"]["name"])
    query = {"container": container, "tailLines": 15, "previous": str(previous).lower()}
    try:
        return str(cluster.request("GET", f"{path}/log", query=query)).splitlines()
    except ApiError as error:
        return [str(error)]
