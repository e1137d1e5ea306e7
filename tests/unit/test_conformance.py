"""The shape that every role, plugin and pin of the collection has."""

from __future__ import annotations

import importlib
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import role_rules as rules
import yaml
from ansible.plugins.loader import fragment_loader
from ansible.utils.plugin_docs import get_docstring
from role_rules import RULES, Role, Rule, load

ROOT = Path(__file__).resolve().parents[2]
ROLES = rules.roles()
ACTIONS = sorted(path.stem for path in (ROOT / "plugins" / "action").glob("[a-z]*.py"))
ON_HOSTS = {"gpu_host"}
"""Modules that run on the host itself."""
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("[a-z]*.py"))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_role_has_its_shape(role: Role, rule: Rule) -> None:
    assert list(rule(role)) == []


def test_there_are_components() -> None:
    assert {role.name for role in ROLES if role.is_component} >= {"minio", "mlflow", "postgresql"}


def test_secrets_of_the_platform_are_hidden() -> None:
    options = load(ROOT / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]
    secrets = [name for name in options if rules.SECRET.search(name)]
    assert secrets
    assert [name for name in secrets if options[name].get("no_log") is not True] == []


def test_every_scenario_is_of_a_component() -> None:
    found = {path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml")}
    of_all = {"default", "byo", "faults", "nodes", "platform", "serving_faults"}
    assert found - of_all == {role.name for role in ROLES if role.is_component}


MUTATIONS: dict[str, list[dict[str, str]]] = load(Path(__file__).with_name("role_mutations.yml"))


@pytest.mark.parametrize(
    ("rule", "mutation"), [(rule, mutation) for rule in RULES for mutation in MUTATIONS.get(rule.__name__, [])]
)
def test_a_rule_sees_what_is_wrong(tmp_path: Path, rule: Rule, mutation: dict[str, str]) -> None:
    for folder in ("roles", "molecule", "inventories"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "group_vars"))
    name = mutation.get("role") or mutation["file"].split("/")[1]
    assert list(rule(Role(tmp_path, name))) == []
    path = tmp_path / mutation["file"]
    path.parent.mkdir(parents=True, exist_ok=True)
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    assert mutation.get("replace", "") in text
    if "remove" in mutation:
        path.unlink()
    else:
        changed = text.replace(mutation["replace"], mutation["by"]) if "replace" in mutation else text
        path.write_text(changed + mutation.get("append", ""), encoding="utf-8")
    assert mutation["says"] in "; ".join(rule(Role(tmp_path, name)))


def test_a_component_that_only_answers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "roles" / "store" / "vars").mkdir(parents=True)
    path = tmp_path / "roles" / "store" / "vars" / "main.yml"
    path.write_text("__store_spec: {name: store, checks: [{name: health, type: http}]}", encoding="utf-8")
    assert any("by a transaction" in problem for problem in rules.proves_it_by_a_transaction(Role(tmp_path, "store")))


def test_every_rule_has_a_mutation() -> None:
    assert set(MUTATIONS) == {rule.__name__ for rule in RULES}


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
    assert [name for name in MODULES if name not in ON_HOSTS] == ACTIONS


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


VERSIONS: dict[str, str] = load(ROOT / "group_vars" / "all" / "versions.yml")["platform_versions"]
CATALOGUE: dict[str, Any] = load(ROOT / "group_vars" / "all" / "images.yml")["platform_images_catalogue"]


def required(image: str) -> dict[str, str]:
    """The modules of an image's go.mod with their versions."""
    text = (ROOT / "images" / image / "go.mod").read_text(encoding="utf-8")
    return dict(re.findall(r"^(?:require)?\s+([\w./-]+\.[\w./-]+) (v\S+)", text, re.MULTILINE))


def pinned(datasource: str) -> list[tuple[str, str]]:
    """What the pins of a datasource name, and their versions."""
    text = (ROOT / "group_vars" / "all" / "versions.yml").read_text(encoding="utf-8")
    pins = re.findall(rf'^  \w+: "?([^\s"]+)"? # renovate: {datasource} (\S+)', text, re.MULTILINE)
    return [(name, version) for version, name in pins]


LOCKS = sorted((ROOT / "images").glob("*/go.mod"))


