"""The nodes of the embedded cluster beside each other: addresses, rules, namespaces, and how they come and go."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster import (
    drain,
    host,
    iptables,
    namespaces,
    nodes,
    worker,
)
from ansible_collections.mlops.platform.plugins.module_utils.process import run
from ansible_collections.mlops.platform.plugins.plugin_utils.local_cluster import host_of

PODS, NODES = "10.244.0.0/16", "10.95.0.0/24"


@pytest.mark.parametrize(
    ("address", "part"),
    [("10.95.0.1", "10.244.0.0/24"), ("10.95.0.2", "10.244.1.0/24"), ("10.95.0.254", "10.244.253.0/24")],
)
def test_a_node_has_the_part_with_its_number(address: str, part: str) -> None:
    assert nodes.pods_of(PODS, 24, NODES, address) == part


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((PODS, 24, NODES, "10.96.0.1"), "local_cluster_node_address is 10.96.0.1.* 10.95.0.1 to 10.95.0.254"),
        ((PODS, 24, NODES, "10.95.0.0"), "local_cluster_node_address is 10.95.0.0"),
        ((PODS, 15, NODES, "10.95.0.2"), "local_cluster_node_pod_prefix is 15: .* have prefixes of 16 to 30"),
        ((PODS, 31, NODES, "10.95.0.2"), "local_cluster_node_pod_prefix is 31"),
        (("10.244.0.0/23", 24, NODES, "10.95.0.3"), "number 3 of its network.* has room for 2 of /24: choose a longer"),
    ],
)
def test_addresses_without_a_part_are_refused(arguments: tuple[str, int, str, str], said: str) -> None:
    with pytest.raises(PlatformError, match=said):
        nodes.pods_of(*arguments)


def node(number: int, **changes: Any) -> nodes.Node:
    own = nodes.Node(f"node{number}", f"10.95.0.{number}", NODES, PODS, 24, 110, {"local_cluster_name": "mlops"})
    return replace(own, **changes)


def test_nodes_that_go_together() -> None:
    assert list(nodes.problems({f"host{number}": node(number) for number in (1, 2, 3)})) == []


def test_what_is_wrong_with_all_nodes_is_said_once() -> None:
    (said,) = nodes.problems({f"host{number}": node(number, pod_prefix=15) for number in (1, 2, 3)})
    assert said.startswith("host host1: local_cluster_node_pod_prefix is 15")


def test_a_node_alone_may_have_any_address() -> None:
    assert list(nodes.problems({"host1": node(1, network="", address="192.0.2.9")})) == []
    assert nodes.pods_of(PODS, 24, "", "192.0.2.9") == "10.244.0.0/24"
    assert nodes.pods_of("10.244.0.0/25", 25, "", "192.0.2.9") == "10.244.0.0/25"
    assert list(nodes.problems({})) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "node1"}, "host b: local_cluster_node_name is node1, which a has, too"),
        ({"address": "10.95.0.1"}, "host b: local_cluster_node_address is 10.95.0.1, which a has, too"),
        (
            {"shared": {"local_cluster_name": "other"}},
            "host b: local_cluster_name is other: the nodes of one cluster share it, and a has mlops",
        ),
        (
            {"max_pods": 254},
            "host b: local_cluster_max_pods is 254: 10.244.1.0/24 has addresses for 253 pods "
            "(local_cluster_node_pod_prefix)",
        ),
    ],
)
def test_what_does_not_go_together_is_one_sentence(changes: dict[str, Any], said: str) -> None:
    assert list(nodes.problems({"a": node(1), "b": node(2, **changes)})) == [said]


SAVED = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
-A FORWARD -j DOCKER-USER
COMMIT
*nat
:POSTROUTING ACCEPT [0:0]
COMMIT
"""


def restored(saved: str, payload: str) -> str:
    """The rules after `iptables-restore --noflush`, as far as rules of this kind are concerned."""
    tables = {table.name: table for table in iptables.parse(saved)}
    name = ""
    for line in payload.splitlines():
        if line.startswith("*"):
            name = line[1:]
        elif line.startswith(("-A ", "-I ")):
            _, chain, rule = line.split(" ", 2)
            tables[name].rules.insert(0 if line[1] == "I" else len(tables[name].rules), (chain, rule))
        elif line.startswith("-D "):
            _, chain, rule = line.split(" ", 2)
            tables[name].rules.remove((chain, rule))
    lines: list[str] = []
    for table in tables.values():
        chains = [f":{chain} {policy} [0:0]" for chain, policy in table.base_chains.items()]
        lines += [f"*{table.name}", *chains, *(f"-A {chain} {rule}" for chain, rule in table.rules), "COMMIT"]
    return "".join(f"{line}\n" for line in lines)


