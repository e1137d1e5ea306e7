"""Provisioning, against a cluster that is a dictionary: what is sent, in which order, and what is left alone."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest
from ansible_collections.mlops.platform.plugins.module_utils import health
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster, Object, Resource
from ansible_collections.mlops.platform.plugins.module_utils.component import Component
from ansible_collections.mlops.platform.plugins.module_utils.engine import Objects, load_memory, provision
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.manifests import Manifest, identity, stamp
from ansible_collections.mlops.platform.plugins.module_utils.waiting import NotReady, inspect

KINDS = {
    ("v1", "Namespace"): ("namespaces", False),
    ("v1", "Secret"): ("secrets", True),
    ("v1", "ConfigMap"): ("configmaps", True),
    ("v1", "Service"): ("services", True),
    ("v1", "PersistentVolumeClaim"): ("persistentvolumeclaims", True),
    ("v1", "Pod"): ("pods", True),
    ("v1", "Event"): ("events", True),
    ("apps/v1", "Deployment"): ("deployments", True),
    ("apps/v1", "ReplicaSet"): ("replicasets", True),
    ("batch/v1", "Job"): ("jobs", True),
}


class Store:
    """What the engine asks of a cluster. Jobs are complete, or failed, as soon as they are there."""

    def __init__(self) -> None:
        self.resources = {
            (api, kind): Resource(api, kind, plural, namespaced) for (api, kind), (plural, namespaced) in KINDS.items()
        }
        self.objects: dict[str, Object] = {}
        self.jobs_fail = False
        self.writes: list[str] = []
        self.dies_at = ""
        self._versions = itertools.count(1)

    def resource(self, api_version: str, kind: str) -> Resource:
        try:
            return self.resources[(api_version, kind)]
        except KeyError:
            raise ApiError(f"the cluster does not know {kind}", 404) from None

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object | None:
        group = api_version.rpartition("/")[0]
        return self.objects.get(f"{group}/{kind}/{namespace or ''}/{name}")

    def secret(self, name: str, namespace: str) -> dict[str, str] | None:
        found = self.get("v1", "Secret", name, namespace)
        return {} if found else None

    def list(self, api_version: str, kind: str, namespace: str | None = None, selector: str = "") -> Sequence[Object]:
        wanted = dict(item.split("=") for item in selector.split(",") if "=" in item)
        return [
            {key: value for key, value in item.items() if key not in ("apiVersion", "kind")}
            for item in self.objects.values()
            if (item["apiVersion"], item["kind"]) == (api_version, kind)
            and namespace in (None, item["metadata"].get("namespace"))
            and wanted.items() <= (item["metadata"].get("labels") or {}).items()
        ]

    def list_metadata(self, resource: Resource, namespace: str | None, selector: str) -> Sequence[Object]:
        return [
            {"metadata": item["metadata"]}
            for item in self.list(resource.api_version, resource.kind, namespace, selector)
        ]

    def watch(self, *_: object) -> Iterator[Object]:
        return iter(())

    def apply(self, manifest: Manifest) -> Object:
        """Write an object: its version moves if anything changes, its generation if its specification does."""
        if manifest["kind"] == self.dies_at:
            raise KeyboardInterrupt
        self.writes.append(f"{manifest['kind']} {manifest['metadata']['name']}")
        key, made = identity(manifest), copy.deepcopy(manifest)
        old = self.objects.get(key, {"metadata": {}})
        metadata = {"uid": old["metadata"].get("uid", f"uid-{next(self._versions)}")}
        if "spec" in manifest:
            metadata["generation"] = old["metadata"].get("generation", 0) + (old.get("spec") != manifest["spec"])
        same = all(old.get(field) == manifest.get(field) for field in ("spec", "data"))
        same = same and all(old["metadata"].get(key) == value for key, value in manifest["metadata"].items())
        version = old["metadata"].get("resourceVersion") if same else str(next(self._versions))
        made["metadata"] |= {**metadata, "resourceVersion": version}
        if manifest["kind"] == "Job":
            kind, said = ("Failed", {"reason": "BackoffLimitExceeded", "message": "4 times"}) if self.jobs_fail else (
                "Complete", {})  # fmt: skip
            made["status"] = {"conditions": [{"type": kind, "status": "True", **said}]}
        self.objects[key] = made
        return made

    def delete(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> bool:
        self.writes.append(f"delete {kind} {name}")
        return self.objects.pop(f"{api_version.rpartition('/')[0]}/{kind}/{namespace or ''}/{name}", None) is not None


def make(kind: str, name: str, api: str = "v1", **fields: Any) -> Manifest:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "ml"}, **fields}


def deployment(image: str = "a:1") -> Manifest:
    return make("Deployment", "web", "apps/v1", spec={"template": {"spec": {"containers": [{"image": image}]}}})


def upgrade(image: str = "a:1") -> Manifest:
    """A Job that must be complete before the rollout."""
    job = make("Job", "upgrade", "batch/v1", spec={"template": {"spec": {"containers": [{"image": image}]}}})
    job["metadata"]["annotations"] = {"mlops.platform/before-rollout": "true"}
    return job


CONFIG = make("ConfigMap", "settings", data={"a": "1"})
SERVICE = make("Service", "web", spec={"ports": [{"port": 80}]})
WEB = [CONFIG, SERVICE, deployment()]


class Site:
    """A component on a store, and what was said of it."""

    def __init__(self) -> None:
        self.store = Store()
        self.component = Component("web", "1", "ml", pod_security="baseline", timeout_seconds=1)
        self.said: list[str] = []

    def run(self, *manifests: Manifest, check_mode: bool = False) -> Objects:
        """Provision; what is said and the store's writes are those of this run."""
        self.said, self.store.writes = [], []
        stamped = stamp(manifests, self.component.name, self.component.version)
        return provision(cast(Cluster, self.store), self.component, stamped, self.said.append, check_mode)


