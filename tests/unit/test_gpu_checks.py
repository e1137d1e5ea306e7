"""The checks of nodes with GPUs, on a cluster that does as it is told: what each of them sees."""

from __future__ import annotations

import time
from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access, CheckFailed, NotYet, Service
from ansible_collections.mlops.platform.plugins.module_utils.checks.gpu import (
    GpuAllocatableCheck,
    GpuKeptOffCheck,
    GpuPodCheck,
    GpuTooManyCheck,
)
from kube import Kube

GPU = "nvidia.com/gpu"
NODES = ({"name": "a", "resources": {GPU: 4}, "taints": []},)
COMMON: dict[str, Any] = {"service": Service("gpu-metrics", 9400), "nodes": NODES}
PROBE = {**COMMON, "image": "busybox"}
TAINTED = "0/2 nodes are available: 1 node(s) had untolerated taint {nvidia.com/gpu: present}."


def waits(message: str) -> Any:
    """A scheduler that has no node, and says why."""

    def scheduled(pod: dict[str, Any]) -> None:
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        pod["status"]["conditions"] = [condition]

    return scheduled


def runs(node: str, phase: str = "Succeeded") -> Any:
    """A scheduler that has a node, on which the pod ends."""

    def scheduled(pod: dict[str, Any]) -> None:
        pod["spec"]["nodeName"] = node
        pod["status"]["phase"] = phase

    return scheduled


def tried(check: Any, kube: Kube) -> tuple[Any, Any]:
    found: tuple[Any, Any] = check.run(Access(kube.cluster, None, "gpu-nodes", deadline=time.monotonic() + 2))  # type: ignore[arg-type]
    return found


def clustered(scheduler: Any, offered: str = "4") -> Kube:
    kube = Kube(scheduler)
    kube.node("a", {GPU: offered})
    kube.node("b")
    return kube


def test_what_nodes_offer_is_compared_resource_by_resource() -> None:
    check = GpuAllocatableCheck("offers", **COMMON)
    assert tried(check, clustered(None))[0] == {"a": {GPU: 4}}
    for offered, said in (("3", "a offers 3 nvidia.com/gpu, not 4 nvidia.com/gpu"), ("0", "a offers no GPU, not 4")):
        with pytest.raises(NotYet, match=said):
            tried(check, clustered(None, offered))
    other = clustered(None)
    other.nodes["a"]["status"]["allocatable"]["nvidia.com/mig-1g.5gb"] = "7"
    with pytest.raises(NotYet, match=r"4 nvidia.com/gpu, 7 nvidia.com/mig-1g.5gb, not 4"):
        tried(check, other)


def test_a_pod_gets_a_device_on_a_node_that_has_some() -> None:
    check = GpuPodCheck("runs", **PROBE)
    kube = clustered(runs("a"))
    kube.logs[""] = ["PATH=/bin", "NVIDIA_VISIBLE_DEVICES=GPU-1"]
    observed, expected = tried(check, kube)
    assert (observed, expected) == ({GPU: "on a: GPU-1"}, {GPU: "on a"})
    assert kube.pods == {}
    (name,) = kube.removed
    assert name.startswith("gpu-probe-")


def test_a_pod_that_runs_elsewhere_or_gets_nothing_is_seen() -> None:
    check = GpuPodCheck("runs", **PROBE)
    with pytest.raises(CheckFailed, match=r"a pod that asks for nvidia.com/gpu ran on b"):
        tried(check, clustered(runs("b")))
    with pytest.raises(CheckFailed, match="was given no device"):
        tried(check, clustered(runs("a")))
    real = GpuPodCheck("runs", **{**PROBE, "nodes": ({**NODES[0], "device_plugin": "nvidia"},)})
    kube = clustered(runs("a"))
    kube.logs[""] = ["NVIDIA_VISIBLE_DEVICES=GPU-1", "null", "zero"]
    with pytest.raises(
        CheckFailed, match="sees no /dev/nvidia<number>: the runtime of containerd there is not NVIDIA's"
    ):
        tried(real, kube)
    kube.logs[""].append("nvidia0")
    assert tried(real, kube)[0] == {GPU: "on a: GPU-1"}
    with pytest.raises(CheckFailed, match=r"cannot be scheduled: Insufficient nvidia.com/gpu"):
        tried(check, clustered(waits("Insufficient nvidia.com/gpu")))


def test_where_all_are_held_those_that_hold_them_are_the_proof() -> None:
    check = GpuPodCheck("runs", **PROBE)
    kube = clustered(None)
    for number in range(4):
        kube.pod(f"iris-{number}", "a", {GPU: "1"})
    assert tried(check, kube)[0][GPU] == "all are held by " + ", ".join(f"models/iris-{number}" for number in range(4))
    for pod in kube.pods.values():
        pod["status"]["phase"] = "Pending"
    with pytest.raises(NotYet, match=r"no nvidia.com/gpu is free on a, and no running pod holds one"):
        tried(check, kube)


def test_a_pod_without_a_gpu_is_kept_off_by_a_taint_and_nothing_else() -> None:
    check = GpuKeptOffCheck("kept off", **PROBE)
    assert tried(check, clustered(waits(TAINTED)))[0] == {"a": TAINTED}
    with pytest.raises(CheckFailed, match="a pod that asks for no GPU was put onto a"):
        tried(check, clustered(runs("a", "Running")))
    with pytest.raises(CheckFailed, match="not a taint kept a pod off a: 0/2 nodes are available: 2 Insufficient cpu"):
        tried(check, clustered(waits("0/2 nodes are available: 2 Insufficient cpu.")))


def test_one_too_many_waits_for_that_and_nothing_else() -> None:
    check = GpuTooManyCheck("too many", **PROBE)
    kube = clustered(waits(f"0/2 nodes are available: 2 Insufficient {GPU}."))
    observed, _ = tried(check, kube)
    assert observed[GPU].startswith("Pending with 5: 0/2 nodes are available")
    assert kube.asked == [{"memory": "8Mi", GPU: "5"}]
    with pytest.raises(CheckFailed, match=r"a pod that asks for 5 nvidia.com/gpu was put onto b"):
        tried(check, clustered(runs("b", "Running")))
    with pytest.raises(CheckFailed, match="waits for something else"):
        tried(check, clustered(waits(TAINTED)))
    with pytest.raises(CheckFailed, match="not ready"):
        tried(check, clustered(lambda _: None))
