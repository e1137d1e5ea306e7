"""What is refused before anything is touched."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.preflight import (
    RoleDescription,
    describe,
    machine,
    shadowed,
    unknown_component,
    version_tuple,
    wrong_variables,
)

ROOT = Path(__file__).parents[2]
ROLES = ROOT / "roles"


@pytest.mark.parametrize(
    ("name", "hint"), [("mlfow", "; did you mean mlflow?"), ("postgres", "; did you mean postgresql?"), ("spark", "")]
)
def test_an_unknown_component_with_a_near_name(name: str, hint: str) -> None:
    expected = f"inventory: unknown component '{name}'{hint} (known are minio, mlflow, postgresql)"
    assert unknown_component(name, ["postgresql", "minio", "mlflow"]) == expected


@pytest.fixture(scope="module")
def mlflow() -> RoleDescription:
    return describe(ROLES / "mlflow", "mlflow")


def test_a_role_describes_itself(mlflow: RoleDescription) -> None:
    assert mlflow.name == "mlflow"
    assert mlflow.requires == {"minio": "mlflow_s3_endpoint_url", "postgresql": "mlflow_backend_store_uri"}
    assert mlflow.arguments["mlflow_port"]["type"] == "int"
    assert mlflow.defaults["mlflow_port"] == 5000


def test_a_role_that_is_no_component() -> None:
    with pytest.raises(PlatformError, match="inventory: images has the role images, which is not a component"):
        describe(ROLES / "images", "images")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"mlflow_port": 5000, "mlflow_allowed_hosts": ["a"]}, None),
        ({"mlflow_port": "5000"}, None),
        (
            {"mlflow_replicsa": 2},
            "mlflow_replicsa: the role mlflow has no such variable; did you mean mlflow_replicas?",
        ),
        ({"mlflow_zzz": 2}, "mlflow_zzz: the role mlflow has no such variable"),
        ({"mlflow_port": "many"}, "(mlflow_port is 'many')"),
        ({"mlflow_allowed_hosts": {"a": 1}}, "(mlflow_allowed_hosts is {'a': 1})"),
        (
            {"mlflow_service_type": "Ingress"},
            "value of mlflow_service_type must be one of: ClusterIP, NodePort, LoadBalancer",
        ),
        ({"mlflow_autoscaling_enabled": "maybe"}, "(mlflow_autoscaling_enabled is 'maybe')"),
    ],
)
def test_variables_of_a_role(mlflow: RoleDescription, given: dict[str, Any], problem: str | None) -> None:
    problems = wrong_variables(mlflow, given)
    assert len(problems) == (0 if problem is None else 1)
    assert problem is None or problem in problems[0]


def test_values_inside_a_list_are_checked_too() -> None:
    minio = describe(ROLES / "minio", "minio")
    consumer = {"name": "a", "namespace": "n", "buckets": ["b"], "access": "read"}
    assert wrong_variables(minio, {"minio_consumers": [consumer]}) == []
    (problem,) = wrong_variables(minio, {"minio_consumers": [{**consumer, "access": "all"}]})
    assert "value of access must be one of: read, read-write, got: all found in minio_consumers" in problem
    (problem,) = wrong_variables(minio, {"minio_consumers": [{"name": "a", "namespace": "n", "access": "read"}]})
    assert "missing required arguments: buckets found in minio_consumers" in problem


@pytest.mark.parametrize("file", ["all.yml", "all/site.yml", "all/more.yaml"])
def test_a_variable_that_the_collection_overrides_is_pointed_out(tmp_path: Path, file: str) -> None:
    path = tmp_path / "group_vars" / file
    path.parent.mkdir(parents=True)
    path.write_text("platform_profile: minimal\nmine: 1\n", encoding="utf-8")
    (problem,) = shadowed(tmp_path, ["platform_profile", "platform_namespace"])
    assert problem.startswith(f"{path}: platform_profile has no effect")


def test_variables_in_their_right_place_are_fine(tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "platform.yml").write_text("platform_profile: minimal\n", encoding="utf-8")
    assert shadowed(tmp_path, ["platform_profile"]) == []
    assert shadowed(tmp_path / "none", ["platform_profile"]) == []


@pytest.mark.parametrize(
    ("text", "version"),
    [("v1.36.3", (1, 36)), ("1.33", (1, 33)), ("v1.33.4+k3s1", (1, 33)), ("v1.34.0-gke.1", (1, 34)), ("1.9", (1, 9))],
)
def test_kubernetes_versions(text: str, version: tuple[int, int]) -> None:
    assert version_tuple(text) == version
    assert version_tuple("1.9") < version_tuple("1.33")


def test_a_machine_that_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert machine([tmp_path], []) == ["local_cluster: this machine runs Darwin; an embedded cluster needs Linux"]


def test_what_a_machine_lacks_is_said_in_numbers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("usage", (), {"free": 3 * 1024**3})())
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**18}.__getitem__)
    problems = machine([tmp_path / "not" / "yet"], ["no-such-program"])
    assert [item.removeprefix("local_cluster: ") for item in problems if "apt-get" not in item] == [
        "this is user id 1000; an embedded cluster needs root",
        "the program no-such-program is not installed",
        "this machine has 1.0 GiB of memory; at least 4 are needed",
        f"3.0 GiB are free for {tmp_path}/not/yet; at least 20 are needed",
    ]


def test_every_variable_of_the_platform_is_described() -> None:
    specs = yaml.safe_load((ROOT / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    described = {name for name in specs["argument_specs"]["main"]["options"] if name.startswith("platform_")}
    defaults: set[str] = set()
    for path in (ROOT / "group_vars" / "all").glob("*.yml"):
        defaults |= set(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert described == defaults
