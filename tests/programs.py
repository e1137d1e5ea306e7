"""Programs of the project as modules: they are files, not packages. And programs that the project builds."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROOT = Path(__file__).resolve().parents[1]


def load_program(path: str) -> ModuleType:
    """The program at `path`, from the project on, imported anew."""
    spec = importlib.util.spec_from_file_location(f"program_{Path(path).stem}", ROOT / path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def built_program(name: str) -> Path:
    """Where the program `name` of the catalogue is kept; `make rules` builds those of tests."""
    loader = DataLoader()
    variables: dict[str, object] = {}
    for path in sorted((ROOT / "group_vars" / "all").glob("*.yml")):
        variables |= loader.load_from_file(str(path), trusted_as_template=True)
    found = Templar(loader, variables=variables).template(
        trust_as_template(f"{{{{ lookup('mlops.platform.image', '{name}') }}}}")
    )
    return Path(found)
