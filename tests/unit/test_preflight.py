"""What is refused before anything is touched: types, formats, files, versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.mlops.platform.plugins.module_utils.preflight import sources, versions
from ansible_collections.mlops.platform.plugins.module_utils.preflight.description import describe, plain
from ansible_collections.mlops.platform.plugins.module_utils.preflight.formats import (
    BY_SUFFIX,
    FORMATS,
    format_of,
    port_range,
)
from ansible_collections.mlops.platform.plugins.module_utils.preflight.values import (
    faults,
    nearest,
    one_slip,
    shown,
)

ROOT = Path(__file__).parents[2]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())


def test_a_role_describes_itself() -> None:
    mlflow = describe(ROOT / "roles" / "mlflow")
    assert (mlflow.name, mlflow.prefix, mlflow.is_component) == ("mlflow", "mlflow_", True)
    assert mlflow.requires == {"minio": "mlflow_s3_endpoint_url", "postgresql": "mlflow_backend_store_uri"}
    assert mlflow.options["mlflow_port"]["type"] == "int"
    assert mlflow.defaults["mlflow_port"] == 5000
    assert not describe(ROOT / "roles" / "images").is_component


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_what_roles_refuse_is_about_their_own_variables_or_the_platforms(role: Path) -> None:
    found = describe(role)
    known = {f"{name}.{key}" for name, option in found.options.items() for key in option.get("options") or {}}
    known |= set(found.options)
    assert set(found.formats) | set(found.unique) <= known
    assert {rule["variable"] for rule in found.refused} <= known | set(describe(ROOT).options)
    assert set(found.formats.values()) <= set(FORMATS)
    assert all(set(rule) == {"variable", "when", "because"} for rule in found.refused)


def test_every_suffix_has_a_format() -> None:
    assert set(BY_SUFFIX.values()) <= set(FORMATS)
    assert format_of("mlflow_node_port", {}) is FORMATS["port"]
    assert format_of("minio_consumers.namespace", {}) is FORMATS["dns_label"]
    assert format_of("minio_storage_size", {"minio_storage_size": "word"}) is FORMATS["word"]
    assert format_of("mlflow_reports", {}) is None


GOOD: dict[str, list[Any]] = {
    "address": ["10.0.0.1", "fd00::1"],
    "bucket": ["mlflow-artifacts", "a.b"],
    "cidr": ["10.244.0.0/16", "fd00::/64"],
    "count": [1, 16],
    "dns_label": ["mlops", "a", "a-1"],
    "dns_name": ["cluster.local", "mlops"],
    "host": ["10.0.0.1", "::", "mlflow.example.org"],
    "host_pattern": ["*.example.org", "10.*", "mlflow:5000", "mlflow:*"],
    "image": [
        "localhost:5000/mlflow:3.17.2-0123456789ab",
        "quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z",
        "r.example.org/a/b@sha256:" + "0" * 64,
    ],
    "percent": [1, 100],
    "port": [1, 65535],
    "port_range": ["30000-32767", "1-1"],
    "postgresql_uri": ["postgresql://u:p@db.example.org:5433/x", "postgresql+psycopg2://u:p@db/x?sslmode=require"],
    "registry": ["localhost:5000", "registry.example.org/mlops"],
    "resources": [
        {},
        {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "1Gi", "nvidia.com/gpu": 1}},
        {"requests": {"cpu": 2}, "limits": {"cpu": "2000m"}},
    ],
    "s3_uri": ["s3://mlflow-artifacts", "s3://a.b/c/d"],
    "size": ["5Gi", "1.5Ti", 1048576, "1e9"],
    "word_or_nothing": ["champion", ""],
    "url": ["https://s3.example.org", "http://10.0.0.1:9000/x"],
    "version": ["3.17.2", "2026-02-12T20-18-48Z", "17"],
}
BAD: list[tuple[str, Any, str]] = [
    ("address", "10.0.0.256", "IP address"),
    ("bucket", "Models", "a-z"),
    ("bucket", "ab", "3 to 63"),
    ("cidr", "10.244.0.1/16", "host bits"),
    ("cidr", "10.244.0.0/33", "network such as"),
    ("count", 0, "1 or more"),
    ("dns_label", "ml_ops", "DNS label"),
    ("dns_label", "a" * 64, "1 to 63"),
    ("dns_label", "-a", "at its ends"),
    ("dns_name", "a..b", "DNS name"),
    ("host", "10.0.0.999", "host name"),
    ("host_pattern", "http://a", "host name"),
    ("image", "Registry/ MLflow", "image reference"),
    ("percent", 101, "1 to 100"),
    ("port", 0, "1 to 65535"),
    ("port", 65536, "1 to 65535"),
    ("port_range", "32767-30000", "range of ports"),
    ("postgresql_uri", "mysql://u:p@db/x", "postgresql://"),
    ("postgresql_uri", "postgresql://u:p@db", "database is missing"),
    ("certificates", "no such thing", "PEM"),
    ("registry", "https://registry.example.org", "host[:port]"),
    ("s3_uri", "s3://Artifacts", "s3://bucket"),
    ("s3_uri", "/data", "s3://bucket"),
    ("size", "5GB", "did you mean 5G?"),
    ("size", "5 Gi", "did you mean 5Gi?"),
    ("size", "500m", "m is a thousandth"),
    ("size", "-1Gi", "a size"),
    ("url", "s3.example.org", "https://"),
    ("url", "https://", "https://"),
    ("url", "https://a:port", "https://"),
    ("url", "https://a b", "https://"),
    ("url", None, "https://"),
    ("version", "", "version"),
]


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in GOOD.items() for value in values])
def test_values_of_a_format(name: str, value: Any) -> None:
    assert list(FORMATS[name](value)) == []


@pytest.mark.parametrize(("name", "value", "allowed"), BAD)
def test_values_that_are_not(name: str, value: Any, allowed: str) -> None:
    ((where, found, said),) = FORMATS[name](value)
    assert (where, found) == ("", value)
    assert allowed in said


@pytest.mark.parametrize(
    ("value", "where", "allowed"),
    [
        ({"request": {}}, ".request", "requests and limits"),
        ({"requests": {"cpus": 1}}, ".requests.cpus", "cpu, memory"),
        ({"limits": {"memory": "512m"}}, ".limits.memory", "at least 1Mi"),
        ({"limits": {"memory": "lots"}}, ".limits.memory", "a Kubernetes quantity"),
        ({"requests": ["cpu"]}, ".requests", "a mapping of resources"),
        ({"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}, ".requests.memory", "at most the limit"),
    ],
)
def test_resources(value: Any, where: str, allowed: str) -> None:
    ((found, _, said),) = FORMATS["resources"](value)
    assert found == where
    assert allowed in said


def test_ranges_of_ports() -> None:
    assert port_range("30000-32767") == range(30000, 32768)
    assert [port_range(text) for text in ("0-1", "1-70000", "5", "2-1")] == [None] * 4


CONSUMERS = describe(ROOT / "roles" / "minio").options["minio_consumers"]
CONSUMER = {"name": "a", "namespace": "n", "buckets": ["abc"], "access": "read"}


@pytest.mark.parametrize(
    ("option", "value", "fault"),
    [
        ({"type": "str"}, "x", None),
        ({"type": "str"}, 17, ("x", 17, "quotes")),
        ({"type": "str"}, True, ("x", True, "quotes")),
        ({"type": "str"}, None, ("x", None, "remove the line")),
        ({"type": "int"}, 1, None),
        ({"type": "int"}, "1", ("x", "1", "without quotes")),
        ({"type": "int"}, True, ("x", True, "a whole number")),
        ({"type": "bool"}, False, None),
        ({"type": "bool"}, "no", ("x", "no", "true or false")),
        ({"type": "bool"}, 0, ("x", 0, "true or false")),
        ({"type": "list", "elements": "str"}, "a,b", ("x", "a,b", "a list")),
        ({"type": "list", "elements": "str"}, ["a", 1], ("x[1]", 1, "quotes")),
        ({"type": "dict"}, [1], ("x", [1], "a mapping")),
        ({"type": "str", "choices": ["read", "write"]}, "raed", ("x", "raed", "read, write; did you mean read?")),
        ({"type": "list", "elements": "str", "choices": ["a", "b"]}, ["b", "a"], None),
        ({"type": "list", "elements": "str", "choices": ["a", "b"]}, ["b", "c"], ("x[1]", "c", "allowed are a, b")),
        ({"type": "raw"}, None, None),
    ],
)
def test_types_are_strict(option: dict[str, Any], value: Any, fault: tuple[str, Any, str] | None) -> None:
    found = list(faults("x", value, option, {}))
    assert len(found) == (0 if fault is None else 1)
    if fault:
        assert found[0][:2] == fault[:2]
        assert fault[2] in found[0][2]


@pytest.mark.parametrize(
    ("change", "where", "said"),
    [
        ({"access": "all"}, "minio_consumers[0].access", "allowed are read, write, read-write"),
        ({"namespace": "No"}, "minio_consumers[0].namespace", "a DNS label"),
        ({"buckets": "abc"}, "minio_consumers[0].buckets", "a list"),
        ({"buckets": ["abc", "x y z"]}, "minio_consumers[0].buckets[1]", "3 to 63"),
        ({"acess": "read"}, "minio_consumers[0].acess", "did you mean access?"),
    ],
)
def test_values_inside_values(change: dict[str, Any], where: str, said: str) -> None:
    assert list(faults("minio_consumers", [CONSUMER], CONSUMERS, {})) == []
    ((found, _, matter),) = faults("minio_consumers", [{**CONSUMER, **change}], CONSUMERS, {})
    assert found == where
    assert said in matter


def test_keys_that_are_missing() -> None:
    ((where, _, matter),) = faults(
        "minio_consumers", [{"name": "a", "namespace": "n", "access": "read"}], CONSUMERS, {}
    )
    assert (where, matter) == ("minio_consumers[0]", "the key buckets is missing")


@pytest.mark.parametrize("name", ["mlfow_port", "mlfloww_port", "mlflpw_port", "mflow_port", "mlflow_prot"])
def test_one_slip(name: str) -> None:
    assert one_slip(name, "mlflow_port")


@pytest.mark.parametrize("name", ["mlflow_port", "my_mlflow_port", "minio_port", "mlflow_tropx", "molflow_por"])
def test_more_than_one_slip(name: str) -> None:
    assert not one_slip(name, "mlflow_port")


def test_what_messages_show() -> None:
    assert nearest("replica", ["port", "replicas"]) == "; did you mean replicas?"
    assert nearest("zzz", ["port", "replicas"]) == ""
    assert shown("a\nb") == "'a\\nb'"
    assert shown("x" * 1000).endswith("...")
    assert len(shown("x" * 1000)) < 110


@pytest.mark.parametrize("file", ["all.yml", "all/site.yml", "all/more.yaml", "all"])
def test_a_variable_that_the_collection_overrides_is_pointed_out(tmp_path: Path, file: str) -> None:
    path = tmp_path / "group_vars" / file
    path.parent.mkdir(parents=True)
    path.write_text("mine: 1\nplatform_profile: minimal\n", encoding="utf-8")
    assert path in sources.files(tmp_path)
    (problem,) = sources.shadowed(path, ["platform_profile", "platform_namespace"])
    assert problem.startswith(f"{path}:2: platform_profile has no effect")
    other = tmp_path / "group_vars" / "platform.yml"
    other.write_text("platform_profile: minimal\n", encoding="utf-8")
    assert sources.shadowed(other, ["platform_profile"]) == []


def test_keys_that_are_there_twice(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text("a: {b: 1}\nc:\n  - d: true\n    e: 2\n    d:\na: 4\n", encoding="utf-8")
    assert sources.duplicate_keys(path) == [
        f"{path}:5: d stands there twice, first in line 3: remove one",
        f"{path}:6: a stands there twice, first in line 1: remove one",
    ]
    assert sources.lines_of(path, "d") == [3, 5]
    assert sources.lines_of(path, "a") == []
    assert sources.files(path) == [path]


@pytest.mark.parametrize("text", ["$ANSIBLE_VAULT;1.1;AES256\n6130\n", "[components]\nmlflow x=1\n", "{", ""])
def test_files_that_are_no_yaml_are_left_to_ansible(tmp_path: Path, text: str) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(text, encoding="utf-8")
    assert sources.duplicate_keys(path) == []


ROWS = [
    versions.Pair("platform", "kubernetes", ">=1.33,<1.38", "https://a"),
    versions.Pair("mlflow", "postgresql", ">=14", "https://b", versions=">=3"),
]


@pytest.mark.parametrize(
    ("present", "message"),
    [
        ({"kubernetes": "v1.36.3"}, ""),
        ({"kubernetes": "v1.33.4+k3s1"}, ""),
        ({"kubernetes": "v1.37.0-gke.100"}, ""),
        ({"kubernetes": "v1.9.3"}, "is v1.9.3: platform goes with kubernetes >=1.33,<1.38 (https://a)"),
        ({"kubernetes": "v1.38.0"}, "is v1.38.0: platform goes with kubernetes >=1.33,<1.38 (https://a)"),
        ({"mlflow": "3.1", "postgresql": "13"}, "is 13: mlflow 3.1 goes with postgresql >=14 (https://b)"),
        ({"mlflow": "2.9", "postgresql": "13"}, ""),
        ({"mlflow": "3.1"}, ""),
        ({"postgresql": "13"}, ""),
        ({"mlflow": "?", "postgresql": "13"}, ""),
    ],
)
def test_versions_that_go_together(present: dict[str, str], message: str) -> None:
    assert [said for _, said in versions.mismatches(ROWS, present)] == ([message] if message else [])


def test_the_table_of_versions_allows_the_pins() -> None:
    rows = [versions.Pair(**row) for row in plain(ROOT / "meta" / "versions.yml")]
    pins = plain(ROOT / "group_vars" / "all" / "versions.yml")["platform_versions"]
    assert versions.mismatches(rows, {**versions.python_packages(rows), **{k: str(v) for k, v in pins.items()}}) == []
    page = (ROOT / "docs" / "preflight.md").read_text(encoding="utf-8")
    sources_of_rows = {word.rstrip(",") for row in rows for word in row.source.split() if word.startswith("https://")}
    assert len(sources_of_rows) >= 5
    assert [source for source in sources_of_rows if source not in page] == []


def test_every_variable_of_the_platform_is_described() -> None:
    specs = yaml.safe_load((ROOT / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    prefixes = ("platform_", "release_", "experiment_")
    described = {name for name in specs["argument_specs"]["main"]["options"] if name.startswith(prefixes)}
    defaults: set[str] = set()
    for path in (ROOT / "group_vars" / "all").glob("*.yml"):
        defaults |= set(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert described == {name for name in defaults if not name.startswith("__")}