@pytest.fixture
def site() -> Site:
    return Site()


def test_a_first_run_creates_everything_at_once(site: Site) -> None:
    result = site.run(*WEB)
    assert result == Objects(created=["ConfigMap ml/settings", "Service ml/web", "Deployment ml/web"])
    assert site.said == ["applies 3 objects: ConfigMap ml/settings, Service ml/web, Deployment ml/web"]
    assert site.store.writes == [
        "Namespace ml", "ConfigMap settings", "Service web", "Deployment web", "ConfigMap mlops-platform-web",
    ]  # fmt: skip
    namespace = site.store.get("v1", "Namespace", "ml")
    assert namespace is not None
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "baseline"
    assert len(load_memory(cast(Cluster, site.store), site.component)) == 3


def test_a_second_run_writes_nothing(site: Site) -> None:
    site.run(*WEB)
    result = site.run(*WEB)
    assert (result, result.touched) == (Objects(unchanged=3), False)
    assert (site.said, site.store.writes) == ([], [])


def pod(name: str, reason: str, restarts: int = 0) -> Manifest:
    """A pod of the component, whose container waits for a reason."""
    state = {"name": "web", "ready": False, "restartCount": restarts, "state": {"waiting": {"reason": reason}}}
    made = make("Pod", name, status={"phase": "Pending", "containerStatuses": [state]})
    made["metadata"]["labels"] = {"mlops.platform/component": "web"}
    return made


def test_what_backs_off_since_an_earlier_run_is_tried_again_at_once(site: Site) -> None:
    site.run(*WEB)
    for item in (
        pod("unpulled", "ImagePullBackOff"),
        pod("crashed", "CrashLoopBackOff", restarts=5),
        pod("begins", "ContainerCreating"),
        pod("crashed-once", "CrashLoopBackOff", restarts=1),
    ):
        site.store.apply(item)
    site.run(*WEB, check_mode=True)
    assert site.store.writes == []
    assert site.run(*WEB).touched is False
    assert site.store.writes == ["delete Pod unpulled", "delete Pod crashed"]


