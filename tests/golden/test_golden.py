"""Every role, rendered for every inventory without a cluster, is what was reviewed, and keeps the rules of pods.

After an intended change write the files anew and review the difference:

    GOLDEN_UPDATE=1 make golden && git diff tests/golden
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import custom_resources
import pytest
import yaml
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import External, Service
from ansible_collections.mlops.platform.plugins.module_utils.checks.http import HttpCheck
from ansible_collections.mlops.platform.plugins.module_utils.component import Component, build
from ansible_collections.mlops.platform.plugins.module_utils.configure import STEPS
from ansible_collections.mlops.platform.plugins.module_utils.health import parse_checks
from ansible_collections.mlops.platform.plugins.module_utils.manifests import digest, pod_template
from ansible_collections.mlops.platform.plugins.module_utils.observation import DASHBOARD_LABEL
from ansible_collections.mlops.platform.plugins.module_utils.upstream import UPSTREAM
from pod_rules import containers, pod_of, problems

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent
INVENTORIES = {
    "local": ROOT / "inventories" / "local",
    "local-multinode": ROOT / "inventories" / "local-multinode",
    "existing": ROOT / "inventories" / "existing",
    "production": ROOT / "inventories" / "production",
    "scaled": GOLDEN / "inventories" / "scaled",
    "byo": GOLDEN / "inventories" / "byo",
    "openshift": GOLDEN / "inventories" / "openshift",
    "gpu": ROOT / "inventories" / "gpu",
}
# What an inventory is looked at for; the rest of it is as others have it.
ALONE = {"gpu": {"gpu_node", "kserve"}}
CASES = [
    (inventory, component)
    for inventory, folder in INVENTORIES.items()
    for component in yaml.safe_load((folder / "hosts.yml").read_text())["platform"]["children"]["components"]["hosts"]
    if component in ALONE.get(inventory, {component})
]
WATCHED = [
    (inventory, component)
    for inventory, component in CASES
    if (inventory, "monitoring") in CASES and (ROOT / "roles" / component / "templates" / "monitoring").is_dir()
]
# What somebody else's pods do.
WITHOUT_PODS = {("byo", "gateway")}
# What stands in a vault, for nobody's database.
VAULT = {
    "vault_mlflow_backend_store_uri": "postgresql://mlflow:not-in-a-manifest@db.example.org/mlflow?sslmode=verify-full",
    "vault_platform_image_registry_username": "puller",
    "vault_platform_image_registry_password": "not-in-a-manifest",
}
IMAGES: dict[str, Any] = yaml.safe_load((ROOT / "group_vars" / "all" / "images.yml").read_text(encoding="utf-8"))

# The tag of an image that is built: its version and the hash of its content.
TAG = re.compile(r"(?<=[a-z0-9]:)[A-Za-z0-9_.-]+-[0-9a-f]{12}\b")

Manifests = list[dict[str, Any]]


def render(inventory: str, folder: Path) -> Path:
    """A folder with the manifests (.yml) and the descriptions (.json) of an inventory's components."""
    program = Path(sys.executable).parent / "ansible-playbook"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PLATFORM_"))}
    environment |= {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "KUBECONFIG": str(folder / "none")}
    command: list[str | Path] = [program, GOLDEN / "specs.yml", "-i", INVENTORIES[inventory]]
    command += ["-e", json.dumps({**VAULT, "component_render_directory": str(folder)})]
    command += [f"--limit={','.join(sorted(ALONE[inventory]))}"] if inventory in ALONE else []
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What was rendered, by inventory: each when the first test asks for it."""

    class Rendered(dict[str, Path]):
        def __missing__(self, inventory: str) -> Path:
            self[inventory] = render(inventory, tmp_path_factory.mktemp(inventory))
            return self[inventory]

    return Rendered()


@pytest.fixture(params=CASES, ids="-".join)
def case(request: pytest.FixtureRequest) -> tuple[str, str]:
    """An inventory and a component."""
    found: tuple[str, str] = request.param
    return found


@functools.cache
def read(path: Path) -> Manifests:
    """The objects in a file; none where there is no such file."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return list(yaml.load_all(text, Loader=yaml.CSafeLoader))