def test_rules_of_a_node_come_once_before_others_and_go_alone() -> None:
    wanted = {name: iptables.passage(name, f"d-{name}", "10.95.0.2", [PODS, NODES]) for name in ("net-a", "net-ab")}
    both = SAVED
    for rules in wanted.values():
        both = restored(both, iptables.missing(both, rules))
    assert both.index("-i d-net-a ") < both.index("DOCKER-USER")
    assert both.index(f"-s 10.95.0.2/32 -d {PODS}") < both.index("MASQUERADE")
    assert [iptables.missing(both, rules) for rules in wanted.values()] == ["", ""]
    one = restored(both, iptables.revocation(both, "net-a"))
    assert "net-ab" in one
    assert iptables.revocation(one, "net-a") == ""
    assert restored(one, iptables.revocation(one, "net-ab")) == SAVED


def described(folder: Path, **changes: Any) -> worker.Worker:
    argument = {
        "state_dir": str(folder / "state/nodes/node2"), "run_dir": str(folder / "run.nodes/node2"),
        "cgroup": "no-such-group", "device": "no-such-device", "address": "10.95.0.2", "network": "net-node2",
        "pod_cidr": "10.244.1.0/24", "service_cidr": "10.96.0.0/16",
        "worker": {"control_plane": "10.95.0.1", "inside": [PODS, NODES], "foreign": [str(folder / "state")],
                   "binds": {"/var/lib/cni": str(folder / "cni")}},
    }  # fmt: skip
    found = host_of(argument | changes)
    assert isinstance(found, worker.Worker)
    return found


def test_a_host_without_more_is_the_control_plane(tmp_path: Path) -> None:
    fields = ("state_dir", "run_dir", "cgroup", "device", "address", "network", "pod_cidr", "service_cidr")
    found = host_of({**dict.fromkeys(fields, "x"), "state_dir": str(tmp_path), "run_dir": "/run/x", "worker": None})
    assert type(found) is host.Host
    assert found.workers_dir == Path("/run/x.nodes")


def test_what_a_node_was_started_as_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "has_device", lambda _: True)
    mine = described(tmp_path)
    assert list(worker.left_over(mine.run_dir.parent)) == []
    assert (mine.prepared, mine.present) == (False, False)
    mine.run_dir.mkdir(parents=True)
    (mine.run_dir / worker.NOTE).write_text(mine._note())
    assert list(worker.left_over(mine.run_dir.parent)) == [mine]
    assert (mine.prepared, mine.outdated) == (True, False)
    assert described(tmp_path, address="10.95.0.3").outdated
    monkeypatch.setattr(worker, "has_device", lambda _: False)
    assert mine.outdated, "nothing leads to it"


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces are root's")
def test_what_is_started_apart_has_its_own_network_and_mounts(tmp_path: Path) -> None:
    seen, own, foreign = tmp_path / "seen", tmp_path / "own", tmp_path / "foreign"

    def look() -> list[str]:
        namespaces.isolate([foreign], {seen: own})
        (seen / "inside").write_text("")
        texts = ("/proc/net/dev", "/proc/self/mountinfo")
        return [run(["cat", text], what="Reading") for text in texts]

    devices, mounted = namespaces.apart(look)
    assert [line.split(":")[0].strip() for line in devices.splitlines() if ":" in line] == ["lo"]
    assert str(seen) in mounted
    assert " nsfs " not in mounted
    assert ((own / "inside").exists(), list(seen.iterdir())) == (True, [])
    assert str(seen) not in Path("/proc/self/mountinfo").read_text(encoding="utf-8")


@dataclass
class Api:
    """An API server that knows nodes and pods, and ends a pod some looks after its eviction."""

    node: dict[str, Any] | None
    pods: list[dict[str, Any]] = field(default_factory=list)
    volumes: list[dict[str, Any]] = field(default_factory=list)
    kept: str = ""
    asked: list[str] = field(default_factory=list)

    def get(self, api_version: str, kind: str, name: str) -> dict[str, Any] | None:
        return self.node

    def list(self, api_version: str, kind: str) -> list[dict[str, Any]]:
        return self.volumes

    def delete(self, api_version: str, kind: str, name: str) -> bool:
        self.asked.append(f"DELETE {kind} {name}")
        return self.node is not None

    def request(self, method: str, path: str, *, query: Any = None, body: Any = None, content_type: str = "") -> Any:
        self.asked.append(f"{method} {path}")
        if method == "GET":
            found = list_copy(self.pods)
            self.pods = [pod for pod in self.pods if "deletionTimestamp" not in pod["metadata"]]
            return {"items": found}
        if path.endswith("/eviction"):
            if self.kept in path and self.kept:
                raise ApiError("its budget needs 1 healthy pod", 429)
            name = path.split("/")[-2]
            (pod,) = [pod for pod in self.pods if pod["metadata"]["name"] == name]
            pod["metadata"]["deletionTimestamp"] = "now"
        if method == "PATCH":
            merge(cast(dict[str, Any], self.node), body)
        return None


