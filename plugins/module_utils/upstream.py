# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects that other projects publish: read from their Go modules, at the version and hash that an image's lock pins.

What was selected of a module is kept as JSON, so that its YAML is parsed once on a machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from ansible_collections.mlops.platform.plugins.module_utils import go_modules
from ansible_collections.mlops.platform.plugins.module_utils.admission import INJECTED
from ansible_collections.mlops.platform.plugins.module_utils.component import build
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.go_modules import Pin
from ansible_collections.mlops.platform.plugins.module_utils.image_build import exclusive
from ansible_collections.mlops.platform.plugins.module_utils.images import FOLDER
from ansible_collections.mlops.platform.plugins.module_utils.manifests import Manifest, digest, group, parse, title
from ansible_collections.mlops.platform.plugins.module_utils.preflight.values import nearest

UPSTREAM = "mlops.platform/upstream"
"""The annotation that says from which module and version an object is."""
NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""The label by which the API server lets a Namespace be selected by its name."""
VERSION_LABEL = "app.kubernetes.io/version"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Upstream:
    """Which objects of a Go module belong to a component, and what of them is the platform's.

    `lock` is the folder in images/ whose go.mod and go.sum pin the module. `files` and `leave_out` are patterns of
    paths in it (`**` is any number of folders), `without` leaves out objects: patterns of "Kind" or "Kind name".
    `namespaces` renames namespaces wherever an object refers to them; `images` replaces whole texts.
    """

    module: str
    lock: str
    files: Sequence[str]
    leave_out: Sequence[str] = ()
    without: Sequence[str] = ()
    namespaces: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, raw: Mapping[str, Any], component: str) -> Upstream:
        """One entry of a spec's `upstream`. Raises PlatformError naming a key that is unknown, missing or empty."""
        where = f"component_spec of {component}: upstream {raw.get('module', '(without a module)')!r}"
        found = build(cls, raw, where)
        if not found.files:
            raise PlatformError(f"{where}: files is empty; give patterns of paths, such as config/**/*.yaml")
        return found


def read(wanted: Upstream, cache: Path, say: Say, authorities: str = "", locks: Path = FOLDER) -> list[Manifest]:
    """The objects of a module as a component wants them, in the order of the files.

    `cache` is the platform's folder for what is made once; `authorities` (PEM) are trusted by the download besides
    the public ones. Raises PlatformError where the module cannot be had, is not what was pinned, or has nothing that
    one of the patterns means.
    """
    pin = go_modules.pin(wanted.module, wanted.lock, locks)
    lines = _selected(wanted, pin, cache, say, authorities)
    for pattern in wanted.without:
        kept = [line for line in lines if not _means(pattern, line)]
        if len(kept) == len(lines):
            raise PlatformError(f"{pin}: no object is {pattern!r} (without)")
        lines = kept
    found = list(_adapted(lines, wanted))
    for item in found:
        metadata = item["metadata"]
        metadata["annotations"] = {**(metadata.get("annotations") or {}), UPSTREAM: str(pin)}
        (metadata.get("labels") or {}).pop(VERSION_LABEL, None)  # the component's says more than "devel"
    return [item for item in found if item["kind"] != "Namespace"]  # the engine makes them, with their level


def _selected(wanted: Upstream, pin: Pin, cache: Path, say: Say, authorities: str) -> list[str]:
    """The objects of the selected files, a line each: kept from an earlier run, or read from the module.

    A line is kind, name and the object as JSON, so that an object that is left out is not even parsed.
    """
    folder = cache / "modules" / str(pin)
    key = digest({"hash": pin.hash, "files": list(wanted.files), "leave_out": list(wanted.leave_out)})
    path = folder / f"{key}.jsonl"
    if not path.exists():
        with exclusive(folder / "lock", lambda: say(f"another run reads {pin}, waiting")):
            if not path.exists():
                with go_modules.archive(pin, cache, say, authorities) as module:
                    texts = list(_texts(module, pin, wanted))
                say(f"reads {len(texts)} files of {pin}")
                manifests = [item for name, text in texts for item in parse(text, f"{pin}/{name}")]
                lines = [f"{item['kind']}\t{item['metadata']['name']}\t{json.dumps(item)}" for item in manifests]
                _write(path, "\n".join(lines))
    return path.read_text(encoding="utf-8").split("\n")


def _texts(module: ZipFile, pin: Pin, wanted: Upstream) -> Iterator[tuple[str, str]]:
    """The selected files and what stands in them. Raises PlatformError for a pattern that selects nothing."""
    names = [name.removeprefix(f"{pin}/") for name in module.namelist()]

    def matching(pattern: str, key: str) -> set[str]:
        found = set(filter(path_pattern(pattern).fullmatch, names))
        if not found:
            raise PlatformError(f"{pin}: no file matches {pattern!r} ({key}){nearest(pattern, names)}")
        return found

    left_out = {name for pattern in wanted.leave_out for name in matching(pattern, "leave_out")}
    for pattern in wanted.files:
        for name in sorted(matching(pattern, "files") - left_out):
            left_out.add(name)  # it may be meant by two patterns
            yield name, module.read(f"{pin}/{name}").decode("utf-8")


