# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether objects have become what their manifests ask for: pure functions on what the API server returns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.cluster import FIELD_MANAGER, container_statuses
from ansible_collections.mlops.platform.plugins.module_utils.manifests import SPEC_HASH, title

# A container that waits for one of these does not start without somebody's help.
FINAL_REASONS = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "ErrImageNeverPull", "ImagePullBackOff", "InvalidImageName"}
)
PASSING = re.compile(
    r"deadline exceeded|time(d )?out|connection reset|\bEOF\b|: (429 Too|50[0-4] )|failed to sync \w+ cache"
    r"|is reserved for"
)
"""What the kubelet says of these where its next try may well succeed: a registry or a runtime that was busy."""
CRASHES_UNTIL_FINAL = 3
"""Restarts after which a crash loop counts as final: the first ones may be a dependency that was late."""
MODEL_LABEL = "serving.kserve.io/inferenceservice"
MODEL_CRASHES_UNTIL_FINAL = 1
"""The same for the pods of models: all that they depend on was there before them, and each try is a download."""


UNRECONCILED = "not Reconciled: "
"""How it begins what an operator cannot make of an object: often for a moment, and final if it lasts."""


@dataclass(frozen=True)
class State:
    """How far an object is: `failure` is set when waiting longer is of no use, `suspicion` when it is if that lasts."""

    target: str
    ready: bool
    message: str
    failure: str | None = None
    suspicion: str | None = None


def state(obj: Mapping[str, Any]) -> State:
    """The state of any object by the conventions of its kind."""
    target = title(obj)
    if not seen(obj):
        return State(target, False, "the change has not been seen by its controller yet")
    judge = {
        "Deployment": _deployment,
        "StatefulSet": _stateful_set,
        "DaemonSet": _daemon_set,
        "Job": _job,
        "CustomResourceDefinition": _condition("Established"),
        "APIService": _condition("Available"),
        "Prometheus": _operated,
        "Alertmanager": _operated,
    }.get(obj["kind"])
    if judge is None:
        return State(target, True, "exists")
    if somebody := scaled_away(obj):
        message = f"is scaled to 0 replicas, by {somebody}"
        return State(target, False, message, message)
    ready, message, failure = judge(obj)
    suspicion = message if message.startswith(UNRECONCILED) else None
    return State(target, ready, message, failure, suspicion)


def seen(obj: Mapping[str, Any]) -> bool:
    """Whether its controller has seen what an object is now: until then its status and its pods are of before."""
    observed = (obj.get("status") or {}).get("observedGeneration")
    return observed is None or observed >= obj["metadata"].get("generation", 0)