@pytest.mark.parametrize(("module", "version"), pinned("go"))
def test_go_modules_are_those_of_the_pins(module: str, version: str) -> None:
    assert f"v{version}" in [required(lock.parent.name).get(module) for lock in LOCKS]


def test_minio_is_the_commit_of_its_release() -> None:
    time, commit = re.fullmatch(
        r"v0\.0\.0-(\d{14})-([0-9a-f]{12})", required("minio")["github.com/minio/minio"]
    ).groups()  # type: ignore[union-attr]
    assert commit == VERSIONS["minio_commit"]
    assert time.startswith(re.sub(r"\D", "", VERSIONS["minio"])[:8])


def test_prometheus_is_the_module_of_its_release() -> None:
    major, minor, patch = map(int, VERSIONS["prometheus"].split("."))
    assert required("monitoring")["github.com/prometheus/prometheus"] == f"v0.{major}{minor:02}.{patch}"


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.parent.name)
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


REQUIREMENTS = sorted((ROOT / "images").glob("*/requirements.txt"))


@pytest.mark.parametrize(("package", "version"), pinned("pypi"))
def test_python_packages_are_those_of_the_pins(package: str, version: str) -> None:
    versions = [locked(path.parent.name).get(package) for path in REQUIREMENTS]
    assert set(versions) - {None} == {version}


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.parent.name)
def test_python_packages_are_locked_with_their_hashes(path: Path) -> None:
    entries = re.split(
        r"\n(?=[a-zA-Z0-9])", re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    assert entries
    assert [entry for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []


def test_the_client_of_mlflow_is_the_pin() -> None:
    assert VERSIONS["mlflow"] == LOCK["mlflow"]


def test_ansible_is_the_pin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"ansible=={LOCK['ansible']}" in project["dependencies"]
    assert str(LOCK["ansible-core"]).startswith("2.19.")
    assert load(ROOT / "meta" / "runtime.yml")["requires_ansible"] == ">=2.19.0"
    assert project["version"] == load(ROOT / "galaxy.yml")["version"]


OF_TESTS = {"promtool", "prometheus-server"}
"""Programs of other images' modules, which tests run."""


def test_every_folder_of_an_image_is_in_the_catalogue() -> None:
    folders = {path.name for path in (ROOT / "images").iterdir() if path.is_dir()}
    modules = {entry["go"]["module"] for entry in CATALOGUE.values() if "module" in entry.get("go", {})}
    assert folders == set(CATALOGUE) - OF_TESTS | modules


def test_every_image_is_a_base_or_belongs_to_the_cluster_or_to_components() -> None:
    images = load(ROOT / "group_vars" / "all" / "images.yml")["__platform_component_images"]
    cluster = load(ROOT / "roles" / "local_cluster" / "defaults" / "main.yml")["local_cluster_images"]
    bases = {entry.get("base") for entry in CATALOGUE.values()} - {None}
    roles = {path.name for path in (ROOT / "roles").iterdir()}
    components = {name for names in images.values() for name in names}
    assert components <= set(CATALOGUE)
    own = set(re.findall(r"'([\w-]+)'", cluster)) - {"in"}
    assert set(CATALOGUE) - components - bases - roles - OF_TESTS == own - components


@pytest.mark.parametrize("name", CATALOGUE)
def test_versions_of_images_are_pins(name: str) -> None:
    version = str(CATALOGUE[name]["version"])
    assert "platform_versions." in version or "platform_debian_revision" in version or version == "1"


LICENCE = """# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""


def test_every_plugin_states_its_licence() -> None:
    plugins = [path for path in (ROOT / "plugins").rglob("*.py") if path.stat().st_size]
    assert [path.relative_to(ROOT) for path in plugins if not path.read_text("utf-8").startswith(LICENCE)] == []


def test_groups_of_modules_share_their_argument() -> None:
    argument = {"component": "spec", "local_cluster": "host"}
    groups: dict[str, list[str]] = load(ROOT / "meta" / "runtime.yml")["action_groups"]
    base = "ansible_collections.mlops.platform.plugins.action"
    arguments = {name: importlib.import_module(f"{base}.{name}").ActionModule.ARGUMENTS for name in ACTIONS}
    for group, names in groups.items():
        assert names == [name for name in ACTIONS if argument[group] in arguments[name]]
