# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One wait for all objects of a component: woken by watches, ended by readiness, a final failure or the deadline."""

from __future__ import annotations

import functools
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import urllib3
from ansible_collections.mlops.platform.plugins.module_utils import events, rollout
from ansible_collections.mlops.platform.plugins.module_utils.admission import Admission
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster, Object
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.manifests import (
    COMPONENT_LABEL,
    OPERATED,
    WORKLOADS,
    Manifest,
    identity,
    operated_set,
    title,
)

INFERENCE_SERVICE = "InferenceService"
AWAITED_KINDS = frozenset({*WORKLOADS, *OPERATED, "CustomResourceDefinition", "APIService", INFERENCE_SERVICE})
REPEAT_SECONDS = 10
SERVED_SECONDS = 0.1
"""How often the server is asked for its kinds: there is nothing to watch."""
SUSPICION_SECONDS = 20.0
"""How long a state that is final if it lasts has to last."""
PROMISED = frozenset({"TriggeredScaleUp", "Nominated"})
"""The reasons of events by which cluster autoscalers promise a pod a node (Cluster Autoscaler, Karpenter)."""
REQUEST = re.compile(r'" [1-5]\d\d\b')
"""The status of an answer, as servers write it behind the request."""
COMPLAINT = re.compile(
    r"error|fatal|fail|denied|cannot|could not|invalid|no such|not found|unable|panic", re.IGNORECASE
)
EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception): \S")
"""The last line of a traceback of Python that says more than the exception's name."""
LAST_LINES = 60
"""So many lines from its end on is what a container says why it ended: servers say goodbye in some, too."""
Progress = Callable[[str], None]
Listed = Callable[[str, str, str], Sequence[Object]]
"""Lists objects by (apiVersion, kind, namespace), each list once in one look at the cluster."""


class NotReady(PlatformError):
    """Objects that did not become ready; `states` says how far each one is."""

    def __init__(self, message: str, states: Sequence[rollout.State]) -> None:
        super().__init__(message)
        self.states = states


def wait_ready(
    cluster: Cluster, manifests: Iterable[Manifest], component: str, timeout: float, progress: Progress
) -> list[rollout.State]:
    """Wait until the workloads and definitions among `manifests` are ready; returns their states.

    Raises NotReady with the first cause as soon as one can no longer become ready, or after
    `timeout` seconds. Says what it waits for whenever that changes, and every ten seconds.
    """
    awaited = [item for item in manifests if item["kind"] in AWAITED_KINDS]
    with events.phase(component, "rollout", of=len(awaited)):
        return _wait_ready(cluster, awaited, component, timeout, progress)


def _wait_ready(
    cluster: Cluster, awaited: Sequence[Manifest], component: str, timeout: float, progress: Progress
) -> list[rollout.State]:
    started = time.monotonic()
    said, saying = started, ""
    suspected: dict[tuple[str, str], float] = {}
    waker: Waker | None = None
    try:
        while True:
            states = inspect(cluster, awaited, component)
            late = [item for item in states if not item.ready]
            if not late:
                return states
            now = time.monotonic()
            elapsed = now - started
            suspicions = [(item.target, item.suspicion) for item in late if item.suspicion]
            suspected = {item: suspected.get(item, now) for item in suspicions}
            final = [(item.target, item.failure) for item in late if item.failure]
            final += [item for item, since in suspected.items() if now - since >= SUSPICION_SECONDS]
            if final:
                raise NotReady(f"{final[0][0]}: {final[0][1]}", states)
            if elapsed > timeout:
                raise NotReady(f"{late[0].target} is not ready after {elapsed:.0f} s: {late[0].message}", states)
            message = f"{late[0].message} ({late[0].target})"
            if message != saying or time.monotonic() - said >= REPEAT_SECONDS:
                said, saying = time.monotonic(), message
                progress(message)
            if waker is None:
                waker = Waker(cluster, _paths(cluster, awaited), f"{COMPONENT_LABEL}={component}")
            waker.wait(min(5.0, timeout - elapsed + 0.1))
    finally:
        if waker:
            waker.close()


