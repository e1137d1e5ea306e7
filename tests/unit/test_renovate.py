"""Renovate finds every pin: its patterns are tried on the files, offline."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
RULES: dict[str, Any] = json.loads((ROOT / ".github" / "renovate.json").read_text(encoding="utf-8"))
PINS, ENVIRONMENT = RULES["customManagers"]
TEXT = (ROOT / "group_vars" / "all" / "versions.yml").read_text(encoding="utf-8")
VERSIONS: dict[str, str] = yaml.safe_load(TEXT)["platform_versions"]
FOLLOWING = {"minio_commit"}
"""Pins that follow another one; a test compares them with the lock."""
# The datasources of Renovate that the pins use, each with a version as it writes them.
WRITTEN = {
    "deb": "{}+278",
    "github-tags": "RELEASE.{}",
    "go": "v{}",
    "golang-version": "{}",
    "pypi": "{}",
}
# What Renovate's schema allows of what may be here.
KEYS = {
    "": {"$schema", "customManagers", "enabledManagers", "extends", "packageRules", "pip_requirements",
         "postUpdateOptions"},
    "customManagers": {"customType", "description", "extractVersionTemplate", "managerFilePatterns", "matchStrings"},
    "packageRules": {"allowedVersions", "description", "enabled", "groupName", "matchDatasources", "matchFileNames",
                     "matchPackageNames", "registryUrls", "versioning"},
    "pip_requirements": {"description", "managerFilePatterns"},
}  # fmt: skip


def pattern(text: str) -> re.Pattern[str]:
    """A regular expression of Renovate (RE2) as Python writes it."""
    return re.compile(re.sub(r"\(\?<(\w+)>", r"(?P<\1>", text))


def found(manager: dict[str, Any], text: str) -> list[dict[str, str]]:
    """What a manager's patterns take out of a file."""
    return [match.groupdict() for words in manager["matchStrings"] for match in pattern(words).finditer(text)]


def files(manager: dict[str, Any]) -> set[str]:
    """The files that a manager looks at."""
    names = [path.relative_to(ROOT).as_posix() for folder in ("group_vars", "images", "tools", ".config")
             for path in (ROOT / folder).rglob("*") if path.is_file()]  # fmt: skip
    patterns = [re.compile(text.strip("/")) for text in manager["managerFilePatterns"]]
    assert all(any(item.search(name) for name in names) for item in patterns)
    return {name for name in names if any(item.search(name) for item in patterns)}


def test_only_known_keys_are_used() -> None:
    for where, keys in KEYS.items():
        parts = RULES if not where else RULES[where]
        for part in parts if isinstance(parts, list) else [parts]:
            assert set(part) <= keys, where


def test_managers_look_at_the_files_of_the_pins() -> None:
    assert files(PINS) == {"group_vars/all/versions.yml"}
    assert files(ENVIRONMENT) == {".config/execution-environment.yml"}
    assert files(RULES["pip_requirements"]) == {
        "images/envoy/requirements.in", "images/kserve-storage-initializer/requirements.in",
        "images/mlflow/requirements.in", "images/model-drift/requirements.in", "images/model-server/requirements.in",
        "images/static/requirements.in", "tools/uv.in",
    }  # fmt: skip


def test_every_pin_is_found() -> None:
    values = [item["currentValue"] for item in found(PINS, TEXT)]
    assert values == [str(value) for name, value in VERSIONS.items() if name not in FOLLOWING]


def test_a_pin_without_its_source_is_missed() -> None:
    text = TEXT.replace(" # renovate: pypi mlflow", "")
    assert len(found(PINS, text)) == len(found(PINS, TEXT)) - 1


@pytest.mark.parametrize("pin", found(PINS, TEXT), ids=lambda pin: pin["depName"])
def test_a_version_of_the_source_is_read_as_a_pin(pin: dict[str, str]) -> None:
    upstream = WRITTEN[pin["datasource"]].format(pin["currentValue"])
    read = pattern(PINS["extractVersionTemplate"]).search(upstream)
    assert read
    assert read["version"] == pin["currentValue"]
    rules = [rule for rule in RULES["packageRules"] if pin["depName"] in rule.get("matchPackageNames", [])
             or pin["datasource"] in rule.get("matchDatasources", [])]  # fmt: skip
    for versioning in (rule["versioning"].removeprefix("regex:") for rule in rules if "versioning" in rule):
        assert pattern(versioning).fullmatch(pin["currentValue"])


def test_pins_of_go_modules_name_modules_that_are_built() -> None:
    locks = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "images").glob("*/go.mod"))
    modules = [pin["depName"] for pin in found(PINS, TEXT) if pin["datasource"] == "go"]
    assert modules
    assert [name for name in modules if f"{name} v" not in locks] == []


def test_the_runner_of_the_execution_environment_is_found() -> None:
    (pin,) = found(ENVIRONMENT, (ROOT / ".config" / "execution-environment.yml").read_text(encoding="utf-8"))
    assert (pin["datasource"], pin["depName"]) == ("pypi", "ansible-runner")
