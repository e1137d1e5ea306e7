"""Nodes with GPUs as those see them who ask for one: three kinds, on a machine that has none."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils import gpu
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster
from ansible_collections.mlops.platform.plugins.module_utils.rollout import conditions

ROOT = Path(__file__).resolve().parents[3]
NAMESPACE = "gpu-nodes"
SECONDS = 60
WHOLE, SHARED, PART = "nvidia.com/gpu", "nvidia.com/gpu.shared", "nvidia.com/mig-1g.5gb"
TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
Made = Callable[..., str]


def playbook(name: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a playbook on the inventory of the scenario, as its user does."""
    program = Path(sys.executable).parent / "ansible-playbook"
    command: list[str | Path] = [program, f"playbooks/{name}", "-i", "molecule/gpu_node/inventory", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def node(cluster: Cluster, name: str) -> dict[str, Any]:
    found = cluster.get("v1", "Node", name)
    assert found is not None
    return found


def offered(cluster: Cluster, name: str) -> dict[str, str]:
    amounts = node(cluster, name)["status"]["allocatable"]
    return {key: value for key, value in amounts.items() if key.startswith("nvidia.com/") and value != "0"}


@pytest.fixture
def image(cluster: Cluster) -> str:
    """An image with a shell, which the cluster has for the helpers of volumes."""
    (found,) = [
        item for item in cluster.list("v1", "ConfigMap", "local-path-storage") if "helperPod.yaml" in item["data"]
    ]
    name = re.search(r"[\w.:/-]+/busybox:[\w.-]+", json.dumps(found["data"]))
    assert name
    return name[0]


@pytest.fixture
def pod(cluster: Cluster, image: str) -> Iterator[Made]:
    """Makes a pod that asks for something, and gives its name."""
    names: list[str] = []

    def made(name: str, limits: dict[str, str], **spec: Any) -> str:
        names.append(name)
        resources = {"limits": {"memory": "8Mi", **limits}}
        box = {"name": "probe", "image": image, "command": ["sh", "-c", "env; sleep 600"], "resources": resources}
        metadata = {"name": name, "namespace": NAMESPACE}
        whole = {
            "terminationGracePeriodSeconds": 0,
            "tolerations": [{"operator": "Exists"}],
            "containers": [box],
            **spec,
        }
        cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": whole})
        return name

    yield made
    for name in names:
        cluster.delete("v1", "Pod", name, NAMESPACE)
    until(lambda: not any(cluster.get("v1", "Pod", name, NAMESPACE) for name in names))


def until(seen: Callable[[], Any]) -> Any:
    """What is seen, as soon as something is."""
    deadline = time.monotonic() + SECONDS
    while not (found := seen()):
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.5)
    return found


def running(cluster: Cluster, name: str) -> dict[str, Any]:
    def seen() -> dict[str, Any] | None:
        found = cluster.get("v1", "Pod", name, NAMESPACE)
        return found if found and found["status"].get("phase") == "Running" else None

    found: dict[str, Any] = until(seen)
    return found


def device(cluster: Cluster, name: str) -> str:
    """The device that a running pod was given."""

    def seen() -> str:
        lines = cluster.last_lines(running(cluster, name), "probe", 200)
        return next((line.partition("=")[2] for line in lines if line.startswith("NVIDIA_VISIBLE_DEVICES=")), "")

    return str(until(seen))


def test_each_node_is_what_the_inventory_says(cluster: Cluster, checks: Callable[[str], dict[str, Any]]) -> None:
    assert checks("gpu_node") == {
        "rollout": True,
        "nodes offer what the inventory says": True,
        "a pod that asks for a GPU gets one": True,
        "one GPU too many waits": True,
        "a pod that asks for none is kept off": True,
    }
    assert offered(cluster, "node1") == {WHOLE: "2"}
    assert offered(cluster, "node2") == {PART: "2", "nvidia.com/mig-3g.20gb": "1"}
    assert offered(cluster, "node3") == {SHARED: "4"}
    labels = {name: node(cluster, name)["metadata"]["labels"] for name in ("node1", "node2", "node3")}
    assert {name: item[f"{WHOLE}.product"] for name, item in labels.items()} == {
        "node1": "NVIDIA-L4", "node2": "NVIDIA-A100-SXM4-40GB", "node3": "Tesla-T4",
    }  # fmt: skip
    assert labels["node2"]["nvidia.com/mig.strategy"] == "mixed"
    assert [item.get("workload-type") for item in labels.values()] == [None, "inference", "inference"]
    assert TAINT not in node(cluster, "node1")["spec"].get("taints", [])
    assert [node(cluster, name)["spec"]["taints"] for name in ("node2", "node3")] == [[TAINT], [TAINT]]