def wait_admitted(
    cluster: Cluster,
    wanted: Sequence[Manifest],
    admission: Admission,
    component: str,
    timeout: float,
    progress: Progress,
) -> None:
    """Wait until the component's own webhooks answer for one object of each kind that is `wanted`.

    The server is asked what it would do with it (a dry run): then the webhook has an endpoint, the server trusts its
    certificate, and it decides. Raises ApiError for what is refused, and NotReady with the last word of the server
    after `timeout` seconds.
    """
    asked = list({(item["apiVersion"], item["kind"]): item for item in reversed(wanted)}.values())
    started, saying = time.monotonic(), ""
    waker: Waker | None = None
    try:
        while asked:
            refusal = _refusal_of(cluster, asked[-1])
            if refusal is None:
                asked.pop()
                continue
            if not admission.unanswered(str(refusal)):
                raise ApiError(f"the cluster refused {title(asked[-1])}: {refusal}", refusal.status)
            elapsed = time.monotonic() - started
            if elapsed > timeout:
                raise NotReady(f"{title(asked[-1])} is not admitted after {elapsed:.0f} s: {refusal}", [])
            if str(refusal) != saying:
                saying = str(refusal)
                progress(saying)
            waker = waker or Waker(cluster, admission.paths(cluster), f"{COMPONENT_LABEL}={component}")
            waker.wait(min(5.0, timeout - elapsed + 0.1))
    finally:
        if waker:
            waker.close()


def _refusal_of(cluster: Cluster, manifest: Manifest) -> ApiError | None:
    """Why the server would not take an object; None where it would, or where its webhooks cannot be asked."""
    try:
        cluster.apply(manifest, dry_run=True)
    except ApiError as error:
        return None if "does not support dry run" in str(error) else error
    return None


def wait_served(cluster: Cluster, definitions: Iterable[Manifest], timeout: float) -> None:
    """Wait until the server serves what definitions define: it does so moments after they are Established.

    Raises NotReady naming a kind after `timeout` seconds.
    """
    specs = [item["spec"] for item in definitions]
    kinds = {(f"{s['group']}/{v['name']}", s["names"]["kind"]) for s in specs for v in s["versions"] if v["served"]}
    deadline = time.monotonic() + timeout
    while late := kinds - cluster.resources.keys():
        if time.monotonic() > deadline:
            raise NotReady(f"the cluster does not serve {' '.join(reversed(min(late)))} after {timeout:.0f} s", [])
        time.sleep(SERVED_SECONDS)
        cluster.forget_resources()


def inspect(cluster: Cluster, awaited: Sequence[Manifest], component: str) -> list[rollout.State]:
    """The states of the awaited objects now, with what their pods suffer from."""
    live = {
        identity(item): item
        for api_version, kind, namespace in sorted({_place(item) for item in awaited})
        for item in list_whole(cluster, api_version, kind, namespace, component)
    }
    states: list[rollout.State] = []
    listed = functools.cache(cluster.list)  # many workloads of one namespace cost as much as one
    for manifest in awaited:
        found = live.get(identity(manifest))
        if found is None:
            states.append(rollout.State(title(manifest), False, "does not exist"))
            continue
        if found["kind"] == INFERENCE_SERVICE:
            states.append(_served(cluster, listed, found))
            continue
        state = rollout.state(found)
        if not state.ready and found["kind"] in OPERATED:
            state = _operated(cluster, listed, found, state)
        if not state.ready and found["kind"] in WORKLOADS and rollout.seen(found):
            state = _with_pods(cluster, listed, found, state)
        states.append(state)
    return states


def list_whole(cluster: Cluster, api_version: str, kind: str, namespace: str, component: str) -> list[Object]:
    """The component's objects of one kind, whole, with the type fields that a list leaves out."""
    return list_as(cluster, api_version, kind, namespace or None, f"{COMPONENT_LABEL}={component}")


