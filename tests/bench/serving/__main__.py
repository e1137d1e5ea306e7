"""How fast models answer, and how pods follow the load: `make bench-serving`.

Asks KServe's Iris and the plain serving API for predictions at a constant rate, through the edge as a client does and
straight at their pods, then asks more of the API until it has all its pods, and looks on as they go again. Runs on a
machine that reaches the pods, such as the one with the embedded cluster. Writes docs/serving-performance.md, .json and
.svg; with --quick, which takes a minute, it writes them below reports/ instead.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import collection_names  # noqa: F401  (makes the collection importable)
from ansible_collections.mlops.platform.plugins.module_utils import gateway
from ansible_collections.mlops.platform.plugins.module_utils.certificates import authority
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster, connect
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.models import reference
from bench.results import between_marks
from bench.serving import load, results
from bench.serving.load import Target
from bench.serving.watch import Watch, busy_seconds, ready_pods
from sklearn.datasets import load_iris

from tools import verbs

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "serving-performance.md"
FACTS = """{{ {'kubeconfig': platform_kubeconfig, 'domain': platform_domain, 'gateway': __platform_gateway,
    'issuer': cert_manager_issuer | default('platform-ca'),
    'issuers': cert_manager_namespace | default('cert-manager'),
    'models': kserve_models_namespace | default('models'),
    'api': model_api_namespace | default(platform_namespace), 'api_port': model_api_port | default(8080) | string,
    'api_host': model_api_ingress_host | default('model-api.' ~ platform_domain)} | to_json }}"""
KSERVE, API = "KServe", "model_api"
ROWS = 3
"""Rows of a request."""
MORE = 300.0
"""Requests a second that two pods do not carry: what a row costs is some 4 ms of a processor."""
LONGEST_GROWTH_SECONDS, LONGEST_SHRINKING_SECONDS = 120.0, 180.0


class Failed(Exception):
    """What cannot be measured, and why."""


@dataclass(frozen=True)
class Service:
    """A service under load: how it is asked through the edge, and where its pods are."""

    name: str
    edge: Target
    namespace: str
    selector: str
    port: int


@dataclass
class Bench:
    """The services, and what was measured of them."""

    cluster: Cluster
    services: list[Service]
    say: Callable[[str], None]
    legs: list[dict[str, Any]]

    def pods(self, service: Service) -> list[str]:
        """The addresses of a service's pods."""
        return ready_pods(self.cluster, service.namespace, service.selector)

    def counts(self) -> Mapping[str, int]:
        """The pods that each service has ready."""
        return {service.name: len(self.pods(service)) for service in self.services}

    def leg(self, watch: Watch, service: Service, way: str, rate: float, seconds: float, part: str = "steady") -> None:
        """Ask a service one way for some time, and note what came of it."""
        target = service.edge
        if way == "pod":
            places = tuple((address, service.port) for address in self.pods(service))
            if not places:
                self.say(f"{service.name} has no pod that is ready: {rate:g} requests a second were too many for it")
                return
            target = Target(places, target.host, target.path, target.body)
        began, busy, started = watch.now, busy_seconds(), time.monotonic()
        measured = load.run(target, rate, seconds)
        took = time.monotonic() - started
        found = results.summary(measured, seconds)
        replicas = [counts.get(service.name, 0) for moment, counts in watch.seen if moment >= began]
        self.legs.append(
            {
                "service": service.name, "way": way, "part": part, "rate": rate, "seconds": seconds,
                "began": round(began, 1), "ended": round(watch.now, 1), **found,
                "replicas": replicas or [watch.ready(service.name)],
                "processors_busy": round((busy_seconds() - busy) / took, 2),
            }
        )  # fmt: skip
        errors = sum(found["errors"].values())
        self.say(
            f"{service.name}, {way}, {rate:g}/s for {seconds:g} s: p50 {found['p50_ms']:.0f}, "
            f"p95 {found['p95_ms']:.0f}, p99 {found['p99_ms']:.0f} ms, {errors} errors, "
            f"{watch.ready(service.name)} pods"
        )

    def measure(self, rate: float, seconds: float) -> Watch:
        """The whole run; returns what was seen meanwhile."""
        by_name = {service.name: service for service in self.services}
        with Watch(self.counts) as watch:
            api = by_name.get(API)
            if api:
                self.steady(watch, api, rate, seconds)
                self.grow(watch, api)
            if kserve := by_name.get(KSERVE):
                self.steady(watch, kserve, rate, seconds)
            if api:
                self.shrink(watch, api)
        return watch

    def steady(self, watch: Watch, service: Service, rate: float, seconds: float) -> None:
        """A constant load through the edge, and after it one straight at the pods, to compare with."""
        self.warm(service)
        self.leg(watch, service, "edge", rate, seconds)
        self.leg(watch, service, "pod", rate, max(5.0, seconds / 4))

    def warm(self, service: Service) -> None:
        """See that the service answers, and let it answer some requests that do not count."""
        end = time.monotonic() + 90
        while True:
            (first,) = load.run(service.edge, 1, 1).samples
            if first.outcome == "200":
                break
            if time.monotonic() > end:
                raise Failed(f"{service.name} does not answer through the edge: {first.outcome}")
        load.run(service.edge, 30, 3)

    def grow(self, watch: Watch, service: Service) -> None:
        """More load, until the number of pods is the autoscaler's largest."""
        scaler = self.cluster.get("autoscaling/v2", "HorizontalPodAutoscaler", "model-api", service.namespace)
        if scaler is None:
            raise Failed(f"there is no HorizontalPodAutoscaler {service.namespace}/model-api")
        end = time.monotonic() + LONGEST_GROWTH_SECONDS
        while watch.ready(service.name) < scaler["spec"]["maxReplicas"] and time.monotonic() < end:
            self.leg(watch, service, "edge", MORE, 15, "more")

    def shrink(self, watch: Watch, service: Service) -> None:
        """Look on until the pods that are not needed are gone."""
        least = self.legs[0]["replicas"][0]
        end = time.monotonic() + LONGEST_SHRINKING_SECONDS
        said = 0
        while (number := watch.ready(service.name)) > least and time.monotonic() < end:
            if number != said:
                self.say(f"{service.name} has {number} pods, {least} are enough without load")
                said = number
            time.sleep(1)


