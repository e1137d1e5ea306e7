"""What is asked of a cluster before anything is applied: its API is an HTTP server that answers as Kubernetes does."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster, connect
from ansible_collections.mlops.platform.plugins.module_utils.component import Component
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.manifests import namespace_manifest, stamp
from ansible_collections.mlops.platform.plugins.module_utils.models.deploy import served
from ansible_collections.mlops.platform.plugins.module_utils.models.inference_service import Serving, Settings
from ansible_collections.mlops.platform.plugins.module_utils.preflight import capacity, permissions
from ansible_collections.mlops.platform.plugins.module_utils.preflight.cluster_check import (
    reach,
    storage_class,
    survey,
)
from ansible_collections.mlops.platform.plugins.module_utils.preflight.needs import Needs, needs, requests_of

KINDS = {
    "v1": {"ConfigMap": "configmaps", "Namespace": "namespaces", "Node": "nodes", "Pod": "pods", "Secret": "secrets",
           "PersistentVolumeClaim": "persistentvolumeclaims", "Service": "services"},
    "apiregistration.k8s.io/v1": {"APIService": "apiservices"},
    "autoscaling/v2": {"HorizontalPodAutoscaler": "horizontalpodautoscalers"},
    "apps/v1": {"DaemonSet": "daemonsets", "Deployment": "deployments", "StatefulSet": "statefulsets"},
    "scheduling.k8s.io/v1": {"PriorityClass": "priorityclasses"},
    "storage.k8s.io/v1": {"StorageClass": "storageclasses", "CSIStorageCapacity": "csistoragecapacities"},
}  # fmt: skip
CLUSTER_WIDE = ("APIService", "Namespace", "Node", "PriorityClass", "StorageClass")
EVERYTHING = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
GIBIBYTE = 1024**3


class Api:
    """A cluster: `lists` by path, `rules` of the user in each namespace, what it may not list, and who came."""

    def __init__(self) -> None:
        self.status, self.body = 200, ""
        self.rules: list[dict[str, Any]] = [EVERYTHING]
        self.allowed: set[tuple[str, str]] = set()
        self.unlisted: set[str] = set()
        self.requests: list[str] = []
        self.objects: dict[str, dict[str, Any]] = {}
        self.lists: dict[str, list[dict[str, Any]]] = {
            "/api/v1/nodes": [node("node1", cpu="2", memory="8Gi", pods="110")],
            "/apis/storage.k8s.io/v1/storageclasses": [
                {"metadata": {"name": "fast", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}
            ],
        }
        self.put("/api/v1/namespaces/mlops", namespace_manifest("mlops", "restricted"))

    def put(self, path: str, item: dict[str, Any]) -> None:
        """Let there be an object."""
        self.objects[path] = item

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and body of a response."""
        path = path.partition("?")[0]
        self.requests.append(f"{method} {path}")
        if self.body:
            return self.status, self.body
        if path.endswith("reviews"):
            return 201, {"status": self._review(path.rpartition("/")[2], body.get("spec") or {})}
        if path.rpartition("/")[2] in self.unlisted:
            return 403, {"kind": "Status", "message": f"jane cannot list {path}"}
        plurals = {plural for kinds in KINDS.values() for plural in kinds.values()}
        if path.rpartition("/")[2] in plurals:
            return 200, {"items": self.lists.get(path, [])}
        groups = [self._group(version) for version in KINDS if ("/" in version) == (path == "/apis")]
        known = {"/version": {"gitVersion": "v1.36.3"}, "/apis/authorization.k8s.io/v1": {}, **self.objects}
        known |= {key: {"items": groups} for key in ("/api", "/apis")}
        return (200, known[path]) if path in known else (404, {"message": f"no {path}"})

    def _review(self, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
        if kind == "selfsubjectrulesreviews":
            return {"resourceRules": self.rules, "incomplete": True}
        if kind == "selfsubjectaccessreviews":
            asked = spec["resourceAttributes"]
            return {"allowed": (asked["verb"], asked["resource"]) in self.allowed}
        return {"userInfo": {"username": "jane"}}

    def _group(self, version: str) -> dict[str, Any]:
        group, _, number = version.rpartition("/")
        resources = [
            {"resource": plural, "scope": "Cluster" if kind in CLUSTER_WIDE else "Namespaced",
             "responseKind": {"kind": kind}}
            for kind, plural in KINDS[version].items()
        ]  # fmt: skip
        return {"metadata": {"name": group}, "versions": [{"version": number, "resources": resources}]}


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def config(api: Api, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The kubeconfig of the cluster, as data."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = api.answer(self.command, self.path, json.loads(sent or b"{}"))
            self.send_response(status)
            self.end_headers()
            self.wfile.write((body if isinstance(body, str) else json.dumps(body)).encode())

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "me", "user": {}}],
    }
    server.shutdown()
    server.server_close()