def test_only_what_is_new_is_sent(site: Site) -> None:
    site.run(*WEB)
    result = site.run(CONFIG, SERVICE, deployment("a:2"))
    assert result == Objects(changed=["Deployment ml/web"], unchanged=2)
    assert site.store.writes == ["Deployment web", "ConfigMap mlops-platform-web"]


def test_what_was_changed_by_hand_is_put_back(site: Site) -> None:
    site.run(*WEB)
    site.store.apply({**site.store.objects["apps/Deployment/ml/web"], "spec": {"replicas": 0}})
    site.store.apply({**site.store.objects["/ConfigMap/ml/settings"], "data": {"a": "changed"}})
    result = site.run(*WEB)
    assert result == Objects(changed=["ConfigMap ml/settings", "Deployment ml/web"], unchanged=1)
    assert site.store.objects["/ConfigMap/ml/settings"]["data"] == {"a": "1"}
    assert site.run(*WEB).touched is False


def test_what_was_deleted_by_hand_is_made_again(site: Site) -> None:
    site.run(*WEB)
    site.store.delete("v1", "Service", "web", "ml")
    assert site.run(*WEB) == Objects(created=["Service ml/web"], unchanged=2)


def test_what_no_template_makes_any_more_is_removed_but_no_data(site: Site) -> None:
    volume = make("PersistentVolumeClaim", "data", spec={})
    site.run(*WEB, volume)
    result = site.run(deployment())
    assert result.removed == ["ConfigMap ml/settings", "Service ml/web"]
    assert site.store.get("v1", "PersistentVolumeClaim", "data", "ml") is not None
    assert site.run(deployment()).touched is False


def test_objects_of_others_are_left_alone(site: Site) -> None:
    site.store.apply(make("ConfigMap", "somebody-else-s", data={}))
    site.run(*WEB)
    site.run(*WEB)
    assert site.store.get("v1", "ConfigMap", "somebody-else-s", "ml") is not None


def test_a_run_that_was_killed_is_finished_by_the_next(site: Site) -> None:
    site.store.dies_at = "Deployment"
    with pytest.raises(KeyboardInterrupt):
        site.run(*WEB, upgrade())
    assert "apps/Deployment/ml/web" not in site.store.objects
    site.store.dies_at = ""
    result = site.run(*WEB, upgrade())
    assert result.created == ["Deployment ml/web"]
    assert result.changed == [], "what the killed run had done is sent again, and changes nothing"
    assert site.run(*WEB, upgrade()).touched is False


def test_a_job_is_complete_before_the_rollout(site: Site) -> None:
    site.run(*WEB, upgrade())
    assert [name.partition("-")[0] for name in site.store.writes[1:-1]] == [
        "ConfigMap settings", "Service web", "Job upgrade", "Deployment web",
    ]  # fmt: skip


def test_a_failed_job_stops_the_rollout_and_is_tried_again_by_the_next_run(site: Site) -> None:
    site.store.jobs_fail = True
    with pytest.raises(NotReady, match=r"Job ml/upgrade-[0-9a-f]{8}: BackoffLimitExceeded: 4 times"):
        site.run(*WEB, upgrade())
    assert "apps/Deployment/ml/web" not in site.store.objects
    site.store.jobs_fail = False
    assert "Deployment ml/web" in site.run(*WEB, upgrade()).created


def test_a_new_job_takes_the_place_of_the_old_one(site: Site) -> None:
    site.run(*WEB, upgrade())
    result = site.run(*WEB, upgrade("a:2"))
    assert len(result.created) == len(result.removed) == 1
    assert len([key for key in site.store.objects if key.startswith("batch/Job/")]) == 1