def services(cluster: Cluster, facts: Mapping[str, Any]) -> list[Service]:
    """The services of the platform that serve Iris and have pods. Raises Failed where there is none."""
    place = gateway.entrance(cluster, facts["gateway"]["name"], facts["gateway"]["namespace"])
    trusted = authority(cluster, facts["issuer"], facts["issuers"])
    rows = load_iris(as_frame=True).data.head(ROWS)

    def edge(host: str, path: str, body: object) -> Target:
        return Target((place,), host, path, json.dumps(body).encode(), trusted)

    known = [
        Service(API, edge(facts["api_host"], "/predict", {"features": rows.to_numpy().tolist()}), facts["api"],
                "app.kubernetes.io/name=model-api", int(facts["api_port"])),
        Service(KSERVE, edge(f"iris.{facts['domain']}", "/v2/models/iris/infer", reference.request(rows)),
                facts["models"], "serving.kserve.io/inferenceservice=iris", 8080),
    ]  # fmt: skip
    has_isvc = ("serving.kserve.io/v1beta1", "InferenceService") in cluster.resources and cluster.get(
        "serving.kserve.io/v1beta1", "InferenceService", "iris", facts["models"]
    )
    has_api = cluster.get("apps/v1", "Deployment", "model-api", facts["api"])
    found = [item for item, there in zip(known, (has_api, has_isvc), strict=True) if there]
    if not found:
        raise Failed("nothing serves Iris: make up first")
    return found


def main() -> int:
    """Parse the command line, measure, and write what was found; 1 where it could not be, 2 without a platform."""
    parser = argparse.ArgumentParser(prog="make bench-serving", description=__doc__)
    parser.add_argument("--inventory", default="local", help="a folder of inventories/, or a path")
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second of the constant load")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long it lasts")
    parser.add_argument("--quick", action="store_true", help="ten seconds each, written below reports/")
    arguments = parser.parse_args()
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {line}", flush=True)

    facts: dict[str, Any] = dict(verbs.inventory_facts(arguments.inventory, FACTS))
    try:
        cluster = connect(facts["kubeconfig"])
        version = cluster.request("GET", "/version", timeout=5)["gitVersion"]
        bench = Bench(cluster, services(cluster, facts), say, [])
    except (PlatformError, Failed) as error:
        print(f"bench-serving: {error}", file=sys.stderr)
        return 2
    lock = verbs.one_at_a_time("bench-serving")
    try:
        watch = bench.measure(arguments.rate, 10.0 if arguments.quick else arguments.seconds)
    except (PlatformError, Failed) as error:
        print(f"bench-serving: {error}", file=sys.stderr)
        return 1
    finally:
        os.close(lock)
    document = {
        "schema_version": 1,
        "machine": {"processors": os.cpu_count(), "kubernetes": version},
        "services": [service.name for service in bench.services],
        "legs": bench.legs,
        "replicas": watch.seen,
    }
    write(document, ROOT / "reports" / "bench-serving" if arguments.quick else PAGE.parent)
    return 0


def write(document: dict[str, Any], directory: Path) -> None:
    """Write the document, the page and the plot into a folder, and the tables to the terminal."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / PAGE.with_suffix(".json").name).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    tables = results.markdown(document)
    (directory / PAGE.name).write_text(between_marks(PAGE.read_text(encoding="utf-8"), tables), encoding="utf-8")
    results.plot(document, directory / PAGE.with_suffix(".svg").name)
    print(f"\n{tables}\n\nwritten: {directory}/{PAGE.stem}.md, .json and .svg")


if __name__ == "__main__":
    sys.exit(main())
