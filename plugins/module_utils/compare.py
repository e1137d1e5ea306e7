# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run must send: the objects that are not provably as they were applied last time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ansible_collections.mlops.platform.plugins.module_utils.admission import completed_by_its_controller
from ansible_collections.mlops.platform.plugins.module_utils.manifests import Manifest, digest, identity

Memory = dict[str, dict[str, Any]]
"""By identity: `hash` of the manifest and the `mark` that the server gave what became of it."""


@dataclass(frozen=True)
class Difference:
    """One object to send, and why."""

    manifest: Manifest
    reason: Literal["absent", "new content", "changed in the cluster"]


def mark(live: Mapping[str, Any]) -> str:
    """What moves when an object's content is changed: its generation, or its version where it has none.

    Kinds with a status have a generation; the others change only by being written.
    """
    metadata = live["metadata"]
    generation = metadata.get("generation")
    return f"{metadata['uid']}:g{generation}" if generation else f"{metadata['uid']}:v{metadata['resourceVersion']}"


def remember(manifests: Iterable[Manifest], live: Mapping[str, Mapping[str, Any]]) -> Memory:
    """The memory of a finished apply: `live` is what the server answered, by identity."""
    return {
        key: {"hash": digest(manifest), "mark": mark(live[key])}
        for manifest in manifests
        if (key := identity(manifest)) in live
    }


def differences(
    manifests: Iterable[Manifest], live: Mapping[str, Mapping[str, Any]], memory: Memory
) -> list[Difference]:
    """The manifests that must be sent, in their order.

    `live` is the metadata of the cluster's objects by identity. Labels and annotations are compared
    too, for changing them moves no generation. Webhook configurations that their own controller completes are not
    fought over: they are sent when they are absent or have new content.
    """
    found: list[Difference] = []
    for manifest in manifests:
        key = identity(manifest)
        known = memory.get(key, {})
        if key not in live:
            found.append(Difference(manifest, "absent"))
        elif known.get("hash") != digest(manifest):
            found.append(Difference(manifest, "new content"))
        elif completed_by_its_controller(manifest):
            continue
        elif known.get("mark") != mark(live[key]) or not _carries(live[key], manifest):
            found.append(Difference(manifest, "changed in the cluster"))
    return found


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether two states of an object differ in content, labels or annotations; a new status is no change."""
    return mark(before) != mark(after) or not (_carries(before, after) and _carries(after, before))


def _carries(live: Mapping[str, Any], manifest: Mapping[str, Any]) -> bool:
    """Whether the live object has every label and annotation of the manifest."""
    return all(
        (manifest["metadata"].get(field) or {}).items() <= (live["metadata"].get(field) or {}).items()
        for field in ("labels", "annotations")
    )