def test_check_mode_says_what_it_would_do_and_does_nothing(site: Site) -> None:
    assert site.run(*WEB, check_mode=True).created == ["ConfigMap ml/settings", "Service ml/web", "Deployment ml/web"]
    assert site.store.objects == {}
    site.run(*WEB)
    result = site.run(SERVICE, deployment("a:2"), check_mode=True)
    assert result == Objects(changed=["Deployment ml/web"], removed=["ConfigMap ml/settings"], unchanged=1)
    assert (site.said, site.store.writes) == ([], [])


def test_a_memory_that_cannot_be_read_is_no_memory(site: Site) -> None:
    site.run(*WEB)
    site.store.objects["/ConfigMap/ml/mlops-platform-web"]["data"]["applied.json"] = "{"
    assert site.run(*WEB) == Objects(unchanged=3)
    assert len(site.store.writes) == 4


def test_a_component_without_workloads_is_proven_by_having_been_applied(site: Site) -> None:
    def rollout() -> dict[str, Any]:
        return health._rollout(cast(Cluster, site.store), site.component, 5.0, site.said.append)

    assert rollout()["message"] == "web has not been provisioned in namespace ml"
    site.run(CONFIG)
    assert rollout()["healthy"]


def test_a_wait_for_many_workloads_lists_their_pods_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    workloads = [make("Deployment", f"d{number}", "apps/v1", spec={}) for number in range(50)]
    for item in workloads:
        site.store.apply({**item, "metadata": {**item["metadata"], "labels": {"mlops.platform/component": "web"}}})
    asked: list[str] = []
    listing = site.store.list

    def count(api_version: str, kind: str, *rest: str) -> Sequence[Object]:
        asked.append(kind)
        return listing(api_version, kind, *rest)

    monkeypatch.setattr(site.store, "list", count)
    states = inspect(cast(Cluster, site.store), workloads, "web")
    assert {state.ready for state in states} == {False}
    assert sorted(asked) == ["Deployment", "Pod", "ReplicaSet"]


def test_progress_names_a_few_of_many_objects(site: Site) -> None:
    site.run(*(make("ConfigMap", f"c{number}", data={}) for number in range(9)))
    assert site.said[0].startswith("applies 9 objects: ConfigMap ml/c0, ")
    assert site.said[0].endswith("ConfigMap ml/c4, 4 more")