def list_as(cluster: Cluster, api_version: str, kind: str, namespace: str | None, selector: str) -> list[Object]:
    """Objects with the type fields that a list leaves out."""
    found = cluster.list(api_version, kind, namespace, selector)
    return [{**item, "apiVersion": api_version, "kind": kind} for item in found]


def _served(cluster: Cluster, listed: Listed, service: Object) -> rollout.State:
    """The state of an InferenceService as what KServe made of it and the pods of its newest revision explain it."""
    metadata = service["metadata"]
    name, namespace = f"{metadata['name']}-predictor", metadata["namespace"]
    standard = (metadata.get("annotations") or {}).get("serving.kserve.io/deploymentMode") == "Standard"
    made = cluster.get(
        *(("apps/v1", "Deployment") if standard else ("serving.knative.dev/v1", "Service")), name, namespace
    )
    state = rollout.served(service, made)
    newest = ((made or {}).get("status") or {}).get("latestCreatedRevisionName")
    selector = f"serving.knative.dev/revision={newest}"
    if made is None or state.message.startswith("KServe has not"):
        return state
    workloads = [made] if standard else list_as(cluster, "apps/v1", "Deployment", namespace, selector)
    if state.ready and any(map(rollout.is_deserted, workloads)):  # Knative calls a revision ready that once was
        state = replace(state, ready=False, message="none of its pods is available")
    if state.ready or not workloads:
        return state
    pods = _newest_pods(listed, workloads[0])
    if any(map(rollout.has_crashed, pods)):  # they say themselves when it is final, and why
        state = replace(state, suspicion=None)
    explained = _with_pods(cluster, listed, workloads[0], state)
    problems = filter(None, map(rollout.pod_problem, pods))
    homeless = next((problem.message for problem in problems if problem.homeless), None)
    if homeless and not any(event.get("reason") in PROMISED for event in listed("v1", "Event", namespace)):
        return replace(explained, suspicion=homeless)
    return explained


def _operated(cluster: Cluster, listed: Listed, found: Object, state: rollout.State) -> rollout.State:
    """The state of what the operator of Prometheus looks after, as the pods of its StatefulSet explain it."""
    space = found["metadata"]["namespace"]
    made = cluster.get("apps/v1", "StatefulSet", operated_set(found), space)
    return _with_pods(cluster, listed, made, state) if made and rollout.seen(made) else state


def _newest_pods(listed: Listed, workload: Object) -> list[Mapping[str, Any]]:
    """The pods of a workload's newest revision."""
    namespace = workload["metadata"]["namespace"]
    sets = listed("apps/v1", "ReplicaSet", namespace) if workload["kind"] == "Deployment" else []
    return rollout.current_pods(workload, listed("v1", "Pod", namespace), sets)


def _with_pods(cluster: Cluster, listed: Listed, workload: Object, state: rollout.State) -> rollout.State:
    """The state of an unready workload as its newest pods explain it."""
    namespace = workload["metadata"]["namespace"]
    newest = _newest_pods(listed, workload)
    if workload["kind"] == "StatefulSet":
        _release_stuck_pods(cluster, workload, listed("v1", "Pod", namespace), newest)
    problems = [(problem, pod) for pod in newest if (problem := rollout.pod_problem(pod))]
    if problems:
        problem, pod = min(problems, key=lambda found: not found[0].final)
        told = "" if problem.final else _newest_event(listed, namespace, newest)
        message = f"{told}; {problem.message}" if told else problem.message
        if problem.ended and (problem.final or state.failure):
            message += _last_words(cluster, pod, problem.ended)
        failure = f"{state.failure}; {message}" if state.failure else message if problem.final else None
        return replace(state, message=f"{state.message}; {message}", failure=failure)
    if state.failure:
        return state
    if not newest and workload["kind"] != "Deployment":
        refused = _refusal(listed, workload)
        if refused:
            return rollout.State(state.target, False, refused, refused)
    return state


