# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of an inventory: what YAML itself lets pass, and what has no effect where it stands."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def files(source: Path) -> list[Path]:
    """The YAML files of an inventory source, a folder or a file with group_vars and host_vars beside it.

    Those that win over others come first.
    """
    if source.is_dir():
        places = [source]
    elif source.is_file():
        places = [source.parent / "group_vars", source.parent / "host_vars"]
    else:  # a list of hosts on the command line
        return []
    found = [path for place in places for path in sorted(place.rglob("*")) if path.is_file()]
    here = [source] if source.is_file() else []
    found = here + [path for path in found if path.suffix in (".yml", ".yaml") or _bare(path)]
    return sorted(found, key=lambda path: ("group_vars" in path.parts, "host_vars" not in path.parts))


def _bare(path: Path) -> bool:
    """Whether it is a file of variables without a suffix, such as group_vars/platform."""
    return not path.suffix and not path.name.startswith(".") and not {"group_vars", "host_vars"}.isdisjoint(path.parts)


@functools.cache
def document(path: Path) -> yaml.Node | None:
    """The nodes of a YAML file, which know their lines; None for what is no YAML, which Ansible itself refuses."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if text.startswith("$ANSIBLE_VAULT"):
        return None
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError:
        return None


def lines_of(path: Path, name: str) -> list[int]:
    """The lines of a file in which `name` is true, false or nothing: what Ansible cannot mark with its place."""

    def pairs(node: yaml.Node | None) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        for item in node.value if isinstance(node, yaml.CollectionNode) else []:
            if isinstance(item, tuple):
                yield item
            yield from pairs(item[1] if isinstance(item, tuple) else item)

    found = [(key, value) for key, value in pairs(document(path)) if key.value == name]
    return [key.start_mark.line + 1 for key, value in found if value.tag.rpartition(":")[2] in ("bool", "null")]


def duplicate_keys(path: Path) -> list[str]:
    """Keys that stand twice in one mapping: YAML takes the last and says nothing."""
    return list(_duplicates(document(path), path))


def _duplicates(node: yaml.Node | None, path: Path) -> Iterator[str]:
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in lines and isinstance(key, yaml.ScalarNode):
                yield f"{path}:{line}: {key.value} stands there twice, first in line {lines[key.value]}: remove one"
            elif isinstance(key, yaml.ScalarNode):
                lines[key.value] = line
            yield from _duplicates(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _duplicates(item, path)


def shadowed(path: Path, collection_wide: Iterable[str]) -> list[str]:
    """Variables in an inventory's group_vars/all that the collection's own group_vars/all would override."""
    place = path.parent if path.parent.name == "all" else path
    if place.parent.name != "group_vars" or place.name.partition(".")[0] != "all":
        return []
    node = document(path)
    names = set(collection_wide)
    return [
        f"{path}:{key.start_mark.line + 1}: {key.value} has no effect, the collection's group_vars/all wins: "
        "move it to group_vars/platform.yml"
        for key, _ in (node.value if isinstance(node, yaml.MappingNode) else [])
        if key.value in names
    ]
