"""Objects of other projects: selected, adapted and patched, and read from YAML once."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils import upstream
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.manifests import Manifest, title
from ansible_collections.mlops.platform.plugins.module_utils.upstream import UPSTREAM, Upstream, merge, patch, read
from go_proxy import Machine

MODULE, VERSION = "example.org/web", "v1.2.0"
CONFIG = """
apiVersion: v1
kind: Namespace
metadata: {name: web-system}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: config-a, namespace: web-system}
data: {sidecar: ko://example.org/web/sidecar, note: ko://example.org/web/sidecar is replaced, day: "2020-01-01"}
---
# nothing here
---
apiVersion: v1
kind: ConfigMap
metadata: {name: config-b, namespace: web-system, labels: {app.kubernetes.io/version: devel, a: b}}
data: {since: 2020-01-01}
"""
HOOK = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: web, annotations: {cert-manager.io/inject-ca-from: web-system/cert}}
webhooks:
- name: web.example.org
  clientConfig: {service: {name: web, namespace: web-system}}
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: web-system}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: cert, namespace: web-system}
spec: {dnsNames: [web.web-system.svc, web.web-system.svc.cluster.local, web-system.example.org]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: web}
subjects: [{kind: ServiceAccount, name: web, namespace: web-system}, {kind: User, name: web-system}]
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine for which the module is published."""
    made = Machine(tmp_path, monkeypatch)
    made.publish(
        MODULE,
        VERSION,
        {"config/core/a.yaml": CONFIG, "config/core/deep/er/hook.yaml": HOOK, "config/b.yaml": "- no manifest"},
    )
    return made


def objects(machine: Machine, **wanted: Any) -> list[Manifest]:
    """What a component gets; all of config/core where nothing else is said."""
    raw = {"module": MODULE, "lock": "own", "files": ["config/core/**/*.yaml"], **wanted}
    return read(Upstream.parse(raw, "web"), machine.folder, machine.said.append, locks=machine.locks)


def test_objects_come_in_order_and_say_where_from(machine: Machine) -> None:
    found = objects(machine)
    assert [title(item) for item in found] == [
        "ConfigMap web-system/config-a", "ConfigMap web-system/config-b", "ValidatingWebhookConfiguration web",
        "Certificate web-system/cert", "ClusterRoleBinding web",
    ], "namespaces are the engine's"  # fmt: skip
    assert {item["metadata"]["annotations"][UPSTREAM] for item in found} == {f"{MODULE}@{VERSION}"}
    assert found[1]["data"] == {"since": "2020-01-01"}, "a date is a text"
    assert found[1]["metadata"]["labels"] == {"a": "b"}, "the version is the component's"


def test_yaml_is_parsed_once(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    first = objects(machine)
    assert machine.said == [f"downloads {MODULE}@{VERSION}", f"reads 2 files of {MODULE}@{VERSION}"]
    monkeypatch.setattr(upstream, "parse", None)
    machine.proxy("off")
    assert objects(machine) == first
    assert len(objects(machine, without=["ConfigMap"])) == 3
    assert len(machine.said) == 2
    with pytest.raises(PlatformError, match="cannot be had"):
        objects(machine, files=["config/core/a.yaml"])


def test_another_content_under_the_same_version_is_not_taken_from_before(machine: Machine) -> None:
    objects(machine)
    machine.publish(MODULE, VERSION, {"config/core/b.yaml": CONFIG})
    assert len(objects(machine)) == 2


def _read(machine: Machine) -> list[str]:
    return [title(item) for item in objects(machine)]


def test_processes_that_want_the_same_module_do_not_disturb_each_other(machine: Machine) -> None:
    machine.said = []
    with multiprocessing.get_context("fork").Pool(4) as pool:
        machine._monkeypatch = None  # type: ignore[assignment]  # (not for other processes)
        assert len({tuple(titles) for titles in pool.map(_read, [machine] * 8)}) == 1
    (folder,) = machine.folder.glob("modules/*/*")
    assert [path.suffix for path in folder.iterdir() if path.name != "lock"] == [".jsonl"]


@pytest.mark.parametrize(
    ("wanted", "kinds"),
    [
        ({"leave_out": ["config/core/deep/**"]}, {"ConfigMap"}),
        ({"files": ["config/core/*.yaml"]}, {"ConfigMap"}),
        ({"files": ["config/core/*.yaml", "config/core/a.yaml"]}, {"ConfigMap"}),
        ({"without": ["ConfigMap *-b", "Certificate", "ClusterRoleBinding web"]},
         {"ConfigMap", "ValidatingWebhookConfiguration"}),
    ],
)  # fmt: skip
def test_what_is_selected(machine: Machine, wanted: dict[str, Any], kinds: set[str]) -> None:
    assert {item["kind"] for item in objects(machine, **wanted)} == kinds


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"files": []}, "component_spec of web: upstream 'example.org/web': files is empty"),
        ({"file": []}, "unknown key 'file'; allowed are files, images, leave_out"),
        ({"files": ["config/core/c.yaml"]}, r"no file matches 'config/core/c.yaml' \(files\); did you mean config"),
        ({"leave_out": ["x"]}, r"no file matches 'x' \(leave_out\)"),
        ({"without": ["ConfigMap config-c"]}, r"no object is 'ConfigMap config-c' \(without\)"),
        ({"images": {"ko://other": "x"}}, "'ko://other' is in none of the objects"),
        ({"namespaces": {"other": "x"}}, "'other' is in none of the objects"),
        ({"files": ["config/b.yaml"]}, "web@v1.2.0/config/b.yaml, document 1: a manifest must be a mapping"),
    ],
)  # fmt: skip
def test_what_means_nothing_is_refused(machine: Machine, wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(PlatformError, match=message):
        objects(machine, **wanted)


def test_namespaces_are_renamed_wherever_objects_refer_to_them(machine: Machine) -> None:
    found = {item["kind"]: item for item in objects(machine, namespaces={"web-system": "ours"})}
    assert found["ConfigMap"]["metadata"]["namespace"] == "ours"
    hook = found["ValidatingWebhookConfiguration"]
    assert hook["metadata"]["annotations"]["cert-manager.io/inject-ca-from"] == "ours/cert"
    assert hook["webhooks"][0]["clientConfig"]["service"] == {"name": "web", "namespace": "ours"}
    assert hook["webhooks"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "ours"}
    names = found["Certificate"]["spec"]["dnsNames"]
    assert names == ["web.ours.svc", "web.ours.svc.cluster.local", "web-system.example.org"]
    subjects = found["ClusterRoleBinding"]["subjects"]
    assert [subject.get("namespace", subject["name"]) for subject in subjects] == ["ours", "web-system"]


def test_images_are_whole_texts(machine: Machine) -> None:
    (config, *_) = objects(machine, images={"ko://example.org/web/sidecar": "registry/sidecar:1"})
    assert config["data"]["sidecar"] == "registry/sidecar:1"
    assert config["data"]["note"] == "ko://example.org/web/sidecar is replaced"


@pytest.mark.parametrize(
    ("base", "change", "result"),
    [
        ({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 4, "e": 5}}, {"a": 1, "b": {"c": 4, "d": 3, "e": 5}}),
        ({"a": 1, "b": 2}, {"b": None, "c": None}, {"a": 1}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ([{"name": "a", "x": 1}, {"name": "b"}], [{"name": "c"}, {"name": "a", "y": 2}],
         [{"name": "a", "x": 1, "y": 2}, {"name": "b"}, {"name": "c"}]),
        ([{"name": "a"}, {"name": "b"}], [{"name": "a", "$patch": "delete"}], [{"name": "b"}]),
        ([{"name": "a", "p": 1}, {"name": "a", "p": 2}], [{"name": "a", "p": 3}], [{"name": "a", "p": 3}]),
        ([{"name": "a"}], [], []),
        ({}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
    ],
)  # fmt: skip
def test_patches_merge(base: Any, change: Any, result: Any) -> None:
    before = json.dumps(base)
    assert merge(base, change) == result
    assert json.dumps(base) == before, "what was read is not touched"


def make(name: str, namespace: str = "", **fields: Any) -> Manifest:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, **fields}


def test_a_patch_changes_the_object_that_it_names() -> None:
    given = [make("a", "x", spec={"replicas": 1, "paused": True}), make("b", "x"), make("b", "y")]
    patched = patch(given, [make("a", spec={"replicas": 2}), make("b", "y", spec={})], "component_spec of web")
    assert patched == [make("a", "x", spec={"replicas": 2, "paused": True}), make("b", "x"), make("b", "y", spec={})]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (make("c"), "spec of web: the patch of Deployment c: no such upstream object; there are Deployment x/b"),
        (make("b", "z"), "the patch of Deployment z/b: no such upstream object"),
        (make("b"), "the patch of Deployment b: several upstream objects have this name: give its namespace"),
    ],
)  # fmt: skip
def test_a_patch_of_nothing_is_refused(change: Manifest, message: str) -> None:
    with pytest.raises(PlatformError, match=message):
        patch([make("b", "x"), make("b", "y")], [change], "component_spec of web")
