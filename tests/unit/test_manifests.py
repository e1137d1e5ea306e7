"""Manifests: what is refused, what is stamped on them, and in which order they go."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.manifests import (
    BEFORE_ROLLOUT,
    COMPONENT_LABEL,
    CONFIG_HASH,
    Manifest,
    digest,
    identity,
    is_custom,
    namespace_manifest,
    parse,
    phases,
    references,
    stamp,
    stamp_secrets,
    title,
)

GOOD = "apiVersion: v1\nkind: Service\nmetadata: {name: api}\n"


def make(kind: str, name: str, api: str = "v1", **fields: Any) -> Manifest:
    """A manifest in the namespace `ml`."""
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "ml"}, **fields}


def workload(
    name: str, *, kind: str = "Deployment", volumes: Any = (), container: Any = None, **metadata: Any
) -> Manifest:
    """A workload with one container."""
    pod = {"containers": [{"name": "main", "image": "a:1", **(container or {})}], "volumes": list(volumes)}
    made = make(kind, name, "batch/v1" if kind == "Job" else "apps/v1", spec={"template": {"spec": pod}})
    made["metadata"] |= metadata
    return made


def mounted(name: str) -> list[dict[str, Any]]:
    """The volumes of a pod that mounts a ConfigMap."""
    return [{"name": "config", "configMap": {"name": name}}]


def by_name(manifests: list[Manifest]) -> dict[str, Manifest]:
    return {item["metadata"]["name"]: item for item in manifests}


def config_hash(manifests: list[Manifest], name: str) -> str | None:
    """The hash of its configuration on the pods of a workload."""
    annotations = by_name(manifests)[name]["spec"]["template"]["metadata"].get("annotations", {})
    found: str | None = annotations.get(CONFIG_HASH)
    return found


def test_documents_are_parsed_and_empty_ones_skipped() -> None:
    found = parse(f"---\n---\n{GOOD}---\n# nothing but a comment\n---\n{GOOD.replace('api}', 'other}')}", "a.yml.j2")
    assert [item["metadata"]["name"] for item in found] == ["api", "other"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: [", "a.yml.j2: not valid YAML after rendering"),
        ("- 1\n", "a.yml.j2, document 1: a manifest must be a mapping, not list"),
        (f"{GOOD}---\njust text\n", "a.yml.j2, document 2: a manifest must be a mapping, not str"),
        ("kind: Service\nmetadata: {name: a}\n", "document 1: apiVersion is None"),
        ("apiVersion: v1\nkind: ''\nmetadata: {name: a}\n", "document 1: kind is ''"),
        ("apiVersion: v1\nkind: Service\nmetadata: {}\n", "document 1: metadata.name is None"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: 5}\n", "document 1: metadata.name is 5"),
        ("apiVersion: v1\nkind: Service\nmetadata: text\n", "document 1: metadata.name is None"),
    ],
)
def test_an_error_names_template_document_and_key(text: str, message: str) -> None:
    with pytest.raises(PlatformError) as caught:
        parse(text, "a.yml.j2")
    assert message in str(caught.value)


def test_identity_and_title() -> None:
    deployment = workload("api")
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"}}
    assert identity(deployment) == "apps/Deployment/ml/api"
    assert identity(make("Service", "api")) == "/Service/ml/api"
    assert identity(role) == "rbac.authorization.k8s.io/ClusterRole//r"
    assert (title(deployment), title(role)) == ("Deployment ml/api", "ClusterRole r")


def test_digest_ignores_the_order_of_keys_only() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"b": [1, 2]}) != digest({"b": [2, 1]})


@pytest.mark.parametrize(
    ("api", "custom"),
    [("v1", False), ("apps/v1", False), ("networking.k8s.io/v1", False), ("cert-manager.io/v1", True),
     ("gateway.networking.k8s.io/v1", True), ("serving.kserve.io/v1beta1", True)],
)  # fmt: skip
def test_custom_resources_are_told_by_their_group(api: str, custom: bool) -> None:
    assert is_custom(make("Anything", "a", api)) is custom


def test_labels_are_stamped_on_objects_and_pods_and_own_ones_kept() -> None:
    source = workload("api", labels={"tier": "web", "app.kubernetes.io/version": "own"})
    before = copy.deepcopy(source)
    (made,) = stamp([source], "web", "1.2")
    assert source == before, "stamp() must not change what it is given"
    assert made["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "mlops.platform",
        "app.kubernetes.io/part-of": "mlops-platform",
        "app.kubernetes.io/version": "own",
        COMPONENT_LABEL: "web",
        "tier": "web",
    }
    assert made["spec"]["template"]["metadata"]["labels"] == {COMPONENT_LABEL: "web"}


def test_a_version_alone_does_not_roll_pods() -> None:
    old, new = (stamp([workload("api")], "web", version)[0] for version in ("1", "2"))
    assert old["metadata"]["labels"] != new["metadata"]["labels"]
    assert old["spec"] == new["spec"]


def test_a_changed_configuration_rolls_its_users_only() -> None:
    def render(settings: str) -> list[Manifest]:
        return stamp(
            [
                make("ConfigMap", "settings", data={"a": settings}),
                make("ConfigMap", "other", data={"a": "x"}),
                workload("user", volumes=mounted("settings")),
                workload("neighbour", volumes=mounted("other")),
                workload("stranger", volumes=mounted("of-another-component")),
            ],
            "web",
            "1",
        )

    one, two = render("1"), render("2")
    assert config_hash(one, "user") != config_hash(two, "user")
    assert config_hash(one, "neighbour") == config_hash(two, "neighbour") is not None
    assert config_hash(one, "stranger") is config_hash(two, "stranger") is None


@pytest.mark.parametrize(
    "pod",
    [
        {"volumes": mounted("c")},
        {
            "volumes": [
                {"name": "a", "projected": {"sources": [{"secret": {"name": "s"}}, {"configMap": {"name": "c"}}]}}
            ]
        },
        {"containers": [{"envFrom": [{"secretRef": {"name": "s"}}, {"configMapRef": {"name": "c"}}]}]},
        {"initContainers": [{"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "a"}}}]}]},
    ],
)
def test_every_way_to_use_a_config_map_is_seen(pod: dict[str, Any]) -> None:
    assert references(pod, "configMap") == {"c"}


@pytest.mark.parametrize(
    "pod",
    [
        {"volumes": [{"name": "a", "secret": {"secretName": "s"}}]},
        {
            "volumes": [
                {"name": "a", "projected": {"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": "s"}}]}}
            ]
        },
        {"containers": [{"envFrom": [{"secretRef": {"name": "s"}}]}]},
        {"containers": [{"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "a"}}}]}]},
    ],
)
def test_every_way_to_use_a_secret_is_seen(pod: dict[str, Any]) -> None:
    assert references(pod, "secret") == {"s"}


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_a_secret_that_was_written_anew_rolls_its_users(kind: str) -> None:
    def render(**versions: str) -> tuple[str, Manifest]:
        volumes = [{"name": "key", "secret": {"secretName": "s"}}]
        (made,) = stamp([workload("user", kind=kind, volumes=volumes)], "web", "1")
        made["metadata"]["namespace"] = "ml"
        stamp_secrets([made], {("ml", name): version for name, version in versions.items()} | {("other", "s"): "9"})
        return made["metadata"]["name"], made["spec"]

    assert render(s="1") == render(s="1", stranger="5") != render(s="2")
    assert (render(s="1")[0] != render(s="2")[0]) == (kind == "Job")
    assert "annotations" not in render()[1]["template"]["metadata"]


def test_a_job_is_named_by_what_it_does() -> None:
    def name(**changes: Any) -> str:
        (job,) = stamp([workload("upgrade", kind="Job", container=changes)], "web", "1")
        made: str = job["metadata"]["name"]
        return made

    assert name().startswith("upgrade-")
    assert name() == name(), "the same content has the same name"
    assert name(image="a:2") != name()


def test_a_job_changes_its_name_with_the_configuration_it_mounts() -> None:
    def name(script: str) -> str:
        job = workload("upgrade", kind="Job", volumes=mounted("scripts"))
        made = stamp([job, make("ConfigMap", "scripts", data={"run.py": script})], "web", "1")
        found: str = made[-1]["metadata"]["name"]
        return found

    assert name("print(1)") != name("print(2)")


def test_what_others_refer_to_goes_first() -> None:
    kinds = ["Deployment", "Service", "ConfigMap", "Role", "ServiceAccount", "CustomResourceDefinition", "Namespace"]
    made = stamp([workload("a") if kind == "Deployment" else make(kind, "a") for kind in kinds], "web", "1")
    assert [item["kind"] for item in made] == [
        "Namespace", "CustomResourceDefinition", "ServiceAccount", "Role", "ConfigMap", "Service", "Deployment",
    ]  # fmt: skip


def names(found: list[list[Manifest]]) -> list[list[str]]:
    return [[item["metadata"]["name"] for item in phase] for phase in found]


def parts(*manifests: Manifest) -> tuple[list[list[str]], list[str]]:
    """The names of manifests in their phases; the component's webhooks look at widgets."""
    first, last = phases(manifests, lambda item: item["kind"] == "Widget")
    return names(first), [item["metadata"]["name"] for item in last]


