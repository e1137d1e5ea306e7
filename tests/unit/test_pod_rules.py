"""The checker of rendered pods finds what it is there for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from pod_rules import problems

GOOD: dict[str, Any] = {
    "kind": "Deployment",
    "spec": {
        "template": {
            "spec": {
                "automountServiceAccountToken": False,
                "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                "volumes": [{"name": "tmp", "emptyDir": {}}],
                "containers": [
                    {
                        "name": "main",
                        "env": [
                            {"name": "PASSWORD_FILE", "value": "/run/password"},
                            {"name": "API_KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                            {"name": "REGION", "value": "eu"},
                        ],
                        "resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
                        "readinessProbe": {},
                        "livenessProbe": {},
                        "securityContext": {
                            "allowPrivilegeEscalation": False,
                            "readOnlyRootFilesystem": True,
                            "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
                        },
                    }
                ],
            }
        }
    },
}


def broken(change: Callable[[dict[str, Any], dict[str, Any]], object], kind: str = "Deployment") -> list[str]:
    """The problems after `change` has been made to a copy's pod and container."""
    manifest = copy.deepcopy(GOOD) | {"kind": kind}
    pod = manifest["spec"]["template"]["spec"]
    change(pod, pod["containers"][0])
    return problems(manifest)


def test_a_pod_that_keeps_all_rules() -> None:
    assert problems(GOOD) == []
    assert problems({"kind": "Service", "spec": {}}) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda pod, c: pod.update(hostNetwork=True), "hostNetwork is set"),
        (lambda pod, c: pod["volumes"].append({"name": "h", "hostPath": {}}), "volume h is of the type hostPath"),
        (lambda pod, c: pod["securityContext"].update(sysctls=[{"name": "kernel.msgmax"}]),
         "sysctl kernel.msgmax is not a safe one"),
        (lambda pod, c: pod["securityContext"].pop("runAsNonRoot"), "container main: runAsNonRoot is not true"),
        (lambda pod, c: c["securityContext"].update(runAsNonRoot=False), "container main: runAsNonRoot is not true"),
        (lambda pod, c: pod["securityContext"].update(runAsUser=0), "container main: runs as root"),
        (lambda pod, c: pod["securityContext"].pop("seccompProfile"), "container main: has no seccomp profile"),
        (lambda pod, c: c["securityContext"].update(privileged=True), "container main: is privileged"),
        (lambda pod, c: c["securityContext"].pop("allowPrivilegeEscalation"),
         "container main: allowPrivilegeEscalation is not false"),
        (lambda pod, c: c["securityContext"]["capabilities"].pop("drop"),
         "container main: does not drop all capabilities"),
        (lambda pod, c: c["securityContext"]["capabilities"].update(add=["SYS_ADMIN"]),
         "container main: adds the capability SYS_ADMIN"),
        (lambda pod, c: c["securityContext"].update(procMount="Unmasked"), "container main: procMount is Unmasked"),
        (lambda pod, c: c.update(ports=[{"hostPort": 80}]), "container main: takes the port 80 of its node"),
        (lambda pod, c: c["resources"]["requests"].pop("cpu"), "container main: no requests.cpu"),
        (lambda pod, c: c["resources"].pop("limits"), "container main: no limits.memory"),
        (lambda pod, c: c.pop("livenessProbe"), "container main: no livenessProbe"),
        (lambda pod, c: pod.pop("automountServiceAccountToken"),
         "the token of a service account is mounted that is not its own"),
        (lambda pod, c: pod.update(automountServiceAccountToken=True),
         "the token of a service account is mounted that is not its own"),
        (lambda pod, c: c["securityContext"].pop("readOnlyRootFilesystem"),
         "container main: its root file system can be written"),
        (lambda pod, c: c["env"].append({"name": "PGPASSWORD", "value": ""}),
         "container main: PGPASSWORD has its value in the manifest"),
        (lambda pod, c: c["env"].append({"name": "AWS_ACCESS_KEY_ID", "value": "x"}),
         "container main: AWS_ACCESS_KEY_ID has its value in the manifest"),
        (lambda pod, c: pod.update(initContainers=[{**copy.deepcopy(c), "name": "first", "resources": {}}]),
         "container first: no requests.cpu"),
    ],
)  # fmt: skip
def test_what_breaks_a_rule_is_found(change: Callable[[dict[str, Any], dict[str, Any]], object], problem: str) -> None:
    assert problem in broken(change)


def test_a_job_needs_no_probes() -> None:
    assert broken(lambda pod, c: (c.pop("livenessProbe"), c.pop("readinessProbe")), "Job") == []
