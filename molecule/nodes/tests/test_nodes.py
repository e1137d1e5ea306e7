"""Several nodes on one machine, from the side of a pod and of clients; also when one is killed, emptied, removed."""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster import drain, mounts
from clients import Edge, Going, Runs, going

ROOT = Path(__file__).resolve().parents[3]
INVENTORIES = [f"--inventory=molecule/{name}" for name in ("inventory", "nodes/inventory")]
SPACE = "nodes-test"
NODES = ("node1", "node2", "node3")
SECONDS = 60
LOST_SECONDS = 90
QUIET_SECONDS = 10
FLOWER = {"features": [[5.1, 3.5, 1.4, 0.2]]}
SERVE = (
    "mkdir -p /tmp/www/cgi-bin && "
    "printf '#!/bin/sh\\nprintf \"Content-Type: text/plain\\\\r\\\\n\\\\r\\\\n\"\\necho $REMOTE_ADDR $HOSTNAME\\n' "
    "> /tmp/www/cgi-bin/who && chmod +x /tmp/www/cgi-bin/who && "
    "trap 'exit 0' TERM; httpd -p 8080 -h /tmp/www; while :; do sleep 1 & wait $!; done"
)


def playbook(name: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a playbook on the inventory of the scenario, as its user does."""
    program = Path(sys.executable).parent / "ansible-playbook"
    command: list[str | Path] = [program, f"playbooks/{name}", *INVENTORIES, *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def until(found: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """What `found` returns as soon as that is something."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, f"nothing came of {found} in {seconds} s"
        time.sleep(0.5)
    return value


@pytest.fixture(scope="module")
def image(cluster: Cluster) -> str:
    """An image with a shell, which the cluster has."""
    found = cluster.get("v1", "ConfigMap", "local-path-provisioner", "local-path-storage")
    assert found
    reference: str = json.loads(found["data"]["helperPod.yaml"])["spec"]["containers"][0]["image"]
    return reference


@pytest.fixture(scope="module")
def space(cluster: Cluster) -> Iterator[str]:
    """A namespace for this module."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    yield SPACE
    cluster.delete("v1", "Namespace", SPACE)


@pytest.fixture(scope="module")
def service(cluster: Cluster, space: str, image: str) -> str:
    """The address of a Service that says who asks; a pod of it is on each of the nodes that were added."""
    labels = {"app": "who"}
    container = {
        "name": "who",
        "image": image,
        "command": ["sh", "-c", SERVE],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": drain.HOSTNAME,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
    }
    added = {"matchExpressions": [{"key": drain.HOSTNAME, "operator": "In", "values": list(NODES[1:])}]}
    pod = {
        "containers": [container],
        "topologySpreadConstraints": [spread],
        "affinity": {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [added]}}
        },
    }
    cluster.apply(
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "who", "namespace": space},
            "spec": {"replicas": 2, "selector": {"matchLabels": labels},
                     "template": {"metadata": {"labels": labels}, "spec": pod}},
        }
    )  # fmt: skip
    made = cluster.apply(
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "who", "namespace": space},
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
        }
    )  # fmt: skip
    until(lambda: len(ready(cluster)) == 2)
    address: str = made["spec"]["clusterIP"]
    return address


@pytest.fixture(scope="module")
def edge(address: str, variables: dict[str, Any]) -> Edge:
    """The edge, which has a pod on each of two nodes."""
    authority = Path(os.environ["MLOPS_PLATFORM_REPORTS"]) / "latest" / "platform-ca.crt"
    return Edge(address, variables["gateway_https_node_port"], str(authority))


@pytest.fixture(scope="module")
def runs(edge: Edge, secret: Callable[[str], dict[str, str]]) -> Runs:
    """A client that logs runs."""
    return Runs.of(edge, secret("mlflow-service"), "nodes-test")


@pytest.fixture
def clients(edge: Edge, runs: Runs, service: str) -> Iterator[Going]:
    """Clients of what has two pods, each of which was answered some times before a test begins."""

    def predict() -> None:
        assert edge.ask("model-api", "/predict", FLOWER)["predictions"] == [0]

    with going(runs=runs.log, predictions=predict) as found:
        until(lambda: min(found.served()[name] for name in ("runs", "predictions")) >= 5)
        assert not found.failed(), found.said()
        yield found


def spread(cluster: Cluster) -> list[str]:
    """The nodes besides the first one, those first that have more of the pods that clients are answered by."""
    pods = [pod for space in ("mlops", "envoy-gateway-system") for pod in cluster.list("v1", "Pod", space)]
    names = ("mlflow", "model-api", "platform-proxies")
    at = Counter(pod["spec"]["nodeName"] for pod in pods if pod["metadata"]["name"].startswith(names))
    return sorted(NODES[1:], key=lambda node: -at[node])


def ready(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """The pods of the Service that are ready and stay, by their names."""
    return {
        pod["metadata"]["name"]: pod
        for pod in cluster.list("v1", "Pod", SPACE, "app=who")
        if "deletionTimestamp" not in pod["metadata"]
        and any(item["type"] == "Ready" and item["status"] == "True" for item in pod["status"].get("conditions", []))
    }


def run_pod(cluster: Cluster, image: str, node: str, script: str) -> tuple[str, str]:
    """The address of a pod on a node, and what a script printed in it."""
    name = f"ask-{node}-{time.monotonic_ns()}"
    cluster.apply(
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": SPACE},
            "spec": {"nodeName": node, "restartPolicy": "Never",
                     "containers": [{"name": "ask", "image": image, "command": ["sh", "-c", script]}]},
        }
    )  # fmt: skip

    def done() -> dict[str, Any] | None:
        pod = cluster.get("v1", "Pod", name, SPACE)
        return pod if pod and pod["status"].get("phase") in ("Succeeded", "Failed") else None

    pod = until(done)
    said = str(cluster.request("GET", f"/api/v1/namespaces/{SPACE}/pods/{name}/log"))
    return pod["status"]["podIP"], said


def is_ready(cluster: Cluster, name: str) -> bool:
    node = cluster.get("v1", "Node", name) or {"status": {}}
    return any(item["type"] == "Ready" and item["status"] == "True" for item in node["status"].get("conditions", []))


@pytest.mark.parametrize("node", NODES)
def test_pods_reach_pods_of_other_nodes_as_themselves(cluster: Cluster, service: str, image: str, node: str) -> None:
    ask = f"printf 'GET /cgi-bin/who HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {service} 80 | tail -1"
    script = f"nslookup who.{SPACE}.svc.cluster.local; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do {ask}; done"
    own, said = run_pod(cluster, image, node, script)
    pods = ready(cluster)
    words = [line.split() for line in said.splitlines()]
    answers = {line[1]: line[0] for line in words if len(line) == 2 and line[1] in pods}
    assert f"Address: {service}" in said, "the name resolves"
    assert set(answers) == set(pods), "pods of both nodes answer"
    elsewhere = {name: seen for name, seen in answers.items() if pods[name]["spec"]["nodeName"] != node}
    assert {seen.strip("[]").removeprefix("::ffff:") for seen in elsewhere.values()} == {own}
    part = ipaddress.ip_network(f"10.244.{NODES.index(node)}.0/24")
    assert ipaddress.ip_address(own) in part


def test_a_node_is_emptied_stopped_and_started_and_no_client_notices(
    cluster: Cluster, service: str, clients: Going, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    node = spread(cluster)[0]
    stopped = playbook("stop-node.yml", "-e", f"node={node}")
    assert stopped.returncode == 0, stopped.stdout
    assert node not in {pod["spec"]["nodeName"] for pod in ready(cluster).values()}
    until(lambda: len(ready(cluster)) == 2)
    assert not Path(f"/run/mlops-platform/mlops-test.nodes/{node}").exists()
    again = playbook("start-node.yml", "-e", f"node={node}")
    assert again.returncode == 0, again.stdout
    assert is_ready(cluster, node)
    found = cluster.get("v1", "Node", node)
    assert found
    assert "unschedulable" not in found["spec"]
    with capsys.disabled():
        print(f"while {node} was emptied and stopped: answered {dict(clients.served())}")
    assert not clients.failed(), clients.said()
    assert runs.lost() == []


def test_a_node_that_is_killed_is_replaced_and_comes_again(
    cluster: Cluster, service: str, clients: Going, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    node = spread(cluster)[0]
    before = ready(cluster)
    lost = time.monotonic()
    assert playbook("kill-node.yml", "-e", f"node={node}").returncode == 0
    there = {name for name, pod in before.items() if pod["spec"]["nodeName"] == node}
    until(lambda: not there & set(ready(cluster)) and len(ready(cluster)) == 2, LOST_SECONDS)
    until(lambda: time.monotonic() - max(lost, clients.well_since()) > QUIET_SECONDS, LOST_SECONDS)
    well = max(0.0, clients.well_since() - lost)
    with capsys.disabled():
        print(f"well {well:.0f} s after {node} was killed: answered {dict(clients.served())}")
        print(f"failed {dict(clients.failed())}\n{clients.said()}")
    assert well < LOST_SECONDS
    since = time.monotonic()
    until(lambda: min(clients.served(since)[name] for name in ("runs", "predictions")) > 0)
    started = playbook("start-node.yml", "-e", f"node={node}")
    assert started.returncode == 0, started.stdout
    assert is_ready(cluster, node)
    assert runs.lost() == []


@pytest.mark.parametrize("name", ["node1", "nod3", ""])
def test_what_is_no_node_to_remove_is_refused(name: str) -> None:
    refused = playbook("remove-node.yml", "-e", f"node={name}")
    assert refused.returncode != 0
    assert "node2, node3 (say -e node=...); nothing was touched" in refused.stdout


def test_nodes_that_are_removed_leave_nothing(cluster: Cluster, space: str) -> None:
    cluster.delete("apps/v1", "Deployment", "who", space)
    for name in NODES[1:]:
        removed = playbook("remove-node.yml", "-e", f"node={name}")
        assert removed.returncode == 0, removed.stdout
        assert cluster.get("v1", "Node", name) is None
    assert not Path("/run/mlops-platform/mlops-test.nodes").exists()
    assert not list(Path("/var/lib/mlops-platform/mlops-test/nodes").iterdir())
    assert not [link for link in Path("/sys/class/net").iterdir() if link.name.endswith(("-node2", "-node3"))]
    assert not [group for top in Path("/sys/fs/cgroup").iterdir() for group in top.glob("mlops-platform-mlops-test-*")]
    table = mounts.parse(mounts.MOUNTINFO.read_text(encoding="utf-8"))
    assert not [mount.point for mount in table if "/nodes/" in mount.point]
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout  # noqa: S607
    assert "mlops-test-node" not in rules
