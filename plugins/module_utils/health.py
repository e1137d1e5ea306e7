# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validate a component: its rollouts first, then its checks side by side, until one deadline; full checks last."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils import certificates, events, gateway
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
from ansible_collections.mlops.platform.plugins.module_utils.checks.lasting import lasting
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster, container_statuses
from ansible_collections.mlops.platform.plugins.module_utils.compare import Memory, mark
from ansible_collections.mlops.platform.plugins.module_utils.component import Component
from ansible_collections.mlops.platform.plugins.module_utils.engine import live, load_memory, pods_of
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards
from ansible_collections.mlops.platform.plugins.module_utils.generated_secrets import complete
from ansible_collections.mlops.platform.plugins.module_utils.manifests import Manifest, identity, title
from ansible_collections.mlops.platform.plugins.module_utils.usage import usage
from ansible_collections.mlops.platform.plugins.module_utils.waiting import (
    AWAITED_KINDS,
    NotReady,
    Progress,
    complaint,
    event_time,
    wait_ready,
)

SIDE_BY_SIDE = 4
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 2.0
SETTLED_SECONDS = 5.0
"""How long a service must refuse until it is believed: what was just configured may need so long to be known."""
EXTERNAL_SECONDS = 5.0
EXTERNAL_NEXT_STEP = "Correct the variable that is named, or the service that it names, and run the same verb again."
SAID_ALREADY = 40
"""Characters at the end of a server's complaint by which it is known again in what its client says."""
FULL_SECONDS = 180.0
"""The time that the full checks of a component have, side by side."""
LOG_SECONDS = 60
"""How old a line of a log may be to be about what a check saw."""


def parse_checks(component: Component) -> list[Check]:
    """The typed checks of a component. Raises PlatformError naming the check and what is wrong with it."""
    return [
        parse_typed(raw, CHECKS, f"component_spec of {component.name}: check {raw.get('name', '(without a name)')!r}")
        for raw in component.checks
    ]


def validate(
    cluster: Cluster, component: Component, timeout: float, progress: Progress, authorities: str = ""
) -> list[dict[str, Any]]:
    """Run premises, the rollout check and then all other quick ones; each outcome is a mapping as the report has them.

    `timeout` (seconds) bounds the checks; the rollout has the component's own. `authorities` are certificates (PEM)
    that clients trust besides the public ones. An API that cannot be reached raises ApiError: nothing was found out
    then.
    """
    checks = [check for check in parse_checks(component) if not check.full]
    premises = [check for check in checks if check.premise]
    first = _run(cluster, component, premises, timeout, authorities, "validate")
    # Pods that lack what they need do not become ready: they are looked at, but not waited for.
    patience = component.timeout_seconds if all(outcome["healthy"] for outcome in first) else 0
    rollout = _rollout(cluster, component, patience, progress)
    ready = [check for check in checks if rollout["healthy"] or isinstance(check.service, External)]
    tried = [check for check in ready if not check.premise]
    found = [*first, *_run(cluster, component, tried, timeout, authorities, "validate")]
    outcomes = {outcome["name"]: outcome for outcome in found}
    if rollout["healthy"] and not all(outcome["healthy"] for outcome in found):
        rollout = _rollout(cluster, component, 0, progress)  # pods may have ended under the checks
    late = "not tried: the rollout is not complete"
    return [rollout, *(outcomes.get(check.name) or _outcome(check, late, attempts=0) for check in checks)]


def validate_fully(cluster: Cluster, component: Component, authorities: str = "") -> list[dict[str, Any]]:
    """The outcomes of the full checks of a component whose quick ones are healthy; parameters are those of validate."""
    checks = [check for check in parse_checks(component) if check.full]
    return _run(cluster, component, checks, FULL_SECONDS, authorities, "validate")


