"""A cluster in memory, as far as checks and steps of nodes and pods ask it: objects by kind, patched and scheduled."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any, cast

from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster, Resource

Objects = list[dict[str, Any]]
Lines = list[str]
PLURALS = {"Node": "nodes", "Pod": "pods"}


def merged(target: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    found = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found


class Kube:
    """Nodes and pods. `scheduler` is given each new pod and does with it what a cluster would.

    `asked` are the limits of those pods, `conflicts` is how many writes come too late.
    """

    def __init__(self, scheduler: Callable[[dict[str, Any]], None] = lambda _: None) -> None:
        self.nodes: dict[str, dict[str, Any]] = {}
        self.pods: dict[str, dict[str, Any]] = {}
        self.scheduler = scheduler
        self.logs: dict[str, list[str]] = {}
        self.conflicts = 0
        self.asked: list[dict[str, str]] = []
        self.removed: list[str] = []
        self._versions = itertools.count(1)

    @property
    def cluster(self) -> Cluster:
        """Itself, as those see it who ask a cluster."""
        return cast(Cluster, self)

    def node(self, name: str, allocatable: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
        """Let there be a node."""
        metadata = {"name": name, "resourceVersion": str(next(self._versions)), "labels": {}, "annotations": {}}
        amounts = {"cpu": "8", "memory": "64Gi", "pods": "110", **(allocatable or {})}
        made = {"metadata": metadata, "spec": {}, "status": {"allocatable": amounts}}
        self.nodes[name] = merged(made, more)
        return self.nodes[name]

    def pod(self, name: str, node: str, limits: dict[str, str], namespace: str = "models") -> None:
        """Let a pod run on a node."""
        spec = {"nodeName": node, "containers": [{"name": "c", "resources": {"limits": limits}}]}
        metadata = {"name": name, "namespace": namespace}
        self.pods[name] = {"metadata": metadata, "spec": spec, "status": {"phase": "Running"}}

    def resource(self, api_version: str, kind: str) -> Resource:
        return Resource(api_version, kind, PLURALS[kind], kind != "Node")

    def list(self, _: str, kind: str, namespace: str | None = None, selector: str = "") -> Objects:
        found = list((self.nodes if kind == "Node" else self.pods).values())
        label = selector.partition("=")[0]
        return [
            item
            for item in found
            if (not namespace or item["metadata"].get("namespace") == namespace)
            and (not label or label in (item["metadata"].get("labels") or {}))
        ]

    def get(self, _: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        return (self.nodes if kind == "Node" else self.pods).get(name)

    def apply(self, manifest: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = json.loads(json.dumps(manifest))
        made["status"] = {"phase": "Pending"}
        made["metadata"]["creationTimestamp"] = "2099-01-01T00:00:00Z"
        self.pods[made["metadata"]["name"]] = made
        self.asked += [box["resources"]["limits"] for box in made["spec"]["containers"]]
        self.scheduler(made)
        return made

    def delete(self, _: str, kind: str, name: str, namespace: str | None = None) -> bool:
        self.removed.append(name)
        return self.pods.pop(name, None) is not None

    def last_lines(self, pod: dict[str, Any], container: str, lines: int = 15, since: int = 0) -> Lines:
        return self.logs.get(pod["metadata"]["name"], self.logs.get("", []))

    def watch(self, *_: Any) -> Iterator[Any]:
        raise ApiError("nothing is watched here", 0)

    def request(self, method: str, path: str, *, body: Any = None, content_type: str = "") -> Any:
        name = path.rpartition("/")[2]
        node = self.nodes[name]
        if method == "PATCH":
            assert content_type == "application/merge-patch+json"
            if self.conflicts:
                self.conflicts -= 1
                raise ApiError("the object has been modified", 409)
            assert body["metadata"]["resourceVersion"] == node["metadata"]["resourceVersion"]
            node = self.nodes[name] = merged(node, body)
            node["metadata"]["resourceVersion"] = str(next(self._versions))
        return json.loads(json.dumps(node))
