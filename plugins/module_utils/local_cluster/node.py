# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first grants in a new cluster, and its node."""

from __future__ import annotations

import tempfile
import time
import urllib.error
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster import pki, probes

BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
EMERGENCY = pki.Identity(authority="", common_name="platform-bootstrap", organization="system:masters")
EMERGENCY_VALID = timedelta(minutes=10)


@dataclass(frozen=True)
class Grant:
    """A cluster role that a user or a group is given."""

    role: str
    kind: str
    subject: str


@dataclass(frozen=True)
class Api:
    """The API server as one identity sees it."""

    server: str
    identity: probes.Identity

    def read(self, path: str) -> Any:
        """The object at `path`, or None where there is none, or where we may not look."""
        try:
            return probes.request(self.server + path, self.identity)
        except urllib.error.HTTPError as error:
            if error.code in (403, 404):
                return None
            raise PlatformError(f"the API server answers {error.code} to GET {path}") from error
        except OSError as error:
            raise PlatformError(f"the API server does not answer: {error}") from error

    def create(self, path: str, document: Mapping[str, Any]) -> None:
        """Create an object."""
        try:
            probes.request(self.server + path, self.identity, method="POST", body=document)
        except urllib.error.HTTPError as error:
            name = document["metadata"]["name"]
            raise PlatformError(f"the API server refuses {name}: {error.read().decode()}") from error


def missing_grants(api: Api, grants: Mapping[str, Grant]) -> dict[str, Grant]:
    """The grants that are not in the cluster."""
    return {name: grant for name, grant in grants.items() if api.read(f"{BINDINGS}/{name}") is None}


def give(api: Api, grants: Mapping[str, Grant], authority_file: Path) -> None:
    """Make cluster role bindings, as a member of system:masters whose certificate lives for this call only."""
    authority = pki.read_pair(authority_file)
    if authority is None:
        raise PlatformError(f"{authority_file} holds no authority")
    pair = pki.issue(EMERGENCY, authority, datetime.now(UTC), EMERGENCY_VALID)
    with tempfile.NamedTemporaryFile(prefix="platform-") as stream:  # ssl reads keys from files only
        stream.write(pair.pem)
        stream.flush()
        master = Api(api.server, probes.Identity(api.identity.authority, Path(stream.name)))
        for name, grant in grants.items():
            if master.read(f"{BINDINGS}/{name}") is None:
                master.create(BINDINGS, binding(name, grant))


def binding(name: str, grant: Grant) -> dict[str, Any]:
    """The ClusterRoleBinding of a grant."""
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": grant.role},
        "subjects": [{"apiGroup": group, "kind": grant.kind, "name": grant.subject}],
    }


def wait_ready(
    api: Api, name: str, *, kubelet: float, cluster: float, seconds: float, say: Callable[[str], None]
) -> float:
    """Wait until the node is ready and says so itself; return the seconds it took.

    `kubelet` and `cluster` are the times (epoch seconds) at which the kubelet and the whole cluster were started.
    """
    began = said = time.monotonic()
    while problem := node_problem(
        api.read(f"/api/v1/nodes/{name}"),
        api.read(f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}"),
        kubelet,
    ) or pods_problem(api.read(f"/api/v1/pods?fieldSelector=spec.nodeName={name}"), cluster):
        now = time.monotonic()
        if now - began > seconds:
            raise PlatformError(f"node {name} is not ready after {seconds:.0f} s: {problem}")
        if now - said > 10:
            said = now
            say(f"waiting {now - began:.0f} s for node {name}: {problem}")
        time.sleep(0.2)
    return time.monotonic() - began


def node_problem(node: Mapping[str, Any] | None, lease: Mapping[str, Any] | None, kubelet: float) -> str:
    """Why a node is not ready, or an empty string. What it said before its kubelet was started does not count."""
    if node is None:
        return "it has not registered yet"
    reported = _epoch(lease["spec"]["renewTime"] if lease else node["metadata"]["creationTimestamp"])
    if reported < int(kubelet):
        return "its kubelet has not reported since it was started"
    for condition in node.get("status", {}).get("conditions", []):
        if condition["type"] == "Ready":
            return "" if condition["status"] == "True" else str(condition.get("message", "not ready"))
    return "it has no Ready condition yet"


def pods_problem(pods: Mapping[str, Any] | None, cluster: float) -> str:
    """Which pod still has the status of before the cluster was started, or an empty string."""
    for pod in (pods or {}).get("items", []):
        for container in pod["status"].get("containerStatuses", []):
            running = container["state"].get("running")
            if running and _epoch(running["startedAt"]) < int(cluster):
                return f"pod {pod['metadata']['name']} has not been looked at since the cluster was started"
    return ""


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