def path_pattern(pattern: str) -> re.Pattern[str]:
    """A pattern of paths: `*` and `?` stay within a folder, `**` is any number of folders."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    words = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(parts.get(word) or re.escape(word) for word in words))


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.rename(path)


def _means(pattern: str, line: str) -> bool:
    """Whether a line's object is meant by a pattern of "Kind" or "Kind name"."""
    kind, _, names = pattern.partition(" ")
    found, name, _ = line.split("\t", 2)
    return fnmatchcase(found, kind) and fnmatchcase(name, names or "*")


def _adapted(lines: Iterable[str], wanted: Upstream) -> Iterator[Manifest]:
    """The objects with the platform's namespaces and images; a line without any of them is only parsed."""
    spaces = {old: new for old, new in wanted.namespaces.items() if old != new}
    mentioned = {text: json.dumps(text) for text in wanted.images} | {old: old for old in wanted.namespaces}
    unseen = set(mentioned)
    for line in lines:
        item: Manifest = json.loads(line.split("\t", 2)[2])
        here = {text for text, written in mentioned.items() if written in line}
        unseen -= here
        if here:
            item = _replaced(item, spaces, wanted.images)
        yield item
    if unseen:
        raise PlatformError(f"{wanted.module}: {min(unseen)!r} is in none of the objects (namespaces, images)")


def _replaced(value: Any, spaces: Mapping[str, str], images: Mapping[str, str], key: str = "") -> Any:
    """Plain data with other namespaces, wherever objects refer to one, and other images."""
    if isinstance(value, dict):
        return {name: _replaced(item, spaces, images, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, spaces, images) for item in value]
    if not isinstance(value, str):
        return value
    if value in images:
        return images[value]
    for old, new in spaces.items():
        if key in ("namespace", NAMESPACE_LABEL) and value == old:
            return new
        if key.startswith(INJECTED) and value.startswith(f"{old}/"):
            return new + value.removeprefix(old)
        value = re.sub(rf"(?<=\.){re.escape(old)}(?=\.svc\b)", new, value)
    return value


def patch(manifests: Sequence[Manifest], patches: Iterable[Manifest], where: str) -> list[Manifest]:
    """`manifests` with the fields of each patch in the object that it names.

    A patch has apiVersion, kind, metadata.name, and a namespace where that alone is not clear. Mappings merge; lists
    whose items all have a `name` merge by it, and an item with `$patch: delete` goes; other lists are replaced; null
    removes a key. Raises PlatformError, which begins with `where`, for a patch that means no object or several.
    """
    patched = list(manifests)
    for item in patches:
        meant = [number for number, manifest in enumerate(patched) if _is_patched_by(manifest, item)]
        if len(meant) != 1:
            known = sorted(title(manifest) for manifest in manifests if manifest["kind"] == item["kind"])
            matter = (
                "several upstream objects have this name: give its namespace" if meant else "no such upstream object"
            )
            raise PlatformError(
                f"{where}: the patch of {title(item)}: {matter}; there are {', '.join(known) or 'none'}"
            )
        fields = {key: value for key, value in item.items() if key != "apiVersion"}
        patched[meant[0]] = merge(patched[meant[0]], fields)
    return patched


def _is_patched_by(manifest: Manifest, item: Manifest) -> bool:
    space = item["metadata"].get("namespace")
    return (
        (group(manifest), manifest["kind"], manifest["metadata"]["name"])
        == (group(item), item["kind"], item["metadata"]["name"])
    ) and space in (None, manifest["metadata"].get("namespace"))


def merge(base: Any, change: Any) -> Any:
    """`base` with a change, by the rules of `patch`."""
    if isinstance(change, dict):
        base = base if isinstance(base, dict) else {}
        return {
            key: merge(base.get(key), change[key]) if key in change else value
            for key, value in {**base, **change}.items()
            if not (key in change and change[key] is None)
        }
    names = [_names(base), _names(change)]
    if all(names):
        changes = dict(zip(names[1], change, strict=True))
        items = [merge(item, changes.pop(name, {})) for name, item in zip(names[0], base, strict=True)]
        return [item for item in [*items, *changes.values()] if item.get("$patch") != "delete"]
    return change


def _names(value: Any) -> list[str]:
    """The names of a list's items, where each has its own; else nothing."""
    if not isinstance(value, list) or not all(isinstance(item, dict) and "name" in item for item in value):
        return []
    names = [item["name"] for item in value]
    return names if len(set(names)) == len(names) else []
