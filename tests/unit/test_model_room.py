"""Whether a model that asks for a GPU is refused before anything is touched, and for which reason."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.manifests import SPEC_HASH
from ansible_collections.mlops.platform.plugins.module_utils.models.inference_service import Serving, Settings
from ansible_collections.mlops.platform.plugins.module_utils.models.room import refuse_homeless
from kube import Kube

TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
SERVING = Serving(
    gpu_node_selector={"workload-type": "inference"},
    gpu_tolerations=({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},),
    resources={"requests": {"cpu": "1", "memory": "1Gi"}},
)
IRIS = Settings("iris", gpu=True)


def wanted(mark: str) -> list[dict[str, Any]]:
    return [{"kind": "InferenceService", "metadata": {"annotations": {SPEC_HASH: mark}}}, {"kind": "ConfigMap"}]


def said(kube: Kube, settings: Settings = IRIS, serving: Serving = SERVING, present: Any = None) -> str:
    try:
        refuse_homeless(kube.cluster, settings, serving, present, wanted("new"))
    except PlatformError as error:
        return str(error)
    return ""


@pytest.fixture
def kube() -> Kube:
    found = Kube()
    found.node("plain")
    found.node(
        "gpu", {"nvidia.com/gpu": "2"}, metadata={"labels": {"workload-type": "inference"}}, spec={"taints": [TAINT]}
    )
    return found


def test_with_a_free_gpu_it_goes_on(kube: Kube) -> None:
    kube.pod("other", "gpu", {"nvidia.com/gpu": "1"})
    assert said(kube) == ""
    assert said(kube, Settings("iris")) == ""


def test_who_holds_the_gpus_is_named(kube: Kube) -> None:
    for name in ("a", "b"):
        kube.pod(name, "gpu", {"nvidia.com/gpu": "1"})
    assert said(kube) == (
        "iris was not deployed, nothing was touched: it needs 1 times 1 nvidia.com/gpu; 0 of 2 are free on gpu, "
        "held by models/a, models/b"
    )
    # A pod that has ended holds nothing.
    kube.pods["a"]["status"]["phase"] = "Failed"
    assert said(kube) == ""


def test_each_pod_needs_its_own(kube: Kube) -> None:
    assert said(kube, Settings("iris", gpu=True, min_replicas=2)) == ""
    assert "it needs 3 times 1 nvidia.com/gpu; 2 of 2 are free" in said(
        kube, Settings("iris", gpu=True, min_replicas=3)
    )
    # One that may go to nothing has a pod at its beginning.
    kube.pod("a", "gpu", {"nvidia.com/gpu": "2"})
    assert "it needs 1 times 1 nvidia.com/gpu" in said(kube, Settings("iris", gpu=True, min_replicas=0))


def test_other_resources_are_told_where_gpus_are_free(kube: Kube) -> None:
    kube.pod("large", "gpu", {"memory": "63.5Gi"})
    assert "gpu has room for 0: free are" in said(kube)
    assert "0.50 GiB of memory" in said(kube)


def test_no_node_that_would_do(kube: Kube) -> None:
    kube.nodes["gpu"]["spec"]["taints"].append({"key": "other", "effect": "NoExecute"})
    assert said(kube).endswith(
        "no node has workload-type=inference and only taints that it tolerates (kserve_gpu_node_selector, "
        "kserve_gpu_tolerations)"
    )


def test_nobody_knows_where_nodes_come_on_demand(kube: Kube) -> None:
    kube.nodes.clear()
    assert said(kube)
    assert said(kube, serving=Serving(**{**SERVING.__dict__, "room_checked": False})) == ""


def test_what_is_served_already_needs_no_further_gpu(kube: Kube) -> None:
    kube.pod("iris-predictor", "gpu", {"nvidia.com/gpu": "2"})
    same = {"metadata": {"annotations": {SPEC_HASH: "new"}}}
    assert said(kube, present=same) == ""
    other = {"metadata": {"annotations": {SPEC_HASH: "old"}}}
    assert "held by models/iris-predictor" in said(kube, present=other)
