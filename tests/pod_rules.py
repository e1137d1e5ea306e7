"""What every pod of the platform must keep: pure checks of a pod's specification.

`restricted` is the Pod Security Standard of that name, as the documentation of Kubernetes describes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")
VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
SAFE_SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}  # fmt: skip
SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|(?<!_PUBLIC)_KEY")
SECRET_FREE = re.compile(r"_FILE$|_PATH$")
"""Variables that name where a secret is."""

Pod = Mapping[str, Any]


def pod_of(manifest: Mapping[str, Any]) -> Pod | None:
    """The pod specification of a workload or a CronJob, None for other kinds."""
    if manifest["kind"] == "CronJob":
        manifest = manifest["spec"]["jobTemplate"]
    elif manifest["kind"] not in WORKLOADS:
        return None
    return manifest["spec"]["template"]["spec"]  # type: ignore[no-any-return]


def containers(pod: Pod) -> list[Mapping[str, Any]]:
    """All containers, those of the beginning first."""
    return [*(pod.get("initContainers") or []), *(pod.get("containers") or [])]


def restricted(pod: Pod) -> Iterator[str]:
    """What breaks the Pod Security level `restricted`."""
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield f"{field} is set"
    for volume in pod.get("volumes") or []:
        for kind in set(volume) - {"name"} - VOLUMES:
            yield f"volume {volume['name']} is of the type {kind}"
    shared = pod.get("securityContext") or {}
    for sysctl in shared.get("sysctls") or []:
        if sysctl["name"] not in SAFE_SYSCTLS:
            yield f"sysctl {sysctl['name']} is not a safe one"
    for container in containers(pod):
        yield from (f"container {container['name']}: {problem}" for problem in _container(container, shared))


def _container(container: Mapping[str, Any], shared: Mapping[str, Any]) -> Iterator[str]:
    own = container.get("securityContext") or {}
    context = {**shared, **own}
    if own.get("privileged"):
        yield "is privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if context.get("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    if context.get("runAsUser") == 0:
        yield "runs as root"
    if (context.get("seccompProfile") or {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "has no seccomp profile"
    capabilities = own.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or []):
        yield "does not drop all capabilities"
    for added in set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}:
        yield f"adds the capability {added}"
    if own.get("procMount", "Default") != "Default":
        yield f"procMount is {own['procMount']}"
    for port in container.get("ports") or []:
        if port.get("hostPort"):
            yield f"takes the port {port['hostPort']} of its node"


def resources(pod: Pod) -> Iterator[str]:
    """What a scheduler is not told, or a node not protected from."""
    for container in containers(pod):
        given = container.get("resources") or {}
        for kind, names in (("requests", ("cpu", "memory")), ("limits", ("memory",))):
            for name in names:
                if not (given.get(kind) or {}).get(name):
                    yield f"container {container['name']}: no {kind}.{name}"


def probes(manifest: Mapping[str, Any], pod: Pod) -> Iterator[str]:
    """Which probes a long-running container lacks."""
    if manifest["kind"] in ("Job", "CronJob"):
        return
    for container in pod["containers"]:
        for probe in ("readinessProbe", "livenessProbe"):
            if probe not in container:
                yield f"container {container['name']}: no {probe}"


def hardening(pod: Pod) -> Iterator[str]:
    """What the platform asks for beyond the Pod Security level."""
    token = pod.get("automountServiceAccountToken")
    if token is None or (token and pod.get("serviceAccountName", "default") == "default"):
        yield "the token of a service account is mounted that is not its own"
    for container in containers(pod):
        if (container.get("securityContext") or {}).get("readOnlyRootFilesystem") is not True:
            yield f"container {container['name']}: its root file system can be written"


def literal_secrets(pod: Pod) -> Iterator[str]:
    """Environment variables that look like a secret and hold a value instead of a reference."""
    for container in containers(pod):
        for variable in container.get("env") or []:
            name = variable["name"]
            if SECRET_NAME.search(name) and not SECRET_FREE.search(name) and "value" in variable:
                yield f"container {container['name']}: {name} has its value in the manifest"


def problems(manifest: Mapping[str, Any], level: str = "restricted") -> list[str]:
    """All that is wrong with the pods of a workload; nothing for other kinds.

    `level` is that of its namespace: what is `privileged` is so for what no other pod may do.
    """
    pod = pod_of(manifest)
    if pod is None:
        return []
    found = [
        [] if level == "privileged" else restricted(pod),
        resources(pod),
        probes(manifest, pod),
        hardening(pod),
        literal_secrets(pod),
    ]
    return [problem for checks in found for problem in checks]
