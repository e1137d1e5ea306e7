"""The platform under test: its components as their roles describe them, and hands to break and mend them with."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import collection_names  # noqa: F401  (makes the collection importable)
import yaml
from ansible_collections.mlops.platform.plugins.module_utils import configure, engine, health
from ansible_collections.mlops.platform.plugins.module_utils.checks import sql
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access, Service
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster, Object
from ansible_collections.mlops.platform.plugins.module_utils.component import Component
from ansible_collections.mlops.platform.plugins.module_utils.configure.minio import administrator
from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards
from ansible_collections.mlops.platform.plugins.module_utils.manifests import WORKLOADS, Manifest, is_custom
from ansible_collections.mlops.platform.plugins.module_utils.waiting import wait_ready

if TYPE_CHECKING:
    from minio import Minio, MinioAdmin
    from psycopg2.extensions import connection

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = Path(sys.prefix) / "bin" / "ansible-playbook"
STRANGER = "kubectl-edit"
"""The field manager of what the tests change behind the platform's back."""
MERGE = "application/merge-patch+json"
STRATEGIC_MERGE = "application/strategic-merge-patch+json"
"""Merges lists by names too; for the kinds of Kubernetes itself."""
READY_SECONDS = 90.0
Outcomes = dict[str, dict[str, Any]]


def quiet(_: str) -> None:
    """Progress that nobody reads."""