def list_copy(values: list[dict[str, Any]]) -> Any:
    return json.loads(json.dumps(values))


def merge(target: dict[str, Any], change: Mapping[str, Any]) -> None:
    """RFC 7386."""
    for key, value in change.items():
        if isinstance(value, Mapping):
            merge(target.setdefault(key, {}), value)
        elif value is None:
            target.pop(key, None)
        else:
            target[key] = value


def pod(name: str, owner: str = "ReplicaSet", phase: str = "Running", **annotations: str) -> dict[str, Any]:
    owners = [{"kind": owner, "controller": True}]
    metadata = {"namespace": "ml", "name": name, "ownerReferences": owners, "annotations": annotations}
    return {"metadata": metadata, "spec": {}, "status": {"phase": phase}}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes without waiting for it."""
    clock = iter(range(10_000))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))


def empty(api: Api, seconds: float = 60) -> list[str]:
    return drain.empty(cast(Cluster, api), "node2", seconds, lambda _: None)


def test_a_node_is_closed_and_opened_by_who_closed_it() -> None:
    api = Api({"metadata": {}, "spec": {}})
    cluster = cast(Cluster, api)
    assert (drain.close(cluster, "node2"), drain.close(cluster, "node2")) == (True, False)
    assert api.node == {"metadata": {"annotations": {drain.STOPPED: "true"}}, "spec": {"unschedulable": True}}
    assert (drain.open_again(cluster, "node2"), drain.open_again(cluster, "node2")) == (True, False)
    assert api.node == {"metadata": {"annotations": {}}, "spec": {}}
    by_somebody = Api({"metadata": {}, "spec": {"unschedulable": True}})
    assert not drain.close(cast(Cluster, by_somebody), "node2")
    assert not drain.open_again(cast(Cluster, by_somebody), "node2")
    assert not drain.close(cast(Cluster, Api(None)), "node2")


@pytest.mark.usefixtures("quick")
def test_all_pods_leave_but_those_that_every_node_has() -> None:
    staying = [pod("agent", "DaemonSet"), pod("done", "Job", "Succeeded"), pod("static", **{drain.MIRROR: "x"})]
    api = Api({}, [pod("a"), pod("b", "StatefulSet"), *staying])
    assert empty(api) == ["ml/a", "ml/b"]
    assert [item["metadata"]["name"] for item in api.pods] == ["agent", "done", "static"]
    assert len([asked for asked in api.asked if asked.endswith("eviction")]) == 2, "each is asked once"
    assert empty(Api({}, [])) == []


@pytest.mark.usefixtures("quick")
def test_a_pod_that_may_not_leave_is_named_with_the_reason() -> None:
    with pytest.raises(PlatformError, match=r"stays closed to new pods: ml/kept \(its budget needs 1 healthy pod\)$"):
        empty(Api({}, [pod("a"), pod("kept")], kept="kept"))


def volume(claim: str, node: str) -> dict[str, Any]:
    terms = [{"matchExpressions": [{"key": drain.HOSTNAME, "operator": "In", "values": [node]}]}]
    reference = {"namespace": "ml", "name": claim} if claim else None
    return {"spec": {"claimRef": reference, "nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}}


def test_volumes_that_are_lost_with_a_node_are_named() -> None:
    shared: dict[str, Any] = {"spec": {"claimRef": {"namespace": "ml", "name": "shared"}}}
    api = Api(
        {}, volumes=[volume("b", "node2"), volume("a", "node2"), volume("c", "node3"), volume("", "node2"), shared]
    )
    assert drain.claims_on(cast(Cluster, api), "node2") == ["ml/a", "ml/b"]


def test_a_node_is_forgotten_before_its_pods() -> None:
    api = Api({}, [pod("agent", "DaemonSet")])
    assert drain.forget(cast(Cluster, api), "node2")
    assert [asked for asked in api.asked if asked.startswith("DELETE")] == [
        "DELETE Node node2",
        "DELETE /api/v1/namespaces/ml/pods/agent",
    ]