def cluster_of(config: dict[str, Any], folder: Path) -> Cluster:
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    connect.cache_clear()
    return connect(str(path))


@pytest.fixture
def cluster(config: dict[str, Any], tmp_path: Path) -> Cluster:
    return cluster_of(config, tmp_path)


def node(name: str, taints: list[dict[str, str]] | None = None, **allocatable: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"taints": taints or []}, "status": {"allocatable": allocatable}}


def pod_spec(memory: str = "1Gi", **more: Any) -> dict[str, Any]:
    return {"containers": [{"name": "a", "resources": {"requests": {"cpu": "500m", "memory": memory}}}], **more}


def workload(kind: str = "Deployment", name: str = "search", **spec: Any) -> dict[str, Any]:
    template = {"spec": spec.pop("pod", pod_spec())}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "mlops"},
        "spec": {"template": template, **spec},
    }


def service(port: int) -> dict[str, Any]:
    metadata = {"name": "search", "namespace": "mlops"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"nodePort": port}]}}


def needed(*manifests: dict[str, Any], name: str = "search", later: bool = False, **spec: Any) -> Needs:
    """The needs of a component, as they come out of a task's result."""
    component = Component.parse({"name": name, "version": "1", "namespace": "mlops", **spec})
    found = needs(component, stamp(manifests, name, "1"), later=later)
    return Needs.parse(json.loads(json.dumps(found.as_dict())))


def problems(cluster: Cluster, *wanted: Needs, provisions: bool = True) -> list[str]:
    return survey(cluster, wanted, provisions=provisions, room=True).problems


def test_a_cluster_that_has_it_all(cluster: Cluster) -> None:
    assert reach(cluster) == "v1.36.3"
    assert problems(cluster, needed(workload(replicas=2))) == []
    assert storage_class(cluster) == "fast"


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, '{"message": "Unauthorized"}', "refused its credentials (Unauthorized): log in again"),
        (403, '{"message": "jane may not"}', "its user may not even look at"),
        (403, "<Error>\n</Error>", "is not a Kubernetes API"),
        (200, "<html>It works!</html>", "is not a Kubernetes API"),
        (404, "no such page", "is not a Kubernetes API"),
        (503, "starting", ": starting"),
    ],
)
def test_what_does_not_answer_as_a_cluster(cluster: Cluster, api: Api, status: int, body: str, message: str) -> None:
    api.status, api.body = status, body
    with pytest.raises(PlatformError) as caught:
        reach(cluster)
    assert str(caught.value).startswith(f"platform_kubeconfig: {cluster.kubeconfig}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nobody_listens(config: dict[str, Any], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config["clusters"][0]["cluster"]["server"] = f"http://127.0.0.1:{port}"
    with pytest.raises(PlatformError, match=f"http://127.0.0.1:{port} cannot be reached"):
        reach(cluster_of(config, tmp_path))


def test_kubeconfigs_that_lead_nowhere(config: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="cannot be used: Expected object with name production"):
        cluster_of({**config, "current-context": "production"}, tmp_path)
    with pytest.raises(PlatformError, match="none cannot be used: there is no such file; give the path"):
        connect(str(tmp_path / "none"))


def test_what_pods_request() -> None:
    mib = {"memory": "256Mi"}
    pod = {
        "initContainers": [{"resources": {"requests": {"memory": "1Gi"}}}],
        "containers": [{"resources": {"requests": mib}}, {"resources": {"limits": {**mib, "cpu": "1500m"}}}],
        "overhead": {"cpu": "100m"},
    }
    assert requests_of(pod) == {"pods": 1.0, "memory": GIBIBYTE, "cpu": 1.6}
    side = {"initContainers": [{"restartPolicy": "Always", "resources": {"requests": mib}}], "containers": [{}]}
    assert requests_of(side)["memory"] == 256 * 1024**2


SCALER = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "scaled", "namespace": "mlops"},
    "spec": {"minReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "scaled"}},
}


