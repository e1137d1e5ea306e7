# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NetworkPolicies: a pod that a check makes reaches a service, or does not, from its own side."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ansible_collections.mlops.platform.plugins.module_utils.checks.base import (
    PROBE_LABEL,
    Access,
    Check,
    CheckFailed,
    NotYet,
    Service,
    abandoned,
)
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Object
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.rollout import pod_problem
from ansible_collections.mlops.platform.plugins.module_utils.waiting import Waker

EXPECTATIONS = ("open", "refused")
TRIES = 8
"""How often a pod tries until it sees what is expected: what was just applied may need seconds to be enforced."""
SILENCE_SECONDS = 3
"""How long a pod waits for an answer until a connection counts as refused: most policies answer nothing at all."""
GREETING_SECONDS = 0.5
"""How long a server may take to break off a connection that a tunnel could not make in truth."""
END_SECONDS = 90
"""When the cluster ends a pod that nobody removed."""
SHUT_IN = 3
"""How the program ends where its pod reaches nothing at all."""
PROGRAM = f"""
reached() {{ nc -w "$SILENCE" "$1" "$2" -e true; }}
out() {{ reached "$KUBERNETES_SERVICE_HOST" "$KUBERNETES_SERVICE_PORT"; }}
if [ "$EXPECT" = refused ]; then
  out || out || out || out || exit {SHUT_IN}
fi
for try in $(seq "$TRIES"); do
  if reached "$HOST" "$PORT"; then seen=open; else seen=refused; fi
  [ "$seen" = "$EXPECT" ] && exit 0
  sleep 0.5
done
exit 1
"""
"""What the pod does, with busybox: it ends well when it saw what is expected.

Who is to be refused shows first that it can connect at all, to the API server: a new pod may be refused everything for
some seconds, because the network does not know it yet.
"""
HINTS = {
    "open": "does not let it in: either another one does, or the network of this cluster does not enforce "
    "NetworkPolicies; if it cannot, set platform_network_policies_enabled: false",
    "refused": "lets it in: have labels of its namespace been changed, or does a policy of its own forbid it?",
}
"""What there is to say where a policy is there and does not do what it says."""