CRD = make("CustomResourceDefinition", "crd", "apiextensions.k8s.io/v1")
CERT = make("Certificate", "cert", "cert-manager.io/v1")
WIDGET = make("Widget", "widget", "example.org/v1")


def test_one_phase_where_nothing_must_wait() -> None:
    assert parts(make("Service", "s"), workload("d"), workload("j", kind="Job"), CERT) == (
        [["s", "cert", "d", "j"]],
        [],
    )
    assert parts() == ([], [])


def test_definitions_come_before_everything_else() -> None:
    assert parts(CERT, CRD, make("Service", "s"), workload("d")) == ([["crd"], ["cert", "s", "d"]], [])


def test_what_the_component_s_webhooks_look_at_comes_after_the_rollout() -> None:
    assert parts(WIDGET, CRD, workload("d")) == ([["crd"], ["d"]], ["widget"])
    assert parts(WIDGET) == ([], ["widget"])


def test_a_job_before_the_rollout_holds_the_workloads_back() -> None:
    job = workload("job", kind="Job", annotations={BEFORE_ROLLOUT: "true"})
    given = [make("Service", "s"), workload("d"), job, workload("later", kind="Job"), CERT]
    assert parts(*given) == ([["s", "job", "cert"], ["d", "later"]], [])
    assert parts(CRD, *given)[0] == [["crd"], ["s", "job", "cert"], ["d", "later"]]


def test_a_namespace_carries_its_pod_security_level() -> None:
    labels = namespace_manifest("ml", "baseline")["metadata"]["labels"]
    assert {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "warn", "audit")} == {"baseline"}
