"""Inventories with one mistake each are refused, every one of them, in words that lead to the mistake."""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret, VaultSecretsContext
from ansible_collections.mlops.platform.plugins.module_utils.preflight.formats import FORMATS
from inventory_mutations import BASES, MUTATIONS, SEED, WRONG_VALUES, Broken, Site, mutations, read

COUNT = 5 * len(MUTATIONS)
PLACE = re.compile(r"(?P<file>/\S+):(?P<line>\d+): ")


CONNECTIONS: list[object] = []
"""Where this process connected to, as Python's own audit tells."""
sys.addaudithook(lambda event, arguments: CONNECTIONS.append(arguments) if event == "socket.connect" else None)


class Loader(DataLoader):  # type: ignore[misc]
    """Ansible's loader, which reads the collection's own files once for all inventories."""

    def __init__(self) -> None:
        super().__init__()
        self._once = cache(lambda path: super(Loader, self).load_from_file(path, trusted_as_template=True))

    def load_from_file(self, file_name: str, *arguments: Any, **options: Any) -> Any:
        """The content of a YAML file."""
        own = "/roles/" in file_name or "/platform/group_vars/" in file_name
        return self._once(file_name) if own else super().load_from_file(file_name, *arguments, **options)


@pytest.fixture(scope="module")
def loader() -> DataLoader:
    return Loader()


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, said: None) -> list[Broken]:
    return list(mutations(SEED, COUNT, tmp_path_factory.mktemp("broken")))


@pytest.fixture(scope="module")
def said(request: pytest.FixtureRequest) -> None:
    """Say with which seed the inventories can be made again."""
    manager = request.config.pluginmanager.getplugin("capturemanager")
    with manager.global_and_fixture_disabled():
        print(f"\n{COUNT} broken inventories, MUTATION_SEED={SEED} makes them again")


def test_there_are_enough_of_them() -> None:
    assert COUNT >= 60
    assert set(WRONG_VALUES) == set(FORMATS)
    assert {path.name for path in BASES} >= {"local", "existing", "production"}


@pytest.mark.parametrize("base", BASES, ids=lambda path: path.name)
def test_what_is_mutated_is_good_before(base: Path, tmp_path: Path, loader: DataLoader) -> None:
    site = Site(base, tmp_path)
    site.write()
    assert read(site.path, loader).problems() == []


@pytest.mark.parametrize("number", range(COUNT))
def test_a_mistake_is_refused_by_its_name_and_place(number: int, broken: list[Broken], loader: DataLoader) -> None:
    case = broken[number]
    print(f"seed {SEED}, number {number}: {case}")
    CONNECTIONS.clear()
    problems = read(case.path, loader).problems()
    print("\n".join(problems))
    assert CONNECTIONS == []
    named = [line for line in problems if case.names in line]
    assert named, "no message names it"
    assert all("\n" not in line and "Traceback" not in line for line in problems)
    if case.file:
        places = [PLACE.match(line) for line in named]
        (place, *_) = [place for place in places if place and Path(place["file"]).name == case.file]
        assert place
        text = Path(place["file"]).read_text(encoding="utf-8").splitlines()
        assert 1 <= int(place["line"]) <= len(text)


def test_values_out_of_a_vault_are_not_shown(tmp_path: Path) -> None:
    secrets = [("default", VaultSecret(b"password"))]
    hidden = indent(VaultLib(secrets).encrypt("Not_A_Namespace").decode(), "  ")
    site = Site(next(base for base in BASES if base.name == "existing"), tmp_path)
    with site.variables_file.open("a", encoding="utf-8") as file:
        file.write(f'\nplatform_namespace: "{{{{ vault_namespace }}}}"\nvault_namespace: !vault |\n{hidden}')
    VaultSecretsContext.initialize(VaultSecretsContext(secrets))  # as the command line does for its password files
    (problem,) = read(site.path, Loader()).problems()
    assert "platform_namespace is not shown: allowed is a DNS label" in problem
    assert "Not_A_Namespace" not in problem
