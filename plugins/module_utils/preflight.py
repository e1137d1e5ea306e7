# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused before anything is touched: pure checks of the inventory and of this machine."""

from __future__ import annotations

import difflib
import os
import platform
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

GIB = 1024**3
# Measured with the minimal profile: the cluster and three components keep 2.5 GiB of memory busy and
# 6 GiB on disk; building every image from nothing needs up to 20 GiB for a while.
MEMORY_GIB = 4
DISK_GIB = 20


@dataclass(frozen=True)
class RoleDescription:
    """What a component's role says of itself: its variables' specs, its defaults, its requirements."""

    name: str
    arguments: Mapping[str, Mapping[str, Any]]
    defaults: Mapping[str, Any]
    requires: Mapping[str, str]


def describe(role_path: Path, component: str) -> RoleDescription:
    """Read a role's description from its folder. Raises PlatformError for a role that is no component."""
    specs = _load(role_path / "meta" / "argument_specs.yml")
    variables = _load(role_path / "vars" / "main.yml")
    spec = variables.get(f"__{role_path.name}_spec")
    if not isinstance(spec, Mapping):
        raise PlatformError(f"inventory: {component} has the role {role_path.name}, which is not a component")
    options = specs.get("argument_specs", {}).get("main", {}).get("options", {})
    requires = spec.get("requires") or {}
    return RoleDescription(role_path.name, options, _load(role_path / "defaults" / "main.yml"), requires)


def _load(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return found


def unknown_component(name: str, known: Iterable[str]) -> str:
    """The message for a component without a role."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"inventory: unknown component {name!r}{hint} (known are {', '.join(names)})"


def wrong_variables(role: RoleDescription, given: Mapping[str, Any]) -> list[str]:
    """Problems with the values of a role's variables: unknown names of its prefix, wrong types, values not allowed.

    `given` are the variables of the component's host, templated, those of its role's prefix only.
    """
    problems: list[str] = []
    for name in sorted(given):
        if name not in role.arguments:
            near = difflib.get_close_matches(name, role.arguments, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            problems.append(f"{name}: the role {role.name} has no such variable{hint}")
            continue
        spec = dict(role.arguments[name])
        spec.pop("default", None)
        result = ArgumentSpecValidator({name: spec}).validate({name: given[name]})
        problems += [f"{message} ({name} is {given[name]!r})" for message in result.error_messages]
    return problems


def shadowed(inventory: Path, collection_wide: Iterable[str]) -> list[str]:
    """Variables set in an inventory's group_vars/all that the collection's own group_vars/all would override."""
    folder = inventory / "group_vars"
    files = [path for path in folder.glob("all*") if path.is_file()] + sorted(folder.glob("all/*.y*ml"))
    names = set(collection_wide)
    return [
        f"{path}: {name} has no effect, the collection's group_vars/all wins: move it to group_vars/platform.yml"
        for path in files
        for name in sorted(names.intersection(_load(path)))
    ]


def machine(paths: Sequence[Path], programs: Sequence[str]) -> list[str]:
    """Problems of this machine as the home of an embedded cluster. `paths` must have room on their disks."""
    problems: list[str] = []
    if platform.system() != "Linux":
        return [f"local_cluster: this machine runs {platform.system()}; an embedded cluster needs Linux"]
    if os.geteuid() != 0:
        problems.append(f"local_cluster: this is user id {os.geteuid()}; an embedded cluster needs root")
    if shutil.which("apt-get") is None:
        problems.append("local_cluster: no apt-get here; an embedded cluster needs Debian or Ubuntu")
    problems += [f"local_cluster: the program {name} is not installed" for name in programs if not shutil.which(name)]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    if memory < MEMORY_GIB:
        problems.append(f"local_cluster: this machine has {memory:.1f} GiB of memory; at least {MEMORY_GIB} are needed")
    for path in paths:
        existing = next(item for item in (path, *path.parents) if item.exists())
        free = shutil.disk_usage(existing).free / GIB
        if free < DISK_GIB:
            problems.append(f"local_cluster: {free:.1f} GiB are free for {path}; at least {DISK_GIB} are needed")
    return problems


def version_tuple(text: str) -> tuple[int, ...]:
    """Major and minor of a Kubernetes version such as v1.36.3."""
    return tuple(int(part) for part in text.lstrip("v").split("+")[0].split(".")[:2])