@pytest.fixture
def manifests(folders: dict[str, Path], case: tuple[str, str]) -> Manifests:
    """The manifests of a case."""
    inventory, component = case
    return read(folders[inventory] / f"{component}.yml")


@pytest.fixture
def patches(folders: dict[str, Path], case: tuple[str, str]) -> Manifests:
    """What a case's role changes of upstream's objects."""
    inventory, component = case
    return read(folders[inventory] / f"{component}.patches.yml")


@pytest.fixture
def description(folders: dict[str, Path], case: tuple[str, str]) -> Component:
    """What the role says of the component, typed."""
    inventory, component = case
    return Component.parse(json.loads((folders[inventory] / f"{component}.json").read_text(encoding="utf-8")))


def secrets_of(pod: Mapping[str, Any]) -> set[str]:
    """The Secrets that a pod mounts or takes its environment from."""
    names = {volume["secret"]["secretName"] for volume in pod.get("volumes", []) if "secret" in volume}
    for container in containers(pod):
        references = [variable.get("valueFrom", {}).get("secretKeyRef") for variable in container.get("env", [])]
        names |= {reference["name"] for reference in references if reference}
    return names


def of_kind(manifests: Manifests, kind: str) -> Manifests:
    return [item for item in manifests if item["kind"] == kind]


def images_of(manifests: Manifests) -> list[str]:
    return [container["image"] for item in manifests for container in containers(pod_of(item) or {})]


class Readable(yaml.SafeDumper):
    """Writes texts of several lines as such."""