def verdict(cluster: Cluster, component: Component, checks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What checks found, as the result of a task: with the first cause and its evidence where one failed."""
    failed = [check for check in checks if not check["healthy"]]
    found: dict[str, Any] = {
        "healthy": not failed,
        "checks": list(checks),
        "failed_checks": [check["name"] for check in failed],
        **usage(cluster, component.name, component.spaces),
    }
    if failed:
        first = failed[0]
        found |= {"failed": True, "evidence": evidence(cluster, component)}
        found["msg"] = f"{component.name} is unhealthy: {first['name']}: {first['message']}"
        if first["name"] in external(parse_checks(component)):
            found["next_step"] = EXTERNAL_NEXT_STEP
    return found


def external(checks: Sequence[Check]) -> dict[str, External]:
    """The endpoints that are not the platform's own, by the names of the checks that prove them."""
    return {check.name: check.service for check in checks if isinstance(check.service, External)}


def prove_external(cluster: Cluster, component: Component, authorities: str) -> None:
    """See that what is not the platform's own does what the component needs of it, before anything is touched.

    Raises PlatformError with the first cause of each endpoint, which names the variable to look at.
    """
    checks = parse_checks(component)
    endpoints = external(checks)
    tried = [check for check in checks if check.name in endpoints and check.beforehand]
    causes: dict[External, str] = {}
    for outcome in _run(cluster, component, tried, EXTERNAL_SECONDS, authorities, "preflight"):
        if not outcome["healthy"]:
            causes.setdefault(endpoints[outcome["name"]], f"{outcome['name']}: {outcome['message']}")
    if causes:
        raise PlatformError(
            f"{component.name} was not touched: {'; '.join(causes.values())}", next_step=EXTERNAL_NEXT_STEP
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
        declared = {
            f"{secret.namespace}/{secret.name}": complete(secret, {})
            for secret in component.secrets
            if not secret.generate
        }
        access = Access(cluster, forwards, component.namespace, ca_file, declared, deadline)

        def outcome(check: Check) -> dict[str, Any]:
            found = attempt(check, access, deadline)
            seen = found["observed"]
            if not found["healthy"] and (seen is None or (isinstance(seen, int) and seen >= 500)):
                said = _server_says(cluster, component, check)
                found["message"] += "" if said[-SAID_ALREADY:] in found["message"] else f"; {said}"
            events.progress(
                component.name, f"{check.name}: {found['message'] or 'healthy'}", done=next(tried), of=len(checks)
            )
            return found

        outcomes = list(pool.map(outcome, checks))
        bad = [f"{item['name']}: {item['message']}" for item in outcomes if not item["healthy"]]
        running.message = "; ".join([f"{len(checks) - len(bad)} of {len(checks)} checks healthy", *bad[:1]])
        running.failed = bool(bad)
        return outcomes


def _server_says(cluster: Cluster, component: Component, check: Check) -> str:
    """The last complaint in the log of a component of the cluster that could not do its work, where there is one."""
    if isinstance(check.service, External):
        return ""
    for pod in pods_of(cluster, component):
        if pod["status"].get("phase") == "Running":
            for container in pod["spec"]["containers"]:
                if said := complaint(cluster.last_lines(pod, container["name"], since=LOG_SECONDS)):
                    return f"{pod['metadata']['name']} says: {said}"
    return ""


def attempt(
    check: Check, access: Access, deadline: float, sleep: Callable[[float], None] = time.sleep
) -> dict[str, Any]:
    """Run a check until it is healthy, or the deadline (of the monotonic clock) passes, or its failure lasts."""
    started, attempts, pause = time.monotonic(), 0, FIRST_PAUSE_SECONDS
    lasts_since: float | None = None
    while True:
        attempts += 1
        observed: object = None
        expected: object = None
        failure: Exception | None = None
        try:
            observed, expected = check.run(access)
        except CheckFailed as error:
            observed, expected, failure = error.observed, error.expected, error
        except Exception as error:  # noqa: BLE001  (whatever a client library raises is an outcome of the check)
            failure = error if isinstance(error, PlatformError) else access.trouble(check.service) or error
        message = _cause(check, failure) if failure else ""
        now = time.monotonic()
        lasts_since = (lasts_since or now) if failure and lasting(failure) else None
        settled = lasts_since is not None and now - lasts_since >= SETTLED_SECONDS
        if not failure or settled or now + pause > deadline:
            return _outcome(check, message, attempts, observed, expected, time.monotonic() - started)
        sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _cause(check: Check, failure: Exception) -> str:
    """What a failure says to people, on one line."""
    if isinstance(failure, (CheckFailed, PlatformError)):
        return str(failure)
    if isinstance(check.service, External):
        return explain(check.service, failure)
    return " ".join(f"{type(failure).__name__}: {failure}".split())


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


def _rollout(cluster: Cluster, component: Component, timeout: float, progress: Progress) -> dict[str, Any]:
    """The outcome of waiting up to `timeout` seconds for all workloads that the component applied."""
    started = time.monotonic()
    memory = load_memory(cluster, component)
    if memory:
        try:
            awaited = applied_workloads(cluster, memory)
            states: Sequence[Any] = wait_ready(cluster, awaited, component.name, timeout, progress)
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
    return [item for item in objects_of(cluster, memory) if item["kind"] in AWAITED_KINDS]


def objects_of(cluster: Cluster, memory: Memory) -> list[Manifest]:
    """The objects that were applied, as far as their identity goes."""
    versions = {(api.rpartition("/")[0], kind): api for api, kind in cluster.resources}
    found: list[Manifest] = []
    for key in memory:
        group, kind, namespace, name = key.rsplit("/", 3)
        if (group, kind) in versions:
            metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
            found.append({"apiVersion": versions[(group, kind)], "kind": kind, "metadata": metadata})
    return found


def access_lines(cluster: Cluster, component: Component, authority_file: str = "") -> list[str]:
    """How people reach the component and where its credentials are, one line each; never a credential.

    What has a `host` is at the edge, by the Gateway `service`. `authority_file` has the edge's own authority.
    """
    lines: list[str] = []
    for raw in component.access:
        service = Service.parse(raw.get("service"), f"component_spec of {component.name}: access")
        namespace = service.namespace or component.namespace
        host, secret = raw.get("host"), raw.get("secret")
        url = _at_edge(cluster, str(host), service, raw) if host else _at_node(cluster, service, namespace, raw)
        lines.append(f"{raw['name']}: {url}" + (f"  (login: Secret {component.namespace}/{secret})" if secret else ""))
        if "issuer" in raw:
            address, port = gateway.entrance(cluster, service.name, namespace)
            if address:
                lines.append(f"{raw['name']} without DNS: {gateway.curl(address, port, authority_file)} <URL>")
    return lines


def _at_node(cluster: Cluster, service: Service, namespace: str, raw: Mapping[str, Any]) -> str:
    """Where a Service answers at a port of the nodes, or how one makes it answer here."""
    found = cluster.get("v1", "Service", service.name, namespace)
    ports = (found or {}).get("spec", {}).get("ports", [])
    node_port = next((item.get("nodePort") for item in ports if item["port"] == service.port), None)
    if node_port:
        return f"{raw.get('scheme', 'http')}://{gateway.node_address(cluster)}:{node_port}"
    return f"kubectl -n {namespace} port-forward service/{service.name} {service.port}"


def _at_edge(cluster: Cluster, host: str, service: Service, raw: Mapping[str, Any]) -> str:
    """The URL of a host at the edge."""
    port = 443 if raw.get("openshift") else gateway.entrance(cluster, service.name, service.namespace)[1]
    return gateway.url(host, port)


def evidence(cluster: Cluster, component: Component) -> dict[str, Any]:
    """What helps to find the cause: warnings of the last events, and the last lines of pods that are not ready.

    Secrets are never read.
    """
    found: dict[str, Any] = {"events": [], "logs": {}}
    try:
        pods = pods_of(cluster, component)
        names = {pod["metadata"]["name"] for pod in pods}
        happened = [event for space in component.spaces for event in cluster.list("v1", "Event", space)]
        for event in sorted(happened, key=event_time):
            about = event["involvedObject"]
            if event.get("type") == "Warning" and (about["name"] in names or component.name in about["name"]):
                found["events"].append(
                    f"{about['kind']} {about['name']}: {event.get('reason')}: {event.get('message')}"
                )
        for pod in pods:
            for container in _unready(pod):
                name = f"{pod['metadata']['name']}/{container['name']}"
                found["logs"][name] = cluster.last_lines(pod, container["name"])
        found["events"] = found["events"][-10:] + _changed_since(cluster, component)
    except ApiError as error:
        found["events"].append(str(error))
    return found


def _changed_since(cluster: Cluster, component: Component) -> list[str]:
    """The objects that are not as they were applied, one line each: somebody changed or removed them since."""
    memory = load_memory(cluster, component)
    applied = objects_of(cluster, memory)
    present = live(cluster, component, applied)
    lines = []
    for item in applied:
        found, known = present.get(identity(item)), memory[identity(item)]
        if found is None and item["kind"] != "Job":
            lines.append(f"{title(item)} was removed after it was applied; `make site` brings it back")
        elif found and mark(found) != known["mark"]:
            lines.append(f"{title(item)} was changed after it was applied; `make site` puts it back")
    return lines


def _unready(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    unready = [item for item in container_statuses(pod) if not item.get("ready")]
    return [item for item in unready if (item.get("state") or {}).get("terminated", {}).get("exitCode") != 0]
