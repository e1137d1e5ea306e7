"""What is sent to the cluster: exactly what is not provably as it was applied."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.compare import changed, differences, mark, remember
from ansible_collections.mlops.platform.plugins.module_utils.manifests import Manifest, identity

DEPLOYMENT: Manifest = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "api", "namespace": "ml", "labels": {"team": "a"}, "annotations": {"note": "b"}},
    "spec": {"replicas": 2},
}
CONFIG: Manifest = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "settings", "namespace": "ml", "labels": {"team": "a"}},
    "data": {"a": "1"},
}


def answered(manifest: Manifest, **metadata: Any) -> dict[str, Any]:
    """What the API server makes of a manifest."""
    made = copy.deepcopy(manifest)
    made["metadata"] |= {"uid": "u-1", "resourceVersion": "100"}
    if manifest["kind"] == "Deployment":
        made["metadata"]["generation"] = 1
    made["metadata"] |= metadata
    return made


def reasons(manifest: Manifest, live: dict[str, Any], applied: Manifest | None = None) -> list[str]:
    """Why `manifest` would be sent when `applied` was answered as it was."""
    key = identity(manifest)
    memory = remember([applied or manifest], {key: answered(applied or manifest)})
    return [item.reason for item in differences([manifest], {key: live} if live else {}, memory)]


@pytest.mark.parametrize("manifest", [DEPLOYMENT, CONFIG], ids=["Deployment", "ConfigMap"])
def test_what_is_as_it_was_applied_is_not_sent(manifest: Manifest) -> None:
    assert reasons(manifest, answered(manifest)) == []


@pytest.mark.parametrize("manifest", [DEPLOYMENT, CONFIG], ids=["Deployment", "ConfigMap"])
def test_what_is_gone_is_sent(manifest: Manifest) -> None:
    assert reasons(manifest, {}) == ["absent"]


@pytest.mark.parametrize("manifest", [DEPLOYMENT, CONFIG], ids=["Deployment", "ConfigMap"])
def test_what_was_made_anew_by_somebody_else_is_sent(manifest: Manifest) -> None:
    assert reasons(manifest, answered(manifest, uid="u-2")) == ["changed in the cluster"]


def test_new_content_is_sent() -> None:
    changed = {**DEPLOYMENT, "spec": {"replicas": 3}}
    assert reasons(changed, answered(DEPLOYMENT), applied=DEPLOYMENT) == ["new content"]


def test_what_no_run_remembers_is_sent() -> None:
    found = differences([CONFIG], {identity(CONFIG): answered(CONFIG)}, {})
    assert [item.reason for item in found] == ["new content"]


@pytest.mark.parametrize(
    ("manifest", "metadata", "sent"),
    [
        # Kinds with a generation: a status or label that somebody adds moves the version alone.
        (DEPLOYMENT, {"resourceVersion": "200"}, False),
        (DEPLOYMENT, {"generation": 2}, True),
        # Kinds without one change only by being written.
        (CONFIG, {"resourceVersion": "200"}, True),
    ],
)
def test_what_was_changed_in_the_cluster_is_sent(manifest: Manifest, metadata: dict[str, Any], sent: bool) -> None:
    assert reasons(manifest, answered(manifest, **metadata)) == (["changed in the cluster"] if sent else [])


@pytest.mark.parametrize(
    ("metadata", "sent"),
    [
        ({"labels": {"team": "b"}}, True),
        ({"labels": None}, True),
        ({"annotations": {}}, True),
        ({"labels": {"team": "a", "added": "by hand"}, "annotations": {"note": "b", "revision": "1"}}, False),
    ],
    ids=["label edited", "labels removed", "annotation removed", "others added"],
)
def test_labels_and_annotations_are_compared_though_no_generation_moves(metadata: dict[str, Any], sent: bool) -> None:
    assert bool(reasons(DEPLOYMENT, answered(DEPLOYMENT, **metadata))) is sent


@pytest.mark.parametrize(
    ("manifest", "metadata", "expected"),
    [
        (DEPLOYMENT, {"resourceVersion": "200"}, False),
        (DEPLOYMENT, {"generation": 2}, True),
        (DEPLOYMENT, {"labels": {"team": "b"}}, True),
        (DEPLOYMENT, {"annotations": None}, True),
        (CONFIG, {}, False),
        (CONFIG, {"resourceVersion": "200"}, True),
        (CONFIG, {"labels": {"added": "a"}}, True),
    ],
)
def test_an_apply_changed_an_object_unless_only_its_status_moved(
    manifest: Manifest, metadata: dict[str, Any], expected: bool
) -> None:
    assert changed(answered(manifest), answered(manifest, **metadata)) is expected


def test_differences_keep_the_order_of_the_manifests() -> None:
    found = differences([CONFIG, DEPLOYMENT], {}, {})
    assert [item.manifest["kind"] for item in found] == ["ConfigMap", "Deployment"]


def test_only_what_the_server_answered_is_remembered() -> None:
    memory = remember([CONFIG, DEPLOYMENT], {identity(CONFIG): answered(CONFIG)})
    assert list(memory) == [identity(CONFIG)]
    assert memory[identity(CONFIG)]["mark"] == mark(answered(CONFIG)) == "u-1:v100"
    assert mark(answered(DEPLOYMENT)) == "u-1:g1"