def _text(dumper: Readable, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Readable.add_representer(str, _text)


def normalised(manifests: Manifests, patches: Manifests) -> str:
    """The manifests as text, without what changes whenever an image is built of something else.

    Of an upstream object there is its identity and a digest, so that a change is seen; what the role changes of it
    follows in full, as a patch.
    """
    shown = [*map(brief, manifests), *({"patch": item} for item in patches)]
    text: str = TAG.sub("<tag>", yaml.dump_all(shown, Dumper=Readable, width=120))
    for job in (item["metadata"]["name"] for item in manifests if item["kind"] == "Job"):
        text = text.replace(job, f"{job.rpartition('-')[0]}-<hash>")
    return text


def brief(manifest: dict[str, Any]) -> dict[str, Any]:
    """An object as a golden file has it: rules and dashboards are files of the role, and are reviewed there."""
    metadata = manifest["metadata"]
    module = (metadata.get("annotations") or {}).get(UPSTREAM)
    if manifest["kind"] == "PrometheusRule" or DASHBOARD_LABEL in (metadata.get("labels") or {}):
        return {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"], "metadata": metadata}
    if not module:
        return manifest
    names = {key: metadata[key] for key in ("namespace", "name") if key in metadata}
    stable = json.loads(TAG.sub("<tag>", json.dumps(manifest)))
    return {"upstream": module, "apiVersion": manifest["apiVersion"], "kind": manifest["kind"],
            "metadata": names, "digest": digest(stable)}  # fmt: skip


def test_manifests_are_as_reviewed(manifests: Manifests, patches: Manifests, case: tuple[str, str]) -> None:
    inventory, component = case
    path = GOLDEN / inventory / f"{component}.yml"
    text = normalised(manifests, patches)
    if os.environ.get("GOLDEN_UPDATE"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path} differs: see GOLDEN_UPDATE in {Path(__file__).name}"


def test_checks_and_steps_are_what_the_engine_knows(description: Component) -> None:
    checks = parse_checks(description)
    assert [check for check in checks if not isinstance(check, HttpCheck)], "a component is proven by a transaction"
    assert len({check.name for check in checks}) == len(checks)
    for raw in description.configure:
        service = Service.parse(raw["service"], "here")
        values = {key: value for key, value in raw.items() if key != "type"}
        assert build(STEPS[raw["type"]], {**values, "service": service}, "here").service == service


def test_every_secret_that_pods_use_is_made(
    folders: dict[str, Path], case: tuple[str, str], manifests: Manifests
) -> None:
    """By this component (or what reads its objects) or, copied into its namespace, by another one of the inventory."""
    made: set[tuple[str, str]] = set()
    for path in folders[case[0]].glob("*.json"):
        for secret in Component.parse(json.loads(path.read_text(encoding="utf-8"))).secrets:
            made |= {(space, secret.name) for space in (secret.namespace, *secret.copies)}
    made |= {(item["metadata"]["namespace"], item["spec"]["secretName"]) for item in of_kind(manifests, "Certificate")}
    made |= {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in of_kind(manifests, "Secret")}
    used = {(item["metadata"]["namespace"], name) for item in manifests for name in secrets_of(pod_of(item) or {})}
    assert used <= made


def test_pods_keep_the_rules(manifests: Manifests, case: tuple[str, str], description: Component) -> None:
    workloads = [item for item in manifests if pod_of(item) is not None]
    assert workloads or case in WITHOUT_PODS, "a component without a workload"
    levels = description.spaces
    found = {item["metadata"]["name"]: problems(item, levels[item["metadata"]["namespace"]]) for item in workloads}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize("case", WATCHED, ids="-".join)
def test_what_watches_is_as_reviewed(folders: dict[str, Path], case: tuple[str, str]) -> None:
    inventory, component = case
    path = GOLDEN / inventory / f"{component}-monitoring.yml"
    text = normalised(read(folders[inventory] / path.name), [])
    if os.environ.get("GOLDEN_UPDATE"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path} differs: see GOLDEN_UPDATE in {Path(__file__).name}"


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_custom_resources_are_what_their_definitions_allow(folders: dict[str, Path], inventory: str) -> None:
    """Definitions are those of the local inventory's components: a site may have its own, but of the same version."""
    known = custom_resources.schemas(item for path in folders["local"].glob("*.yml") for item in read(path))
    wrong = [
        problem
        for path in sorted(folders[inventory].glob("*.yml"))
        if not path.name.endswith(".patches.yml")
        for item in read(path)
        for problem in custom_resources.problems(item, known)
    ]
    assert wrong == []


def test_service_accounts_give_no_token(manifests: Manifests) -> None:
    """A pod that talks to the API server says so itself."""
    accounts = of_kind(manifests, "ServiceAccount")
    assert [
        item["metadata"]["name"] for item in accounts if item.get("automountServiceAccountToken") is not False
    ] == []


def test_no_secret_is_in_a_manifest(manifests: Manifests) -> None:
    """A controller may ask for an empty one, which it fills."""
    secrets = of_kind(manifests, "Secret")
    assert [item["metadata"]["name"] for item in secrets if item.keys() & {"data", "stringData"}] == []
    assert "not-in-a-manifest" not in json.dumps(manifests)


def test_images_are_those_of_the_catalogue(manifests: Manifests, case: tuple[str, str]) -> None:
    registry = "localhost:5000" if case[0] in ("local", "local-multinode", "existing") else "registry.example.org/mlops"
    images = images_of(manifests)
    assert images or case in WITHOUT_PODS
    for image in images:
        if image.startswith(("images.example.org/", "nvcr.io/nvidia/")):
            continue  # a site's own, and a vendor's that nobody else can build
        name, _, tag = image.removeprefix(f"{registry}/").partition(":")
        assert name in IMAGES["platform_images_catalogue"], image
        assert re.fullmatch(r"[A-Za-z0-9_.-]+-[0-9a-f]{12}", tag), f"{image}: the tag must be the hash of its content"


@pytest.mark.parametrize("case", [case for case in CASES if case[0] in ("scaled", "byo")], ids="-".join)
def test_no_other_domain_is_written_than_the_cluster_s(manifests: Manifests, patches: Manifests) -> None:
    assert "cluster.local" not in normalised(manifests, patches)


@pytest.mark.parametrize("case", [("production", "minio"), ("byo", "mlflow")], ids="-".join)
def test_pods_are_placed_and_pulled_as_the_site_says(manifests: Manifests, case: tuple[str, str]) -> None:
    pods = [pod for item in manifests if (pod := pod_of(item))]
    for pod in pods:
        assert {"name": f"{case[1].replace('_', '-')}-registry"} in pod["imagePullSecrets"]
        assert pod["priorityClassName"] in ("platform", "high")
    (apart,) = [
        term
        for pod in pods
        for term in pod.get("affinity", {})
        .get("podAntiAffinity", {})
        .get("requiredDuringSchedulingIgnoredDuringExecution", [])
    ]
    assert apart["topologyKey"] == "kubernetes.io/hostname"


@pytest.mark.parametrize("case", [("byo", "mlflow")], ids="-".join)
def test_an_external_database_keeps_its_parameters_and_its_secrets(
    manifests: Manifests, description: Component
) -> None:
    (config,) = [item["data"] for item in manifests if item["kind"] == "ConfigMap"]
    assert config["pg_service.conf"].splitlines() == [
        "[mlflow]",
        "options=-c lock_timeout=5s",
        "sslmode=verify-full",
        "sslrootcert=/tmp/authorities.pem",
        "target_session_attrs=read-write",
    ]
    site = yaml.safe_load((INVENTORIES["byo"] / "group_vars" / "platform.yml").read_text(encoding="utf-8"))
    assert config["authorities.pem"] == site["platform_ca_certificates"]
    (login,) = [secret.values for secret in description.secrets if secret.name == "mlflow-backend-store"]
    assert (login["host"], login["port"], login["database"]) == ("2001:db8::5,db2.example.org", "5432,5433", "tracking")
    assert (login["username"], login["password"]) == ("ml@example", "not-in-a-manifest/?#")
    external = [check for check in parse_checks(description) if isinstance(check.service, External)]
    assert {check.name: str(check.service) for check in external} == {
        "S3 keeps bytes": "https://s3.example.org:9443",
        "S3 refuses wrong keys": "https://s3.example.org:9443",
        "database writes and rolls back": "postgresql://[2001:db8::5]:5432,db2.example.org:5433",
        "database refuses wrong passwords": "postgresql://[2001:db8::5]:5432,db2.example.org:5433",
    }
    assert "not-in-a-manifest" not in json.dumps(list(description.checks))


@pytest.mark.parametrize("case", [case for case in CASES if case[0] == "openshift"], ids="-".join)
def test_on_openshift_hosts_are_routes_and_no_user_is_fixed(manifests: Manifests, case: tuple[str, str]) -> None:
    assert [item["kind"] for item in manifests if "gateway.networking.k8s.io" in item["apiVersion"]] == []
    hosts = {item["spec"]["host"] for item in manifests if item["kind"] == "Route"}
    names = {"minio": {"minio", "s3"}, "mlflow": {"mlflow"}}.get(case[1], set())
    assert hosts == {f"{name}.ml.apps.example.org" for name in names}
    text = json.dumps(manifests)
    assert [field for field in ("runAsUser", "runAsGroup", "fsGroup") if field in text] == []


def test_objects_say_whose_they_are(manifests: Manifests, case: tuple[str, str]) -> None:
    for item in manifests:
        labels = item["metadata"]["labels"]
        assert labels["mlops.platform/component"] == case[1]
        assert labels["app.kubernetes.io/managed-by"] == "mlops.platform"


def test_every_service_finds_its_pods(manifests: Manifests) -> None:
    """The labels and ports that a Service selects are there."""
    templates = [template for item in manifests if (template := pod_template(item))]
    for service in of_kind(manifests, "Service"):
        selector = (service["spec"].get("selector") or {}).items()
        found = [template for template in templates if selector <= template["metadata"]["labels"].items()]
        boxes = [box for template in found for box in template["spec"]["containers"]]
        ports = {port.get(key) for box in boxes for port in box.get("ports", []) for key in ("name", "containerPort")}
        wanted = {port.get("targetPort", port["port"]) for port in service["spec"]["ports"]}
        operated = "prometheus-operator" in dict(selector).values()  # whose pods its operator makes
        assert not selector or operated or wanted <= ports, service["metadata"]["name"]
