"""Nodes with GPUs as an inventory describes them: what they offer and are called, what they were before."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.mlops.platform.plugins.filter.gpu_nodes import FilterModule
from ansible_collections.mlops.platform.plugins.module_utils import gpu
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access, Service
from ansible_collections.mlops.platform.plugins.module_utils.configure.gpu import GpuNodesStep
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.gpu import GpuNode
from kube import Kube, merged

TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
PARTS = {"1g.5gb": 2, "3g.20gb": 1}


def node(**changes: Any) -> GpuNode:
    return GpuNode(**{"name": "a", "product": "NVIDIA-A100-SXM4-40GB", "count": 8, "memory_mib": 40960, **changes})


@pytest.mark.parametrize(
    ("changes", "resources"),
    [
        ({}, {"nvidia.com/gpu": 8}),
        ({"mig_profiles": PARTS}, {"nvidia.com/gpu": 8}),
        ({"mig_strategy": "mixed", "mig_profiles": PARTS}, {"nvidia.com/mig-1g.5gb": 16, "nvidia.com/mig-3g.20gb": 8}),
        ({"mig_strategy": "single", "mig_profiles": {"1g.5gb": 7}}, {"nvidia.com/gpu": 56}),
        ({"mig_strategy": "mixed", "mig_profiles": {"1g.5gb+me": 1}}, {"nvidia.com/mig-1g.5gb.me": 8}),
        ({"time_slicing_replicas": 4}, {"nvidia.com/gpu": 32}),
        ({"time_slicing_replicas": 4, "time_slicing_renamed": True}, {"nvidia.com/gpu.shared": 32}),
        (
            {"mig_strategy": "mixed", "mig_profiles": {"1g.5gb": 7}, "time_slicing_replicas": 2},
            {"nvidia.com/mig-1g.5gb": 112},
        ),
    ],
)
def test_what_a_node_offers(changes: dict[str, Any], resources: dict[str, int]) -> None:
    assert node(**changes).resources == resources


def test_labels_are_those_of_feature_discovery() -> None:
    mixed = node(mig_strategy="mixed", mig_profiles=PARTS, labels={"workload-type": "inference"}).all_labels
    assert mixed.pop(gpu.KIND_LABEL).startswith("nvidia-a100-sxm4-40gb-")
    assert mixed == {
        "nvidia.com/gpu.present": "true", "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB",
        "nvidia.com/gpu.count": "8", "nvidia.com/gpu.memory": "40960", "nvidia.com/gpu.replicas": "1",
        "nvidia.com/gpu.sharing-strategy": "none", "nvidia.com/mig.strategy": "mixed",
        "nvidia.com/mig-1g.5gb.count": "16", "nvidia.com/mig-1g.5gb.memory": "5120",
        "nvidia.com/mig-3g.20gb.count": "8", "nvidia.com/mig-3g.20gb.memory": "20480",
        "workload-type": "inference",
    }  # fmt: skip
    single = node(mig_strategy="single", mig_profiles={"1g.5gb": 7}).all_labels
    told = [single[f"nvidia.com/gpu.{key}"] for key in ("product", "count", "memory")]
    assert told == ["NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "56", "5120"]
    shared = node(time_slicing_replicas=4).all_labels
    assert shared["nvidia.com/gpu.product"].endswith("-SHARED")
    renamed = node(time_slicing_replicas=4, time_slicing_renamed=True).all_labels
    assert not renamed["nvidia.com/gpu.product"].endswith("-SHARED")


def test_a_kind_is_what_one_configuration_is_for() -> None:
    assert node().kind == node(name="b", count=4, taints=(TAINT,)).kind
    assert node().kind != node(time_slicing_replicas=2).kind
    simulated = {"device_plugin": "simulated"}
    assert node(**simulated).kind == node(name="b", **simulated).kind
    assert node(**simulated).kind != node(count=4, **simulated).kind
    assert len(node(product="x" * 63).kind) <= 63


def test_the_configuration_is_that_of_the_device_plugin() -> None:
    assert node().plugin_config == {"version": "v1", "flags": {"migStrategy": "none", "failOnInitError": True}}
    shared = node(mig_strategy="mixed", mig_profiles={"1g.5gb": 7}, time_slicing_replicas=3).plugin_config["sharing"]
    assert shared["timeSlicing"]["resources"] == [{"name": "nvidia.com/mig-1g.5gb", "replicas": 3}]


def test_a_profile_that_is_none_is_named() -> None:
    with pytest.raises(PlatformError, match=r"'9g.5gb' is no MIG profile; allowed is one such as 1g.5gb"):
        gpu.profile_memory("9g.5gb")


def test_hosts_have_their_own_variables_and_the_defaults() -> None:
    (filter_,) = FilterModule().filters().values()
    hostvars = {"one": {"gpu_node_count": 2, "gpu_node_name": "one.example.org"}, "two": {}}
    defaults = {"product": "Tesla-T4", "count": 1, "memory_mib": 15360}
    found = filter_(["one", "two"], hostvars, defaults)
    assert [(item["name"], item["count"]) for item in found] == [("one.example.org", 2), ("two", 1)]
    with pytest.raises(AnsibleFilterError, match="'two' is the node of several hosts"):
        filter_(["two", "three"], {**hostvars, "three": {"gpu_node_name": "two"}}, defaults)


OTHERS = {"key": "dedicated", "value": "ml", "effect": "NoSchedule"}
THEIRS = {"key": "nvidia.com/gpu", "value": "theirs", "effect": "NoSchedule"}


def test_a_node_becomes_what_is_said_and_is_given_back_as_it_was() -> None:
    kube = Kube()
    before = kube.node(
        "a", metadata={"labels": {"workload-type": "batch", "zone": "x"}}, spec={"taints": [THEIRS, OTHERS]}
    )
    wanted = {"workload-type": "inference", "nvidia.com/gpu.count": "8"}
    now = merged(before, gpu.become(before, wanted, [TAINT]))
    assert now["metadata"]["labels"] == {"zone": "x", **wanted}
    assert now["spec"]["taints"] == [TAINT, OTHERS]
    assert gpu.become(now, wanted, [TAINT]) == {}
    # What is not asked for any more is as it was; what is asked for later is remembered, too.
    later = merged(now, gpu.become(now, {"zone": "y"}, []))
    assert later["metadata"]["labels"] == {"workload-type": "batch", "zone": "y"}
    assert later["spec"]["taints"] == [THEIRS, OTHERS]
    for state in (now, later):
        after = merged(state, gpu.give_back(state))
        assert after["metadata"]["labels"] == before["metadata"]["labels"]
        assert after["spec"]["taints"] == before["spec"]["taints"]
        assert gpu.BEFORE not in after["metadata"]["annotations"]
        assert gpu.give_back(after) == {}


def test_what_others_put_on_it_meanwhile_stays() -> None:
    first = Kube().node("a")
    now = merged(first, gpu.become(first, {"workload-type": "inference"}, [TAINT]))
    now = merged(now, {"metadata": {"labels": {"new": "1"}}, "spec": {"taints": [TAINT, OTHERS]}})
    assert gpu.become(now, {"workload-type": "inference"}, [TAINT]) == {}
    after = merged(now, gpu.give_back(now))
    assert (after["metadata"]["labels"], after["spec"]["taints"]) == ({"new": "1"}, [OTHERS])


def test_the_time_of_a_taint_is_no_difference() -> None:
    evicting = {**TAINT, "effect": "NoExecute"}
    first = Kube().node("a")
    now = merged(first, gpu.become(first, {}, [evicting]))
    now["spec"]["taints"][0]["timeAdded"] = "2026-01-01T00:00:00Z"
    assert gpu.become(now, {}, [evicting]) == {}


def step(*nodes: GpuNode) -> GpuNodesStep:
    return GpuNodesStep(Service("gpu-metrics", 9400), tuple(item.described() for item in nodes))


def access(kube: Kube) -> Access:
    return Access(kube.cluster, None, "gpu-nodes")  # type: ignore[arg-type]


def test_nodes_change_once() -> None:
    kube = Kube()
    kube.node("a")
    kube.conflicts = 2  # others write to it, too
    (said,) = step(node(taints=(TAINT,))).apply(access(kube), check_mode=False)
    assert said == "node a has the labels and taints of NVIDIA-A100-SXM4-40GB"
    assert kube.nodes["a"]["spec"]["taints"] == [TAINT]
    assert step(node(taints=(TAINT,))).apply(access(kube), check_mode=False) == []
    assert step().apply(access(kube), check_mode=True) == ["node a is as it was before"]
    assert gpu.is_ours(kube.nodes["a"])
    assert step().apply(access(kube), check_mode=False) == ["node a is as it was before"]
    assert "taints" not in kube.nodes["a"]["spec"] or kube.nodes["a"]["spec"]["taints"] == []
    assert step().apply(access(kube), check_mode=False) == []


def test_a_node_that_is_not_there_is_named_and_nothing_is_touched() -> None:
    kube = Kube()
    kube.node("a")
    with pytest.raises(PlatformError, match="there is no node 'b' in the cluster; its nodes are a"):
        step(node(), node(name="b")).apply(access(kube), check_mode=False)
    assert not gpu.is_ours(kube.nodes["a"])


def test_a_node_whose_gpus_are_held_is_not_given_back() -> None:
    kube = Kube()
    kube.node("a")
    step(node()).apply(access(kube), check_mode=False)
    kube.pod("iris", "a", {"nvidia.com/gpu": "1"})
    kube.pod("mlflow", "a", {"memory": "1Gi"})
    with pytest.raises(PlatformError, match="node a is not given back: models/iris hold its GPUs"):
        step().apply(access(kube), check_mode=False)
    kube.pods["iris"]["status"]["phase"] = "Succeeded"
    assert step().apply(access(kube), check_mode=False) == ["node a is as it was before"]


def test_what_is_described_is_plain_data() -> None:
    found = node(mig_strategy="mixed", mig_profiles=PARTS, taints=(TAINT,)).described()
    assert json.loads(json.dumps(found)) == found