def conditions(obj: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The conditions of an object by their type."""
    return {item["type"]: item for item in (obj.get("status") or {}).get("conditions") or []}


Judgement = tuple[bool, str, str | None]


def scaled_away(obj: Mapping[str, Any]) -> str | None:
    """Who scaled a workload to nothing: the field manager of its replicas, where that is not we.

    Scaling through the subresource takes the field from us, but the server does not always say who did it.
    """
    managed = obj["metadata"].get("managedFields")
    if obj["spec"].get("replicas") != 0 or not managed:
        return None
    fields = {str(entry.get("manager")): (entry.get("fieldsV1") or {}).get("f:spec") or {} for entry in managed}
    owners = [manager for manager, spec in fields.items() if "f:replicas" in spec]
    return None if FIELD_MANAGER in owners else "".join(owners[-1:]) or "somebody"


def _deployment(obj: Mapping[str, Any]) -> Judgement:
    status = obj.get("status") or {}
    wanted = obj["spec"].get("replicas", 1)
    found = conditions(obj)
    failure = None
    if found.get("ReplicaFailure", {}).get("status") == "True":
        failure = str(found["ReplicaFailure"].get("message"))
    elif found.get("Progressing", {}).get("reason") == "ProgressDeadlineExceeded":
        failure = str(found["Progressing"].get("message"))
    updated, available, total = (status.get(f"{kind}eplicas", 0) for kind in ("updatedR", "availableR", "r"))
    ready = "observedGeneration" in status and updated >= wanted and available >= wanted and total <= updated
    return ready, f"{available} of {wanted} available, {updated} updated", None if ready else failure


def _stateful_set(obj: Mapping[str, Any]) -> Judgement:
    status = obj.get("status") or {}
    wanted = obj["spec"].get("replicas", 1)
    ready_replicas = status.get("readyReplicas", 0)
    updated = status.get("updatedReplicas", 0)
    current = status.get("currentRevision") == status.get("updateRevision")
    ready = "observedGeneration" in status and ready_replicas >= wanted and (current or updated >= wanted)
    return ready, f"{ready_replicas} of {wanted} ready, {updated} updated", None


def _daemon_set(obj: Mapping[str, Any]) -> Judgement:
    status = obj.get("status") or {}
    wanted = status.get("desiredNumberScheduled", 0)
    available = status.get("numberAvailable", 0)
    updated = status.get("updatedNumberScheduled", 0)
    ready = "observedGeneration" in status and available >= wanted and updated >= wanted
    return ready, f"{available} of {wanted} available, {updated} updated", None


def _job(obj: Mapping[str, Any]) -> Judgement:
    found = conditions(obj)
    failed = found.get("Failed", {})
    failure = f"{failed.get('reason')}: {failed.get('message')}" if failed.get("status") == "True" else None
    ready = found.get("Complete", {}).get("status") == "True"
    return ready, "complete" if ready else "running", failure


def _condition(name: str) -> Any:
    def judge(obj: Mapping[str, Any]) -> Judgement:
        condition = conditions(obj).get(name, {})
        ready = condition.get("status") == "True"
        return ready, name if ready else f"not {name}: {condition.get('message', 'no word yet')}", None

    return judge


def _operated(obj: Mapping[str, Any]) -> Judgement:
    """What the operator of Prometheus says of one of its kinds; each condition says which generation it is about."""
    generation, found = obj["metadata"].get("generation", 0), conditions(obj)
    for name in ("Reconciled", "Available"):
        condition = found.get(name, {})
        if condition.get("observedGeneration", 0) < generation:
            return False, "the operator has not seen the change yet", None
        if condition.get("status") != "True":
            said = f"{condition.get('reason', '')}: {condition.get('message', '')}".strip(": ")
            return False, f"not {name}: {said or 'no word yet'}", None
    return True, "Available", None


def served(service: Mapping[str, Any], made: Mapping[str, Any] | None) -> State:
    """The state of an InferenceService; `made` is the Knative Service or Deployment that KServe made of it.

    Its own observedGeneration is that of what was made: whether KServe has seen a change is told by the hash that it
    copies from the annotations of the one to the pods of the other.
    """
    target = title(service)
    status = service.get("status") or {}
    found = conditions(service)
    why = found.get("PredictorReady", {})
    refused = str(why.get("message") or why.get("reason")) if why.get("status") == "False" else ""
    model = status.get("modelStatus") or {}
    if model.get("transitionStatus") == "InvalidSpec":
        info = model.get("lastFailureInfo") or {}
        refused = f"{info.get('reason')}: {info.get('message')}"
    if made is None or not _copied(service, made):
        return State(target, False, refused or "KServe has not seen the change yet", suspicion=refused or None)
    theirs = conditions(made)
    if made["kind"] == "Deployment":
        complete, message, failure = _deployment(made)
        whole = seen(made) and complete
    else:
        revisions = made.get("status") or {}
        newest = revisions.get("latestCreatedRevisionName")
        whole = seen(made) and revisions.get("latestReadyRevisionName") == newest
        whole = whole and theirs.get("Ready", {}).get("status") == "True"
        message, failure = f"revision {newest} is not ready", None
        refused = str(theirs.get("ConfigurationsReady", {}).get("message") or refused)
    if whole and found.get("Ready", {}).get("status") == "True":
        return State(target, True, f"{made['kind']} {made['metadata']['name']} is ready")
    ingress = found.get("IngressReady", {})
    if whole and ingress.get("status") == "False":
        refused = message = f"{ingress.get('reason')}: {ingress.get('message')}"
    return State(target, False, message, failure, suspicion=refused or None)


def _copied(service: Mapping[str, Any], made: Mapping[str, Any]) -> bool:
    """Whether what KServe made is of the InferenceService as it is now."""
    wanted = (service["metadata"].get("annotations") or {}).get(SPEC_HASH)
    return bool(wanted == (made["spec"]["template"]["metadata"].get("annotations") or {}).get(SPEC_HASH))


@dataclass(frozen=True)
class Problem:
    """What keeps a pod from being ready, whether that is final, and which container has said why before it ended."""

    message: str
    final: bool = False
    ended: str = ""
    homeless: bool = False
    """Whether no node takes it."""


def pod_problem(pod: Mapping[str, Any]) -> Problem | None:
    """What keeps a pod from being ready; None where nothing does."""
    name = pod["metadata"]["name"]
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp") or status.get("phase") == "Succeeded":
        return None
    statuses = container_statuses(pod)
    for container in statuses:
        now = container.get("state") or {}
        waiting, ended = now.get("waiting") or {}, now.get("terminated") or {}
        reason = waiting.get("reason", "")
        # It ends, waits, and is started again: each time something else is seen.
        if reason == "CrashLoopBackOff" or (ended.get("exitCode") and status.get("phase") != "Failed"):
            last = ended or (container.get("lastState") or {}).get("terminated") or {}
            of_model = MODEL_LABEL in (pod["metadata"].get("labels") or {})
            crashes = MODEL_CRASHES_UNTIL_FINAL if of_model else CRASHES_UNTIL_FINAL
            restarts = container.get("restartCount", 0)
            cause = f"exit code {last.get('exitCode')}, {last.get('reason')}"
            message = f"pod {name}: container {container['name']} crashed {restarts + bool(ended)} times ({cause})"
            return Problem(message, restarts >= crashes, container["name"])
        if reason and reason not in ("ContainerCreating", "PodInitializing"):
            message = waiting.get("message", "")
            final = reason in FINAL_REASONS and not PASSING.search(message)
            return Problem(f"pod {name}: container {container['name']}: {reason}: {message}", final)
    if status.get("phase") == "Failed":
        ended = [(item.get("state") or {}).get("terminated") or {} for item in statuses]
        codes = ", ".join(f"exit code {item.get('exitCode')}" for item in ended if item.get("exitCode"))
        failed = [item["name"] for item, end in zip(statuses, ended, strict=True) if end.get("exitCode")]
        return Problem(f"pod {name} failed: {status.get('message') or codes}", ended=failed[0] if failed else "")
    scheduled = conditions(pod).get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return Problem(f"pod {name} cannot be scheduled: {scheduled.get('message')}", homeless=True)
    if conditions(pod).get("Ready", {}).get("status") == "True":
        return None
    waits = [
        item["name"] for item in statuses if not item.get("ready") and not (item.get("state") or {}).get("terminated")
    ]
    return Problem(
        f"pod {name} is {status.get('phase', 'Pending')}, not ready: {', '.join(waits) or 'no container yet'}"
    )


def is_deserted(deployment: Mapping[str, Any]) -> bool:
    """Whether a Deployment that should have pods has none that is available."""
    wanted = deployment["spec"].get("replicas", 1)
    return bool(wanted and not (deployment.get("status") or {}).get("availableReplicas"))


def has_crashed(pod: Mapping[str, Any]) -> bool:
    """Whether a container of a pod has ended with an error, and may be on its way to end so again."""
    ends = [{**(item.get("lastState") or {}), **(item.get("state") or {})} for item in container_statuses(pod)]
    return any((end.get("terminated") or {}).get("exitCode") for end in ends)


def current_pods(
    workload: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], replica_sets: Iterable[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """The pods of a workload's newest revision: what older ones suffer from may be why there is a new one."""
    uid = workload["metadata"]["uid"]
    if workload["kind"] == "Deployment":
        revision = _revision(workload)
        owners = {item["metadata"]["uid"] for item in owned(replica_sets, uid) if _revision(item) == revision}
        return [pod for owner in owners for pod in owned(pods, owner)]
    mine = owned(pods, uid)
    newest = (workload.get("status") or {}).get("updateRevision")
    if workload["kind"] == "StatefulSet" and newest:
        return [pod for pod in mine if pod["metadata"]["labels"].get("controller-revision-hash") == newest]
    return mine


def owned(objects: Iterable[Mapping[str, Any]], uid: str) -> list[Mapping[str, Any]]:
    """The objects whose owner is `uid`."""
    return [
        item for item in objects if any(owner["uid"] == uid for owner in item["metadata"].get("ownerReferences") or [])
    ]


def _revision(obj: Mapping[str, Any]) -> str | None:
    revision: str | None = (obj["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision")
    return revision