@dataclass(frozen=True)
class ConnectionCheck(Check):
    """A pod with `labels`, in the namespace `client`, reaches a pod of `service` (`expect: open`), or not (`refused`).

    `client` is the component's own namespace if it is not said, `port` that of the service's pods where it is another
    one than the service leads to. `policy` is the NetworkPolicy, in the service's namespace, that says so: with it the
    check names what is missing. `image` has busybox, `pull_secrets` are the names of the Secrets that it is pulled
    with. Where the cluster chooses the users of pods (`any_user`) the pod names none.
    """

    expect: str
    policy: str
    image: str
    port: int = 0
    client: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    pull_secrets: Sequence[str] = ()
    any_user: bool = False
    beforehand: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.expect not in EXPECTATIONS:
            allowed = ", ".join(EXPECTATIONS)
            raise PlatformError(f"check {self.name!r}: expect is {self.expect!r}; allowed are {allowed}")
        if not isinstance(self.service, Service):
            raise PlatformError(f"check {self.name!r}: service must have a name and a port of this cluster")

    @property
    def target(self) -> str:
        return (
            f"{self.service.name}:{self.port}" if self.port and isinstance(self.service, Service) else str(self.service)
        )

    def run(self, access: Access) -> tuple[object, object]:
        assert isinstance(self.service, Service)
        space = self.service.namespace or access.namespace
        pod, port = access.forwards.endpoint(space, self.service.name, self.service.port)
        port = self.port or port
        found = access.cluster.get("v1", "Pod", pod, space) or {}
        address = (found.get("status") or {}).get("podIP")
        if not address:
            raise NotYet(f"pod {space}/{pod} is gone", "gone", self.expect)
        _see_listening(access, space, pod, port)
        client = self.client or access.namespace
        there = access.cluster.get("networking.k8s.io/v1", "NetworkPolicy", self.policy, space) is not None
        seen = self._seen(access, client, self.manifest(client, str(address), port, TRIES if there else 1))
        policy = f"NetworkPolicy {space}/{self.policy}"
        told = f"a pod in {client} {'reaches' if seen == 'open' else 'does not reach'} {self.target}"
        if not there:
            raise CheckFailed(f"{policy} is not there; {told}", seen, self.expect)
        if seen != self.expect:
            raise CheckFailed(f"{told}, although {policy} {HINTS[seen]}", seen, self.expect)
        return seen, self.expect

    def _seen(self, access: Access, client: str, pod: Object) -> str:
        """What a pod saw that tried to connect; it is removed, like those that a killed run left."""
        cluster, path = access.cluster, access.cluster.resource("v1", "Pod").path(client)
        for item in cluster.list("v1", "Pod", client, f"{PROBE_LABEL}=connection"):
            if abandoned(item):
                cluster.delete("v1", "Pod", item["metadata"]["name"], client)
        name = pod["metadata"]["name"]
        with Waker(cluster, [path], f"{PROBE_LABEL}=connection") as waker:
            try:
                cluster.request("POST", path, body=pod)
            except ApiError as error:
                if not error.status:
                    raise
                raise CheckFailed(f"no pod could be made to try it: {error}", str(error), self.expect) from error
            try:
                return self._result(access, client, name, waker)
            finally:
                cluster.delete("v1", "Pod", name, client)

    def _result(self, access: Access, client: str, name: str, waker: Waker) -> str:
        """How the pod ended: what it saw."""
        other = next(item for item in EXPECTATIONS if item != self.expect)
        while True:
            found = access.cluster.get("v1", "Pod", name, client) or {}
            phase = (found.get("status") or {}).get("phase", "gone")
            if phase == "Succeeded":
                return self.expect
            if phase == "Failed" and SHUT_IN in _exits(found):
                said = "reaches not even the API server: its network does not work, or a policy shuts it in"
                raise NotYet(f"the pod that was to try it, in {client}, {said}", "nothing", self.expect)
            if phase == "Failed":
                return other
            problem = pod_problem(found) if found else None
            said = problem.message if problem else f"pod {name} is {phase}"
            if problem and problem.final:
                raise CheckFailed(f"the pod that was to try it does not start: {said}", phase, self.expect)
            if phase == "gone" or access.left < 1:
                raise NotYet(f"the pod that was to try it has not ended: {said}", phase, self.expect)
            waker.wait(min(2.0, max(access.left, 0.2)))

    def manifest(self, client: str, host: str, port: int, tries: int) -> Object:
        """The pod that tries to connect to `host`, of the Pod Security level `restricted`."""
        values = {
            "HOST": host,
            "PORT": str(port),
            "EXPECT": self.expect,
            "TRIES": str(tries),
            "SILENCE": str(SILENCE_SECONDS),
        }
        container = {
            "name": "try",
            "image": self.image,
            "command": ["sh", "-c", PROGRAM],
            "env": [{"name": key, "value": value} for key, value in values.items()],
            "resources": {"requests": {"cpu": "5m", "memory": "8Mi"}, "limits": {"memory": "32Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
        }
        user = {} if self.any_user else {"runAsUser": 65532, "runAsGroup": 65532}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"connection-probe-{secrets.token_hex(4)}",
                "namespace": client,
                "labels": {**self.labels, PROBE_LABEL: "connection"},
            },
            "spec": {
                "containers": [container],
                "restartPolicy": "Never",
                "activeDeadlineSeconds": END_SECONDS,
                "terminationGracePeriodSeconds": 0,
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "imagePullSecrets": [{"name": name} for name in self.pull_secrets],
                "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, **user},
            },
        }


def _see_listening(access: Access, namespace: str, pod: str, port: int) -> None:
    """See that somebody listens at all, by a way that no policy concerns: from within the pod's own network."""
    tunnel = access.cluster.tunnel(namespace, pod, port)
    with contextlib.closing(tunnel.connection) as connection:
        connection.settimeout(GREETING_SECONDS)
        try:
            ended = connection.recv(1) == b""
        except TimeoutError:
            return  # it waits for what it is asked
        if ended and (error := tunnel.error()):
            cause = "connection refused" if "connection refused" in error else error
            raise NotYet(f"nobody listens at port {port} of pod {namespace}/{pod}: {cause}", "silence", "a listener")


def _exits(pod: Mapping[str, Any]) -> list[int]:
    """How the containers of a pod ended."""
    states = [item.get("state") or {} for item in pod["status"].get("containerStatuses") or []]
    return [state["terminated"]["exitCode"] for state in states if "terminated" in state]