def test_how_many_pods_there_will_be() -> None:
    timed = workload("CronJob", "timed")
    found = needed(
        workload(),
        {**timed, "spec": {"jobTemplate": {"spec": {**timed["spec"], "parallelism": 2}}}},
        workload(name="scaled"),
        workload("DaemonSet", "each"),
        workload("StatefulSet", "set", replicas=4),
        SCALER,
    )
    assert {pods.owner.rpartition("/")[2]: pods.count for pods in found.pods} == {
        "search": 1,
        "timed": 2,
        "scaled": 3,
        "each": 0,
        "set": 4,
    }


def test_prometheus_needs_pods_and_volumes_though_its_operator_makes_them() -> None:
    claim = {"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "5Gi"}}}}
    spec = {"replicas": 2, "resources": {"requests": {"cpu": "1"}}, "storage": {"volumeClaimTemplate": claim}}
    metadata = {"name": "platform", "namespace": "mlops"}
    found = needed({"apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus", "metadata": metadata, "spec": spec})
    (pods,) = found.pods
    assert (pods.count, pods.requests) == (2, {"cpu": 1.0, "pods": 1.0})
    assert [(claim.name, claim.size, claim.storage_class) for claim in found.claims] == [
        ("prometheus-platform-db-prometheus-platform-0", 5 * 1024**3, "fast"),
        ("prometheus-platform-db-prometheus-platform-1", 5 * 1024**3, "fast"),
    ]


def room(wanted: Needs, nodes: list[dict[str, Any]], pods: list[dict[str, Any]] | None = None) -> list[str]:
    there = capacity.nodes_with_room(nodes, pods or [], {("mlops", "search")}, wanted.nodes)
    return capacity.problems(capacity.demands([wanted]), there)


def running(namespace: str, component: str, phase: str = "Running") -> dict[str, Any]:
    metadata = {"namespace": namespace, "labels": {"mlops.platform/component": component}}
    return {"metadata": metadata, "spec": {"nodeName": "a", **pod_spec("6Gi")}, "status": {"phase": phase}}


SMALL = node("a", cpu="2", memory="8Gi", pods="110")


def test_pods_that_fit_beside_those_of_others() -> None:
    two = needed(workload(replicas=2))
    assert room(two, [SMALL]) == []
    # Its own pods, and those that have ended, make way.
    assert room(two, [SMALL], [running("mlops", "search"), running("other", "x", "Succeeded")]) == []
    assert room(two, [SMALL], [running("other", "search")]) == []
    assert room(needed(workload(replicas=2), workload("Job", "first")), [SMALL], [running("other", "search")]) == []
    (line,) = room(needed(workload(replicas=3)), [SMALL], [running("other", "search")])
    assert line.startswith("all pods together request 3.00 GiB of memory; 2.00 GiB of memory of 8.00 GiB")


def test_a_pod_that_no_single_node_can_take() -> None:
    (line,) = room(needed(workload(pod=pod_spec("9Gi"))), [SMALL, {**SMALL, "metadata": {"name": "b"}}])
    assert "search: a pod of Deployment mlops/search requests 9.00 GiB of memory" in line
    assert "the emptiest node has 8.00 GiB of memory free" in line
    assert line.endswith("(search_resources)")


def test_nodes_that_take_no_such_pods() -> None:
    tainted = node("a", [{"key": "gpu", "effect": "NoSchedule"}], cpu="8", memory="64Gi", pods="110")
    (line,) = room(needed(workload()), [tainted])
    assert line == "search: no node takes the pods of Deployment mlops/search: all have taints"
    tolerant = pod_spec(tolerations=[{"key": "gpu", "operator": "Exists"}])
    assert room(needed(workload(pod=tolerant)), [tainted]) == []
    (line,) = room(needed(workload(pod=pod_spec(nodeSelector={"disk": "fast"}))), [SMALL])
    assert "none has the labels disk=fast" in line
    assert room(needed(workload("DaemonSet")), [tainted]) == []
    starting = node("a", [{"key": capacity.STARTING, "effect": "NoSchedule"}], cpu="8", memory="64Gi", pods="110")
    assert room(needed(workload()), [starting]) == []
    cordoned = {**SMALL, "spec": {"unschedulable": True}}
    assert len(room(needed(workload()), [cordoned])) == 1


def gpu_step(*nodes: dict[str, Any]) -> dict[str, Any]:
    service = {"name": "gpu-metrics", "port": 9400}
    return {"configure": [{"type": "gpu_nodes", "service": service, "nodes": list(nodes)}]}


def test_pods_that_do_not_fit_one_by_one_though_there_is_enough_for_all() -> None:
    """Two nodes with 5 GiB each have no room for three pods of 3 GiB."""
    half: dict[str, Any] = {"cpu": "4", "memory": "5Gi", "pods": "110"}
    (line,) = room(needed(workload(replicas=3, pod=pod_spec("3Gi"))), [node("a", **half), node("b", **half)])
    assert line == (
        "search: of 3 pods of Deployment mlops/search 2 fit (1 on a, 1 on b): allowed is less (search_resources)"
    )
    assert room(needed(workload(replicas=2, pod=pod_spec("3Gi"))), [node("a", **half), node("b", **half)]) == []


def test_what_runs_on_every_node_takes_its_share_of_each() -> None:
    daemon = workload("DaemonSet", "agent", pod=pod_spec("3Gi"))
    big = node("b", cpu="8", memory="64Gi", pods="110")
    tiny = node("a", cpu="2", memory="2Gi", pods="110")
    (line,) = room(needed(daemon), [tiny, big])
    assert line.startswith("search: the pod of DaemonSet mlops/agent on a requests 3.00 GiB of memory")
    one = needed(daemon, workload(replicas=2, pod=pod_spec("3Gi")))
    (line,) = room(one, [SMALL])
    assert line.startswith("all pods together request 9.00 GiB of memory; 8.00 GiB of memory of 8.00 GiB")


def test_pods_that_may_go_elsewhere_do_not_take_from_those_that_may_not() -> None:
    fast = {**SMALL, "metadata": {"name": "b", "labels": {"disk": "fast"}}}
    chosen = workload("Deployment", "chosen", replicas=3, pod=pod_spec("3Gi", nodeSelector={"disk": "fast"}))
    (line,) = room(needed(chosen, workload(replicas=2, pod=pod_spec("3Gi"))), [SMALL, fast])
    assert line.startswith("all pods together request 9.00 GiB of memory; 8.00 GiB of memory of 8.00 GiB of memory")
    assert "on 1 node (b)" in line


def test_nodes_are_counted_as_the_run_will_make_them() -> None:
    taint = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    change = {
        "name": "b",
        "labels": {"workload-type": "inference"},
        "taints": [taint],
        "resources": {"nvidia.com/gpu": 2},
    }
    both = [SMALL, {**SMALL, "metadata": {"name": "b"}}]
    # What asks for no GPU does not get onto it.
    plain = workload(replicas=3, pod=pod_spec("3Gi"))
    assert room(needed(workload(replicas=2, pod=pod_spec("3Gi")), **gpu_step(change)), both) == []
    (line,) = room(needed(plain, **gpu_step(change)), both)
    assert "on 1 node (a)" in line
    asking = pod_spec("1Gi", tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists"}])
    asking["containers"][0]["resources"]["limits"] = {"nvidia.com/gpu": 1}
    asking["nodeSelector"] = {"workload-type": "inference"}
    assert room(needed(workload(replicas=2, pod=asking), **gpu_step(change)), both) == []
    (line,) = room(needed(workload(replicas=3, pod=asking), **gpu_step(change)), both)
    assert line.startswith("all pods together request 3 nvidia.com/gpu; 2 nvidia.com/gpu of 2 nvidia.com/gpu are free")
    assert line.endswith("let fewer pods ask for it, or give more nodes to the group gpu_nodes")
    (line,) = room(needed(workload(pod=asking)), both)
    assert "none has the labels workload-type=inference" in line


def test_models_count_beside_the_components() -> None:
    small = Serving(resources={"requests": {"cpu": "1", "memory": "3Gi"}})
    models = [served(Settings(name, min_replicas=replicas), small) for name, replicas in (("iris", 0), ("wine", 2))]
    there = capacity.nodes_with_room([SMALL], [], ())
    lines = capacity.problems(capacity.demands([], models), there)
    assert [line.partition(";")[0] for line in lines] == [
        "all pods together request 3 CPUs", "all pods together request 9.00 GiB of memory",
    ]  # fmt: skip
    # Those that are served already are what is provisioned anew.
    pod = running("models", "model-iris")
    ours = {(item.namespace, item.component) for item in models}
    assert capacity.nodes_with_room([SMALL], [pod], ours)[0].free["memory"] == 8 * GIBIBYTE


def test_a_node_that_is_to_be_changed_and_is_not_there(cluster: Cluster, api: Api) -> None:
    change = {"name": "node2", "labels": {}, "taints": [], "resources": {}}
    assert problems(cluster, needed(workload(), **gpu_step({**change, "name": "node1"}))) == [
        "jane may not list, patch nodes: grant it, or use another kubeconfig",
        "jane may not list pods: grant it, or use another kubeconfig",
    ]
    api.allowed = {("list", "nodes"), ("patch", "nodes"), ("list", "pods")}
    assert problems(cluster, needed(workload(), **gpu_step(change))) == [
        "search: there is no node 'node2'; did you mean node1? (the cluster has node1; gpu_node_name)"
    ]


def test_what_the_user_may_not_do(cluster: Cluster, api: Api) -> None:
    api.rules = [
        {"apiGroups": ["", "discovery.k8s.io"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": ["apps"], "resources": ["deployments", "replicasets"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["other"], "verbs": ["delete"]},
    ]
    api.allowed = {("patch", "deployments")}
    assert problems(cluster, needed(workload())) == [
        "jane may not create, delete deployments.apps in the namespace mlops: grant it, or use another kubeconfig"
    ]
    assert problems(cluster, needed(workload()), provisions=False) == []


def test_one_question_a_namespace_is_enough_for_an_administrator(cluster: Cluster, api: Api) -> None:
    acts = permissions.acts(cluster, [needed(workload())], provisions=True)
    assert len(acts) > 20
    assert permissions.forbidden(cluster, acts) == []
    reviews = [request for request in api.requests if "review" in request]
    assert reviews == ["POST /apis/authorization.k8s.io/v1/selfsubjectrulesreviews"]


def test_namespaces(cluster: Cluster, api: Api) -> None:
    api.objects.clear()
    api.rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    (line,) = problems(cluster, needed(workload()))
    assert line.startswith("jane may not create, patch namespaces")
    assert line.endswith("or make mlops first")
    api.put("/api/v1/namespaces/mlops", {"status": {"phase": "Terminating"}})
    assert "the namespace mlops is being deleted: wait for its end" in problems(cluster, needed(workload()))


def claims(size: str, storage: str | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = {"resources": {"requests": {"storage": size}}}
    spec |= {"storageClassName": storage} if storage else {}
    return workload("StatefulSet", volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": spec}], replicas=1)


def test_storage_classes(cluster: Cluster, api: Api) -> None:
    assert problems(cluster, needed(claims("1Gi"))) == []
    assert problems(cluster, needed(claims("1Gi", "fats"))) == [
        "search: there is no StorageClass 'fats'; did you mean fast? "
        "(the cluster has fast; search_storage_class or platform_storage_class)"
    ]
    api.lists["/apis/storage.k8s.io/v1/csistoragecapacities"] = [{"storageClassName": "fast", "capacity": "2Gi"}]
    assert problems(cluster, needed(claims("2Gi"))) == []
    (line,) = problems(cluster, needed(claims("3Gi")))
    assert "a volume of 3Gi is asked for, and the StorageClass fast has 2Gi" in line
    api.lists["/apis/storage.k8s.io/v1/storageclasses"] = []
    (line,) = problems(cluster, needed(claims("1Gi")))
    assert line.startswith("there is no default StorageClass")
    assert storage_class(cluster) == ""


def test_volumes_that_are_there_cannot_change(cluster: Cluster, api: Api) -> None:
    api.lists["/api/v1/namespaces/mlops/persistentvolumeclaims"] = [
        {
            "metadata": {"name": "data-search-0"},
            "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}},
        }
    ]
    assert problems(cluster, needed(claims("1024Mi"))) == []
    (line,) = problems(cluster, needed(claims("2Gi")))
    assert "the volume mlops/data-search-0 has 1Gi, and 2Gi are asked for" in line
    (line,) = problems(cluster, needed(claims("1Gi", "slow")))
    assert "is of the StorageClass fast, and slow is asked for" in line


def test_kinds_that_nothing_serves(cluster: Cluster) -> None:
    metadata = {"name": "a", "namespace": "mlops"}
    thing = {"apiVersion": "example.org/v1", "kind": "Thing", "metadata": metadata}
    assert problems(cluster, needed(thing)) == [
        "search needs the kind Thing of example.org/v1, which is not served: install what defines it"
    ]
    definition = {
        "apiVersion": "v1",  # a kind that the server of this test knows
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.org"},
        "spec": {"group": "example.org", "names": {"kind": "Thing"}},
    }
    assert [line for line in problems(cluster, needed(thing, definition)) if "Thing" in line] == []


MONITOR = {
    "apiVersion": "monitoring.coreos.com/v1",
    "kind": "PodMonitor",
    "metadata": {"name": "search", "namespace": "mlops"},
}
WATCHING: dict[str, Any] = {
    "name": "search-monitoring",
    "observes": "search",
    "configure": [{"type": "prometheus", "service": {"name": "prometheus", "port": 9090, "namespace": "monitoring"}}],
}


def test_what_watches_may_come_with_a_later_run(cluster: Cluster, api: Api) -> None:
    api.allowed = {("list", name) for name in ("podmonitors", "prometheusrules", "servicemonitors")}
    (line,) = problems(cluster, needed(MONITOR, **WATCHING))
    assert line.startswith(
        "search-monitoring needs the kind PodMonitor of monitoring.coreos.com/v1, which is not served"
    )
    assert problems(cluster, needed(MONITOR, later=True, **WATCHING)) == []


def test_who_may_not_prove_what_watches(cluster: Cluster, api: Api) -> None:
    api.rules = [{**EVERYTHING, "apiGroups": ["", "apps", "discovery.k8s.io"]}]
    api.allowed = {("create", "namespaces"), ("patch", "namespaces")}
    wanted = needed(**WATCHING)
    plurals = ("podmonitors", "prometheusrules", "servicemonitors")
    listing = [
        f"jane may not list {name}.monitoring.coreos.com: grant it, or use another kubeconfig" for name in plurals
    ]
    touching = "jane may not patch pods in the namespace monitoring: grant it, or use another kubeconfig"
    assert problems(cluster, wanted) == listing
    api.rules[0]["verbs"] = [*permissions.READS, "watch", "create", "delete"]
    assert touching in problems(cluster, wanted)
    assert problems(cluster, wanted, provisions=False) == listing


def test_an_autoscaler_needs_metrics(cluster: Cluster, api: Api) -> None:
    (line,) = problems(cluster, needed(SCALER))
    assert line.startswith("search scales by CPU use, and nothing serves metrics: install metrics-server")
    api.put("/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io", {"metadata": {}})
    assert problems(cluster, needed(SCALER)) == []


def test_secrets_that_nobody_makes(cluster: Cluster, api: Api) -> None:
    environment = [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}}]
    user = workload(pod={"containers": [{"name": "a", "env": environment}]})
    assert problems(cluster, needed(user)) == [
        "search: Deployment mlops/search uses the Secret mlops/login, which no component of the inventory makes there "
        "and the cluster does not have"
    ]
    assert problems(cluster, needed(user, secrets=[{"name": "login", "generate": ["password"]}])) == []
    timed = {**user, "kind": "CronJob", "spec": {"jobTemplate": {"spec": user["spec"]}}}
    assert any(line.startswith("search: CronJob mlops/search uses") for line in problems(cluster, needed(timed)))
    api.put("/api/v1/namespaces/mlops/secrets/login", {"data": {}})
    assert problems(cluster, needed(user)) == []


def test_secrets_to_pull_with(cluster: Cluster) -> None:
    (line,) = problems(cluster, needed(workload(pod=pod_spec(imagePullSecrets=[{"name": "registry"}]))))
    assert "uses the Secret mlops/registry" in line


def test_priority_classes(cluster: Cluster, api: Api) -> None:
    wanted = needed(workload(pod=pod_spec(priorityClassName="platfrom")))
    api.lists["/apis/scheduling.k8s.io/v1/priorityclasses"] = [{"metadata": {"name": "platform"}}]
    (line,) = problems(cluster, wanted)
    assert line.startswith("search: there is no PriorityClass 'platfrom'; did you mean platform?")


def test_node_ports_of_others(cluster: Cluster, api: Api) -> None:
    assert problems(cluster, needed(service(30500))) == []
    mine, other = {"namespace": "mlops", "name": "search"}, {"namespace": "other", "name": "a"}
    ports = {"ports": [{"nodePort": 30500}]}
    api.lists["/api/v1/services"] = [{"metadata": mine, "spec": ports}]
    assert problems(cluster, needed(service(30500))) == []
    api.lists["/api/v1/services"] = [{"metadata": other, "spec": ports}]
    assert problems(cluster, needed(service(30500))) == [
        "search: the node port 30500 is that of the Service other/a: choose another"
    ]


def test_components_with_the_same_object(cluster: Cluster) -> None:
    both = problems(cluster, needed(service(30500)), needed(service(30500), name="find"))
    assert both == ["search and find both have a Service mlops/search: give one another namespace (find_namespace)"]


def test_what_may_not_be_listed_stays_unchecked(cluster: Cluster, api: Api) -> None:
    api.unlisted = {"nodes", "storageclasses"}
    found = survey(cluster, [needed(workload(replicas=99), claims("1Gi"))], provisions=True, room=True)
    assert found.problems == []
    assert sorted(line.partition(":")[0] for line in found.unchecked) == ["room", "storage classes"]
    assert storage_class(cluster) == ""