def test_what_is_divided_has_a_device_each(cluster: Cluster, pod: Made) -> None:
    devices = {device(cluster, pod(name, {PART: "1"})) for name in ("part-a", "part-b")}
    assert len(devices) == 2
    assert all(name.startswith("MIG-") for name in devices)
    assert {running(cluster, name)["spec"]["nodeName"] for name in ("part-a", "part-b")} == {"node2"}


def test_what_is_shared_is_one_device(cluster: Cluster, pod: Made) -> None:
    devices = {device(cluster, pod(name, {SHARED: "1"})) for name in ("turn-a", "turn-b")}
    assert len(devices) == 1
    greedy = pod("greedy", {SHARED: "2"})
    refused = until(lambda: (cluster.get("v1", "Pod", greedy, NAMESPACE) or {})["status"].get("reason"))
    assert refused == "UnexpectedAdmissionError"


def test_a_quota_is_kept(cluster: Cluster, image: str) -> None:
    def asks(number: int) -> None:
        box = {"name": "probe", "image": image, "resources": {"limits": {"nvidia.com/mig-3g.20gb": number}}}
        metadata = {"name": "large", "namespace": "default"}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [box]}}
        cluster.apply(pod, dry_run=True)

    asks(1)
    with pytest.raises(ApiError, match="exceeded quota: gpus"):
        asks(2)


def test_metrics_say_who_holds_a_gpu(cluster: Cluster, pod: Made) -> None:
    running(cluster, pod("holder", {WHOLE: "1"}))
    (plugin,) = [
        item
        for item in cluster.list("v1", "Pod", NAMESPACE, "app.kubernetes.io/name=device-plugin")
        if item["spec"]["nodeName"] == "node1"
    ]
    tunnel = cluster.tunnel(NAMESPACE, plugin["metadata"]["name"], 9400)
    with contextlib.closing(tunnel.connection) as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    held = [line for line in text.splitlines() if line.startswith("DCGM_FI_DEV_GPU_UTIL{")]
    assert len(held) == 2
    (mine,) = [line for line in held if 'pod="holder"' in line]
    assert 'modelName="NVIDIA-L4"' in mine
    assert mine.endswith(" 60")


def test_one_too_many_waits(cluster: Cluster, pod: Made) -> None:
    name = pod("many", {WHOLE: "3"})

    def reason() -> str:
        found = cluster.get("v1", "Pod", name, NAMESPACE)
        return str(conditions(found or {}).get("PodScheduled", {}).get("message", ""))

    assert f"Insufficient {WHOLE}" in until(reason)


def test_a_node_whose_gpus_are_held_is_not_given_back(cluster: Cluster, pod: Made) -> None:
    running(cluster, pod("holder", {SHARED: "1"}))
    done = playbook("remove-gpu-node.yml", "-e", "node=node3")
    assert done.returncode
    assert "node node3 is not given back: gpu-nodes/holder" in done.stdout
    assert gpu.is_ours(node(cluster, "node3"))


def played(name: str, *options: str) -> None:
    """Run a playbook, which must end well."""
    done = playbook(name, *options)
    assert done.returncode == 0, done.stdout


def test_a_node_is_given_back_as_it_was(cluster: Cluster) -> None:
    """With what somebody had put on it before, and without anything of ours."""
    played("remove-gpu-node.yml", "-e", "node=node3")
    path = cluster.resource("v1", "Node").path(name="node3")
    merge = "application/merge-patch+json"
    theirs = {"key": "nvidia.com/gpu", "value": "theirs", "effect": "NoSchedule"}
    before = {"metadata": {"labels": {"workload-type": "batch"}}, "spec": {"taints": [theirs]}}
    cluster.request("PATCH", path, body=before, content_type=merge)
    was = node(cluster, "node3")
    played("gpu-nodes.yml")
    assert node(cluster, "node3")["metadata"]["labels"]["workload-type"] == "inference"
    assert node(cluster, "node3")["spec"]["taints"] == [TAINT]
    played("remove-gpu-node.yml", "-e", "node=node3")
    now = node(cluster, "node3")
    assert now["metadata"]["labels"] == was["metadata"]["labels"]
    assert now["spec"]["taints"] == [theirs]
    assert gpu.BEFORE not in now["metadata"]["annotations"]
    after = {"metadata": {"labels": {"workload-type": None}}, "spec": {"taints": None}}
    cluster.request("PATCH", path, body=after, content_type=merge)


def test_nothing_is_left_when_the_last_one_is_given_back(cluster: Cluster) -> None:
    given_back = {"gpu_node_given_back": ["node1", "node2", "node3"], "node": "node1"}
    played("remove-gpu-node.yml", "-e", json.dumps(given_back))
    for name in ("node1", "node2", "node3"):
        metadata = node(cluster, name)["metadata"]
        assert [key for key in metadata["labels"] if key.startswith(("nvidia.com/", "mlops.platform/"))] == []
        assert gpu.BEFORE not in metadata["annotations"]
    assert cluster.get("v1", "Namespace", NAMESPACE) is None
