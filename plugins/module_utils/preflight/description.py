# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role says of its variables, read from its folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Load = Callable[[Path], Any]
"""Reads a YAML file; Ansible's own loader marks what it reads as templates."""


@dataclass(frozen=True)
class Description:
    """The variables of one prefix: of a role, or of the whole collection.

    `options` are those of all entry points of argument_specs.yml, `formats` and `unique` (paths such as
    `minio_consumers.name`) and `refused` are what meta/preflight.yml adds. `variables` are the role's own.
    """

    name: str
    options: Mapping[str, Mapping[str, Any]]
    defaults: Mapping[str, Any]
    variables: Mapping[str, Any]
    formats: Mapping[str, str]
    unique: Sequence[str]
    refused: Sequence[Mapping[str, str]]

    @property
    def prefix(self) -> str:
        """What the names of all its variables begin with."""
        return f"{self.name}_"

    @property
    def requires(self) -> Mapping[str, str]:
        """What a component builds on, each with the variable of an external endpoint; empty for other roles."""
        return dict((self.variables.get(f"__{self.name}_spec") or {}).get("requires") or {})

    @property
    def after(self) -> Sequence[str]:
        """What a component comes after, where the inventory has it."""
        return list((self.variables.get(f"__{self.name}_spec") or {}).get("after") or [])

    @property
    def is_component(self) -> bool:
        """Whether the role describes a component."""
        return f"__{self.name}_spec" in self.variables


def plain(path: Path) -> Any:
    """The YAML of a file, without Ansible."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506  (a safe one)


def describe(folder: Path, load: Load = plain, name: str = "") -> Description:
    """The description in a role's folder, or in the collection's own one for `name` platform."""
    specs = _load(load, folder / "meta" / "argument_specs.yml").get("argument_specs") or {}
    more = _load(load, folder / "meta" / "preflight.yml")
    files = [folder / "vars" / "main.yml", *sorted((folder / "vars" / "main").glob("*.yml"))]
    return Description(
        name=name or folder.name,
        options={key: option for entry in specs.values() for key, option in (entry.get("options") or {}).items()},
        defaults=_load(load, folder / "defaults" / "main.yml"),
        variables={key: value for path in files for key, value in _load(load, path).items()},
        formats=more.get("formats") or {},
        unique=more.get("unique") or [],
        refused=more.get("refused") or [],
    )


def _load(load: Load, path: Path) -> dict[str, Any]:
    return dict(load(path) or {}) if path.is_file() else {}
