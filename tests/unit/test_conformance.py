"""The shape that every role, plugin and pin of the collection has."""

from __future__ import annotations

import importlib
import importlib.util
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.plugins.loader import fragment_loader
from ansible.utils.plugin_docs import get_docstring
from ansible_collections.mlops.platform.plugins.module_utils.checks import CHECKS
from ansible_collections.mlops.platform.plugins.module_utils.component import Component
from ansible_collections.mlops.platform.plugins.module_utils.configure import STEPS

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
ACTIONS = sorted(path.stem for path in (ROOT / "plugins" / "action").glob("[a-z]*.py"))
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("[a-z]*.py"))
INVENTORIES = [*(ROOT / "inventories").iterdir(), ROOT / "molecule" / "inventory"]
FORBIDDEN = {"shell", "command", "raw", "script", "expect", "ignore_errors"}


def load(path: Path) -> Any:
    """The YAML of a file; empty where there is none."""
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}


def spec_of(role: str) -> dict[str, Any] | None:
    """What a component's role says of itself, untemplated; None for roles that are no components."""
    found: dict[str, Any] | None = load(ROOT / "roles" / role / "vars" / "main.yml").get(f"__{role}_spec")
    return found


COMPONENTS = [role for role in ROLES if not (ROOT / "roles" / role / "vars" / "main").is_dir() and spec_of(role)]


def options_of(role: str) -> dict[str, dict[str, Any]]:
    """The documented variables of all entry points of a role."""
    specs = load(ROOT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]
    return {name: option for entry in specs.values() for name, option in (entry.get("options") or {}).items()}


def test_there_are_components() -> None:
    assert set(COMPONENTS) >= {"minio", "mlflow", "postgresql"}


@pytest.mark.parametrize("role", ROLES)
def test_variables_of_a_role_have_a_default_and_a_description(role: str) -> None:
    options = options_of(role)
    defaults = load(ROOT / "roles" / role / "defaults" / "main.yml")
    needed = {name for name, option in options.items() if not option.get("required")}
    assert set(defaults) == needed
    assert [name for name in options if not name.startswith(f"{role}_")] == []