def _release_stuck_pods(cluster: Cluster, workload: Object, pods: Sequence[Object], newest: Sequence[object]) -> None:
    """Delete unready pods of an older revision: a StatefulSet waits for them for ever before it replaces them."""
    if not (workload.get("status") or {}).get("updateRevision"):
        return
    for pod in rollout.owned(pods, workload["metadata"]["uid"]):
        if pod not in newest and rollout.pod_problem(pod):
            cluster.delete("v1", "Pod", pod["metadata"]["name"], pod["metadata"]["namespace"])


def _newest_event(listed: Listed, namespace: str, pods: Iterable[Mapping[str, Any]]) -> str:
    """What was last told of some pods, such as an image that is pulled or a probe that failed; empty where nothing."""
    uids = {pod["metadata"]["uid"] for pod in pods}
    told = [event for event in listed("v1", "Event", namespace) if event["involvedObject"].get("uid") in uids]
    newest = max(told, key=event_time, default=None)
    if newest is None:
        return ""
    return str(newest["message"]) if newest.get("type") == "Normal" else f"{newest.get('reason')}: {newest['message']}"


def _last_words(cluster: Cluster, pod: Mapping[str, Any], container: str) -> str:
    """The last line in which a container complained before it ended, or else the last one."""
    lines = cluster.last_lines(pod, container, LAST_LINES)
    last = complaint(lines) or next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {last}" if last else ""


def complaint(lines: Sequence[str]) -> str:
    """The last of some lines of a log that complains of something; requests that failed are not a cause.

    An exception says more than what is told of the end that it led to.
    """
    found = [line.strip() for line in lines if COMPLAINT.search(line) and not REQUEST.search(line)]
    exceptions = [line for line in found if EXCEPTION.match(line)]
    return [*found, *exceptions][-1] if found else ""


def _refusal(listed: Listed, workload: Object) -> str | None:
    """Why a controller cannot create the pods of a workload as it is now, from its newest event."""
    metadata = workload["metadata"]
    # Times are of whole seconds: what was said in the second of the last change may be about what was before it.
    changed = max(
        (entry["time"] for entry in metadata.get("managedFields") or [] if entry.get("subresource") != "status"),
        default="",
    )
    events = [
        event
        for event in listed("v1", "Event", metadata["namespace"])
        if event["involvedObject"].get("uid") == metadata["uid"]
        and event.get("reason") == "FailedCreate"
        and event_time(event) > changed
    ]
    return str(max(events, key=event_time)["message"]) if events else None


def event_time(event: Object) -> str:
    """When an event was last seen: RFC 3339, in UTC."""
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")


def _place(manifest: Manifest) -> tuple[str, str, str]:
    return manifest["apiVersion"], manifest["kind"], manifest["metadata"].get("namespace") or ""


def _paths(cluster: Cluster, awaited: Sequence[Manifest]) -> set[str]:
    """The collections whose events may end the wait: the awaited objects' and their pods'."""
    places = {_place(item) for item in awaited}
    places |= {
        ("v1", "Pod", namespace) for _, kind, namespace in places if kind in (*WORKLOADS, *OPERATED, INFERENCE_SERVICE)
    }
    return {cluster.resource(version, kind).path(namespace or None) for version, kind, namespace in places}


class Waker:
    """Watches some collections in the background; `wait` returns when one of them changes."""

    def __init__(self, cluster: Cluster, paths: Iterable[str], selector: str) -> None:
        self._changed = threading.Event()
        self._closed = threading.Event()
        for path in paths:
            threading.Thread(target=self._watch, args=(cluster, path, selector), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self, seconds: float) -> None:
        """Return at the next change, or after `seconds`; at most five times a second."""
        self._closed.wait(0.2)
        self._changed.wait(max(0.0, seconds - 0.2))
        self._changed.clear()

    def close(self) -> None:
        """Stop watching; the threads end with their next event or timeout."""
        self._closed.set()

    def _watch(self, cluster: Cluster, path: str, selector: str) -> None:
        while not self._closed.is_set():
            try:
                for _ in cluster.watch(path, "", 30, selector):
                    self._changed.set()
                    if self._closed.is_set():
                        return
            except (ApiError, urllib3.exceptions.HTTPError, OSError, ValueError):
                self._closed.wait(0.5)