def test_the_first_refused_object_is_named_and_what_comes_after_it_is_not_sent(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = site.store.apply

    def refuse(manifest: Manifest) -> Object:
        if manifest["kind"] == "Service":
            raise ApiError("spec.ports is required", 422)
        return apply(manifest)

    monkeypatch.setattr(site.store, "apply", refuse)
    with pytest.raises(PlatformError, match=r"^the cluster refused Service ml/web: spec.ports is required$"):
        site.run(*WEB)
    assert site.store.writes == ["Namespace ml", "ConfigMap settings"]


def test_the_memory_of_very_many_objects_with_the_longest_names_fits_into_a_config_map(site: Site) -> None:
    objects = [make("ConfigMap", f"{number:0253d}", data={}) for number in range(1600)]
    site.run(*objects)
    written = site.store.objects["/ConfigMap/ml/mlops-platform-web"]["data"]["applied.json"]
    assert len(written.encode()) < 1024**2


def test_a_refusal_of_the_api_is_not_taken_for_absence(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Sequence[Object]:
        raise ApiError("forbidden", 403)

    monkeypatch.setattr(site.store, "list_metadata", refuse)
    with pytest.raises(PlatformError, match="forbidden"):
        site.run(*WEB)


CUSTOM = {("example.org/v1", "Widget"): ("widgets", True)}
HOOKS = ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration")
NOBODY = 'failed calling webhook "{}": failed to call webhook: no endpoints available for service "web"'


class Admitting(Store):
    """A cluster that learns of the kinds that are defined, and asks webhooks about objects.

    `silent` are the webhooks that give no answer to what names them in its annotations until `until` was written;
    `denied` is what a webhook answers otherwise.
    """

    def __init__(self) -> None:
        super().__init__()
        self.silent = "web.example.org"
        self.until = ""
        self.denied = ""
        self.asked: list[str] = []
        for api, kind, plural in (
            (*HOOKS, "validatingwebhookconfigurations"),
            (HOOKS[0], "MutatingWebhookConfiguration", "mutatingwebhookconfigurations"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions"),
            ("discovery.k8s.io/v1", "EndpointSlice", "endpointslices"),
        ):
            self.resources[(api, kind)] = Resource(api, kind, plural, kind == "EndpointSlice")

    def forget_resources(self) -> None:
        """The server serves what is defined a moment after the definition is there."""
        self.resources |= {key: Resource(*key, *CUSTOM[key]) for key in CUSTOM}

    def apply(self, manifest: Manifest, dry_run: bool = False) -> Object:
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        if (manifest["metadata"].get("annotations") or {}).get("asks") and not any(
            line == self.until for line in self.writes
        ):
            self.asked.append(name)
            raise ApiError(NOBODY.format(self.silent), 500)
        if dry_run:
            if self.denied:
                raise ApiError(self.denied, 403)
            return manifest
        made = super().apply(manifest)
        if manifest["kind"] == "CustomResourceDefinition":
            made["status"] = {"conditions": [{"type": "Established", "status": "True"}]}
        if manifest["kind"] == "Deployment":
            made["status"] = {"observedGeneration": made["metadata"]["generation"], "replicas": 1,
                              "updatedReplicas": 1, "availableReplicas": 1}  # fmt: skip
        return made


WIDGETS = {
    **make("CustomResourceDefinition", "widgets.example.org", "apiextensions.k8s.io/v1"),
    "spec": {"group": "example.org", "names": {"kind": "Widget", "plural": "widgets"},
             "versions": [{"name": "v1", "served": True}, {"name": "v0", "served": False}]},
}  # fmt: skip
HOOK = {
    **make(HOOKS[1], "web", HOOKS[0]),
    "webhooks": [{"name": "web.example.org", "clientConfig": {"service": {"name": "web", "namespace": "ml"}},
                  "rules": [{"apiGroups": ["example.org"], "resources": ["widgets"]}]}],
}  # fmt: skip
WIDGET = make("Widget", "first", "example.org/v1", spec={"a": 1})
for _manifest in (WIDGETS, HOOK):
    del _manifest["metadata"]["namespace"]


def asking(manifest: Manifest) -> Manifest:
    """An object about which a webhook is asked."""
    return {**manifest, "metadata": {**manifest["metadata"], "annotations": {"asks": "web"}}}


@pytest.fixture
def admitting() -> Site:
    site = Site()
    site.store = Admitting()
    return site


ROLLOUT = ["Namespace ml", "CustomResourceDefinition widgets.example.org", "Service web",
           "ValidatingWebhookConfiguration web", "Deployment web"]  # fmt: skip


def test_custom_resources_wait_for_the_webhook_that_looks_at_them(admitting: Site) -> None:
    store = cast(Admitting, admitting.store)
    store.until = "Deployment web"
    result = admitting.run(WIDGETS, HOOK, SERVICE, deployment(), asking(WIDGET))
    assert sorted(store.writes[2:5]) == sorted(ROLLOUT[2:])
    assert store.writes[:2] + store.writes[5:] == [*ROLLOUT[:2], "Widget first", "ConfigMap mlops-platform-web"]
    assert store.asked == []
    assert len(result.created) == 5
    store.writes.clear()
    assert admitting.run(WIDGETS, HOOK, SERVICE, deployment(), asking(WIDGET)).touched is False
    assert store.writes == []


def test_what_a_silent_webhook_of_its_own_held_up_is_sent_again_after_the_rollout(admitting: Site) -> None:
    store = cast(Admitting, admitting.store)
    store.until = "Deployment web"
    result = admitting.run(asking(CONFIG), HOOK, deployment())
    assert store.asked == ["ConfigMap settings"]
    assert store.writes[-3:] == ["Deployment web", "ConfigMap settings", "ConfigMap mlops-platform-web"]
    assert "ConfigMap ml/settings" in result.created


def test_a_silent_webhook_of_somebody_else_is_not_waited_for(admitting: Site) -> None:
    store = cast(Admitting, admitting.store)
    store.silent = "webhook.cert-manager.io"
    with pytest.raises(ApiError, match=r'the cluster refused ConfigMap ml/settings: .*"webhook.cert-manager.io"'):
        admitting.run(asking(CONFIG), HOOK, deployment())
    assert "Deployment web" not in store.writes


def test_a_webhook_that_stays_silent_is_told_with_the_server_s_words(admitting: Site) -> None:
    with pytest.raises(NotReady, match=r"Widget ml/first is not admitted after \d+ s: failed calling .*no endpoints"):
        admitting.run(WIDGETS, HOOK, asking(WIDGET))
    assert [line for line in admitting.said if "no endpoints" in line] == [NOBODY.format("web.example.org")]


def test_a_webhook_that_answers_no_is_not_waited_for(admitting: Site) -> None:
    cast(Admitting, admitting.store).denied = 'admission webhook "web.example.org" denied the request: a is 1'
    with pytest.raises(ApiError, match=r"the cluster refused Widget ml/first: .* denied the request: a is 1"):
        admitting.run(WIDGETS, HOOK, WIDGET)


def test_a_configuration_that_its_controller_completes_is_not_fought_over(admitting: Site) -> None:
    admitting.run(HOOK, SERVICE)
    completed = copy.deepcopy(admitting.store.objects[identity(HOOK)])
    completed["webhooks"][0]["clientConfig"]["caBundle"] = "written by its controller"
    completed["metadata"]["generation"] = 7
    admitting.store.objects[identity(HOOK)] = completed
    assert admitting.run(HOOK, SERVICE).touched is False
    assert admitting.store.writes == []
    del admitting.store.objects[identity(HOOK)]
    assert admitting.run(HOOK, SERVICE).created == ["ValidatingWebhookConfiguration web"]


def test_a_component_has_namespaces_with_levels_of_their_own(site: Site) -> None:
    site.component = Component("web", "1", "ml", namespaces={"ml-edge": "privileged"})
    site.run(*WEB)
    edge = site.store.get("v1", "Namespace", "ml-edge")
    assert edge is not None
    assert edge["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"
    stuck = pod("crashed", "CrashLoopBackOff", restarts=5)
    stuck["metadata"]["namespace"] = "ml-edge"
    site.store.apply(stuck)
    site.run(*WEB)
    assert site.store.writes == ["delete Pod crashed"]


def test_pods_whose_account_was_missing_get_tokens_of_the_new_one(site: Site) -> None:
    account = make("ServiceAccount", "web")
    site.store.resources[("v1", "ServiceAccount")] = Resource("v1", "ServiceAccount", "serviceaccounts", True)
    site.run(account, *WEB)
    for name, user in (("mine", "web"), ("other", "default")):
        running = make("Pod", name, spec={"serviceAccountName": user}, status={"phase": "Running"})
        running["metadata"]["labels"] = {"mlops.platform/component": "web"}
        site.store.apply(running)
    site.run(account, *WEB)
    assert site.store.writes == []
    site.store.delete("v1", "ServiceAccount", "web", "ml")
    assert site.run(account, *WEB).created == ["ServiceAccount ml/web"]
    assert site.store.writes == ["ServiceAccount web", "delete Pod mine", "ConfigMap mlops-platform-web"]


def test_a_secret_that_comes_with_its_users_rolls_nobody_on_the_second_run(site: Site) -> None:
    mounted = deployment()
    mounted["spec"]["template"]["spec"]["volumes"] = [{"name": "tls", "secret": {"secretName": "certificate"}}]
    site.run(make("Secret", "certificate", data={"a": "b"}), mounted)
    assert not site.run(make("Secret", "certificate", data={"a": "b"}), mounted).touched