@dataclass
class Platform:
    """Components in a namespace of their own, on a real cluster."""

    cluster: Cluster
    components: Mapping[str, Component]
    manifests: Mapping[str, list[Manifest]]
    said: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, inventory: Path, directory: Path) -> Platform:
        """The platform of an inventory: rendered and described by Ansible into `directory`, without its cluster."""
        command: list[str | Path] = [PLAYBOOK, ROOT / "tests" / "golden" / "specs.yml", "-i", inventory]
        subprocess.run([*command, "-e", f"component_render_directory={directory}"], check=True, cwd=ROOT)
        variables = yaml.safe_load((inventory / "group_vars" / "platform.yml").read_text(encoding="utf-8"))
        described = {path.stem: path for path in sorted(directory.glob("*.json"))}
        return cls(
            Cluster(variables["platform_kubeconfig"]),
            {name: Component.parse(json.loads(path.read_text(encoding="utf-8"))) for name, path in described.items()},
            {
                name: list(yaml.load_all(path.with_suffix(".yml").read_text(encoding="utf-8"), Loader=yaml.CSafeLoader))
                for name, path in described.items()
            },
        )

    def at(self, name: str) -> Platform:
        """The same platform with the hands at one component, in its namespace."""
        return replace(self, components={name: self.components[name]})

    @property
    def namespace(self) -> str:
        """Where the components are: all in one namespace (`at` leads to one of them)."""
        (found,) = {component.namespace for component in self.components.values()}
        return found

    # What the product does

    def validate(self, name: str, without: str = "", full: bool = False) -> Outcomes:
        """The outcomes of a component's validators by name, `full` ones too; the one called `without` always passes."""
        component = self.components[name]
        checks = tuple(item if item["name"] != without else passing(item) for item in component.checks)
        if without == "rollout":
            return {"rollout": {"name": "rollout", "healthy": True, "message": ""}}
        component = replace(component, checks=checks)
        found = health.validate(self.cluster, component, component.checks_seconds, self.said.append)
        found += health.validate_fully(self.cluster, component) if full else []
        return {outcome["name"]: outcome for outcome in found}

    def is_full(self, name: str, check: str) -> bool:
        """Whether a check of a component is one that takes minutes."""
        return any(item["name"] == check and item.get("full") for item in self.components[name].checks)

    def repair(self, name: str) -> list[str]:
        """Provision a component again, as a run does; returns what was changed."""
        component, manifests = self.components[name], json.loads(json.dumps(self.manifests[name]))
        objects = engine.provision(self.cluster, component, manifests, quiet, check_mode=False)
        premises, steps = configure.parse(component)
        configured = configure.apply(self.cluster, component, premises, check_mode=False)
        awaited = [item for item in manifests if item["kind"] in WORKLOADS]
        wait_ready(self.cluster, awaited, name, READY_SECONDS, quiet)
        configured += configure.apply(self.cluster, component, steps, check_mode=False)
        return [*objects.created, *objects.changed, *configured]

    # Hands to break things with

    def patch(self, api_version: str, kind: str, name: str, body: object, namespace: str = "") -> None:
        """Change an object as somebody else."""
        path = self.cluster.resource(api_version, kind).path(namespace or self.namespace, name)
        query = {"fieldManager": STRANGER}
        how = MERGE if is_custom({"apiVersion": api_version}) else STRATEGIC_MERGE
        self.cluster.request("PATCH", path, query=query, body=body, content_type=how)

    def patch_container(self, kind: str, name: str, **fields: object) -> None:
        """Change the one container of a workload that has the component's name."""
        containers = [{"name": name, **fields}]
        self.patch("apps/v1", kind, name, {"spec": {"template": {"spec": {"containers": containers}}}})

    def container(self, name: str, kind: str) -> dict[str, Any]:
        """The container of a workload as it was rendered."""
        (workload,) = [item for item in self.manifests[name] if item["kind"] == kind]
        found: dict[str, Any] = workload["spec"]["template"]["spec"]["containers"][0]
        return found

    def scale(self, kind: str, name: str, replicas: int, namespace: str = "") -> None:
        """Scale a workload as `kubectl scale` does."""
        path = self.cluster.resource("apps/v1", kind).path(namespace or self.namespace, name)
        query = {"fieldManager": STRANGER}
        body = {"spec": {"replicas": replicas}}
        self.cluster.request("PATCH", f"{path}/scale", query=query, body=body, content_type=MERGE)

    def pods(self, name: str) -> list[Object]:
        """The pods of a component's workloads, those of Jobs left out."""
        found = self.cluster.list("v1", "Pod", self.namespace, f"app.kubernetes.io/name={name}")
        return [pod for pod in found if pod["status"].get("phase") != "Succeeded"]

    def restart(self, name: str) -> None:
        """Delete the pod of a component, and wait until the next one is ready."""
        before = {pod["metadata"]["uid"] for pod in self.pods(name)}
        for pod in self.pods(name):
            self.cluster.delete("v1", "Pod", pod["metadata"]["name"], self.namespace)
        until(lambda: any(ready(pod) and pod["metadata"]["uid"] not in before for pod in self.pods(name)))

    @contextlib.contextmanager
    def access(self) -> Iterator[Access]:
        """Access to services and Secrets, as validators have it."""
        with Forwards(self.cluster) as forwards:
            yield Access(self.cluster, forwards, self.namespace)

    def sql(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as PostgreSQL's superuser."""
        session: connection
        with self.access() as access:
            service = Service("postgresql", 5432)
            with sql.connect(access, service, "postgresql-superuser", database) as session, session.cursor() as cursor:
                session.autocommit = True
                for statement in statements:
                    cursor.execute(statement)

    @contextlib.contextmanager
    def minio(self) -> Iterator[tuple[Minio, MinioAdmin]]:
        """MinIO's clients as its root user."""
        with self.access() as access:
            yield administrator(access, Service("minio", 9000), "minio-root")

    @contextlib.contextmanager
    def small_volume(self, name: str, megabytes: int) -> Iterator[Path]:
        """Let a StatefulSet's pod run on a copy of its volume that is as small as that; yields its directory.

        Volumes are directories of this machine: the copy is a file system in memory, mounted over the volume.
        """
        claim = self.cluster.get("v1", "PersistentVolumeClaim", f"data-{name}-0", self.namespace)
        assert claim
        volume = self.cluster.get("v1", "PersistentVolume", claim["spec"]["volumeName"])
        assert volume
        source = volume["spec"].get("hostPath") or volume["spec"]["local"]
        directory = Path(source["path"])
        copy = directory.with_name(f"{directory.name}.copy")
        self._stop(name)
        try:
            subprocess.run(["/usr/bin/cp", "-a", directory, copy], check=True)
            subprocess.run(
                ["/usr/bin/mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", directory], check=True
            )
            try:
                subprocess.run(["/usr/bin/cp", "-a", f"{copy}/.", directory], check=True)
                self._start(name)
                yield directory
            finally:
                self._stop(name)
                subprocess.run(["/usr/bin/umount", directory], check=True)
        finally:
            shutil.rmtree(copy, ignore_errors=True)
            self._start(name)

    def _stop(self, name: str) -> None:
        self.scale("StatefulSet", name, 0)
        until(lambda: not self.pods(name))

    def _start(self, name: str) -> None:
        self.scale("StatefulSet", name, 1)
        until(lambda: any(map(ready, self.pods(name))))


def passing(check: Mapping[str, Any]) -> dict[str, Any]:
    """A check taken out: it has the name of `check`, and finds everything as it must be."""
    kept = {key: check[key] for key in ("name", "service") if key in check}
    return {**kept, "type": "passing"}


def ready(pod: Mapping[str, Any]) -> bool:
    """Whether a pod is ready."""
    found = {item["type"]: item["status"] for item in pod["status"].get("conditions") or []}
    return found.get("Ready") == "True" and not pod["metadata"].get("deletionTimestamp")


def until(condition: Callable[[], bool], seconds: float = READY_SECONDS) -> None:
    """Return when a condition holds; AssertionError where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain"
        time.sleep(0.25)