@pytest.mark.parametrize("role", ROLES)
def test_descriptions_of_variables_are_complete(role: str) -> None:
    def walk(options: dict[str, dict[str, Any]]) -> Iterator[str]:
        for name, option in options.items():
            if not option.get("description") or not option.get("type"):
                yield f"{name}: a description and a type are needed"
            if "default" in option:
                yield f"{name}: its default stands in defaults/main.yml"
            if option.get("type") == "list" and "elements" not in option:
                yield f"{name}: the type of its elements is needed"
            yield from walk(option.get("options") or {})

    assert list(walk(options_of(role))) == []


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_described(role: str) -> None:
    assert (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8").startswith(f"# {role}\n")
    entries = load(ROOT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]
    assert all(entry.get("short_description") and entry.get("description") for entry in entries.values())


@pytest.mark.parametrize("role", COMPONENTS)
def test_a_component_has_its_shape(role: str) -> None:
    spec = spec_of(role)
    assert spec is not None
    assert set(spec) <= set(Component.__dataclass_fields__)
    assert spec["name"] == role
    assert (spec["version"], spec["namespace"]) == (f"{{{{ {role}_version }}}}", f"{{{{ {role}_namespace }}}}")
    types = set(re.findall(r"'?type'?: '?(\w+)", yaml.safe_dump(spec["checks"], width=10_000)))
    assert types <= set(CHECKS)
    assert types - {"http"}, "a component is proven by a transaction"
    assert all(step["type"] in STEPS for step in spec.get("configure", []))
    assert list((ROOT / "roles" / role / "templates").glob("*.yml.j2"))


@pytest.mark.parametrize("role", COMPONENTS)
def test_a_component_has_a_scenario_and_a_place_in_every_inventory(role: str) -> None:
    assert (ROOT / "molecule" / role / "molecule.yml").exists()
    assert list((ROOT / "molecule" / role / "tests").glob("test_*.py"))
    for inventory in INVENTORIES:
        hosts = load(inventory / "hosts.yml")["platform"]["children"]["components"]["hosts"]
        assert role in hosts, inventory


def test_every_scenario_is_of_a_component() -> None:
    found = {path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml")}
    assert found == {"default", *COMPONENTS}


def decisive(options: dict[str, dict[str, Any]], inner: str) -> dict[str, Any]:
    """What decides over values, of arguments or of their documentation; `inner` is where the fields of mappings are."""
    return {
        name: {
            "type": option.get("type", "str"),
            "elements": option.get("elements"),
            "required": bool(option.get("required")),
            "default": option.get("default"),
            "choices": option.get("choices"),
            "fields": decisive(option.get(inner) or {}, inner),
        }
        for name, option in options.items()
    }


def test_every_action_is_documented_as_a_module() -> None:
    assert MODULES == ACTIONS


@pytest.mark.parametrize("name", ACTIONS)
def test_arguments_are_as_documented(name: str) -> None:
    base = "ansible_collections.mlops.platform.plugins"
    arguments = importlib.import_module(f"{base}.action.{name}").ActionModule.ARGUMENTS
    path = ROOT / "plugins" / "modules" / f"{name}.py"
    documentation, examples, returned, _ = get_docstring(
        str(path), fragment_loader, collection_name="mlops.platform", is_module=True
    )
    assert documentation["module"] == name
    assert decisive(documentation.get("options") or {}, "suboptions") == decisive(arguments, "options")
    (task,) = yaml.safe_load(examples)[:1]
    assert set(task[f"mlops.platform.{name}"]) <= set(arguments)
    assert {key for key, item in arguments.items() if item.get("required")} <= set(task[f"mlops.platform.{name}"])
    assert isinstance(returned or {}, dict)
    assert set(documentation["attributes"]) == {"action", "check_mode"}


def tasks_of(node: Any) -> Iterator[dict[str, Any]]:
    """Every play and task in a playbook or a file of tasks."""
    for item in node if isinstance(node, list) else []:
        if isinstance(item, dict):
            yield item
            for key in ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always"):
                yield from tasks_of(item.get(key))


@pytest.mark.parametrize(
    "path",
    [path.relative_to(ROOT) for folder in ("roles", "playbooks", "molecule") for path in (ROOT / folder).rglob("*.yml")
     if {"tasks", "handlers", "playbooks", "molecule"} & set(path.relative_to(ROOT).parts)
     and "group_vars" not in path.parts],
    ids=str,
)  # fmt: skip
def test_no_task_is_a_shell_or_hides_an_error(path: Path) -> None:
    for task in tasks_of(load(ROOT / path)):
        assert not {key.rpartition(".")[2] for key in task} & FORBIDDEN, f"{path}: {task.get('name')}"


VERSIONS: dict[str, str] = load(ROOT / "group_vars" / "all" / "versions.yml")["platform_versions"]
CATALOGUE: dict[str, Any] = load(ROOT / "group_vars" / "all" / "images.yml")["platform_images_catalogue"]


def required(image: str) -> dict[str, str]:
    """The modules of an image's go.mod with their versions."""
    text = (ROOT / "images" / image / "go.mod").read_text(encoding="utf-8")
    return dict(re.findall(r"^(?:require)?\s+([\w./-]+\.[\w./-]+) (v\S+)", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("image", "module", "pin"),
    [
        ("kubernetes", "k8s.io/kubernetes", "kubernetes"),
        ("kubernetes", "go.etcd.io/etcd/server/v3", "etcd"),
        ("kubernetes", "go.etcd.io/etcd/client/v3", "etcd"),
        ("kubernetes", "github.com/coredns/coredns", "coredns"),
        ("kubernetes", "github.com/rancher/local-path-provisioner", "local_path_provisioner"),
        ("kubernetes", "sigs.k8s.io/metrics-server", "metrics_server"),
    ],
)
def test_go_modules_are_those_of_the_pins(image: str, module: str, pin: str) -> None:
    assert required(image)[module] == f"v{VERSIONS[pin]}"


def test_minio_is_the_commit_of_its_release() -> None:
    time, commit = re.fullmatch(
        r"v0\.0\.0-(\d{14})-([0-9a-f]{12})", required("minio")["github.com/minio/minio"]
    ).groups()  # type: ignore[union-attr]
    assert commit == VERSIONS["minio_commit"]
    assert time.startswith(re.sub(r"\D", "", VERSIONS["minio"])[:8])


@pytest.mark.parametrize("path", sorted((ROOT / "images").glob("*/go.mod")), ids=lambda path: path.parent.name)
def test_go_modules_are_locked_and_the_toolchain_is_new_enough(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    sums = path.with_name("go.sum")
    for module, version in required(path.parent.name).items():
        assert f"{module} {version} " in sums.read_text(encoding="utf-8") or "=>" in text, module
    wanted = re.search(r"^go (\S+)$", text, re.MULTILINE)
    assert wanted
    assert tuple(map(int, wanted[1].split("."))) <= tuple(map(int, VERSIONS["go"].split(".")))


LOCK = {item["name"]: item.get("version") for item in tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))["package"]}


def locked(image: str) -> dict[str, str]:
    """The packages of an image's requirements with their versions."""
    text = (ROOT / "images" / image / "requirements.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==([^\s\\;]+)", text, re.MULTILINE))


@pytest.mark.parametrize(
    "path", sorted((ROOT / "images").glob("*/requirements.txt")), ids=lambda path: path.parent.name
)
def test_python_packages_are_locked_with_their_hashes(path: Path) -> None:
    entries = re.split(
        r"\n(?=[a-zA-Z0-9])", re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    assert entries
    assert [entry for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []


def test_client_and_server_of_mlflow_are_the_pin() -> None:
    assert locked("mlflow")["mlflow"] == VERSIONS["mlflow"] == LOCK["mlflow"]


def test_ansible_is_the_pin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"ansible=={LOCK['ansible']}" in project["dependencies"]
    assert str(LOCK["ansible-core"]).startswith("2.19.")
    assert load(ROOT / "meta" / "runtime.yml")["requires_ansible"] == ">=2.19.0"
    assert project["version"] == load(ROOT / "galaxy.yml")["version"]


def test_every_folder_of_an_image_is_in_the_catalogue() -> None:
    folders = {path.name for path in (ROOT / "images").iterdir() if path.is_dir()}
    assert folders == set(CATALOGUE)


@pytest.mark.parametrize("name", CATALOGUE)
def test_versions_of_images_are_pins(name: str) -> None:
    version = str(CATALOGUE[name]["version"])
    assert "platform_versions." in version or "platform_debian_revision" in version or version == "1"


def test_tables_of_variables_are_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("role_docs", ROOT / "tools" / "role_docs.py")
    assert spec
    assert spec.loader
    role_docs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(role_docs)
    for role in COMPONENTS:
        path = ROOT / "roles" / role / "README.md"
        text = path.read_text(encoding="utf-8")
        assert role_docs.BEGIN in text, role
        assert text == role_docs.updated(text, role_docs.table(path.parent)), "run tools/role_docs.py"
