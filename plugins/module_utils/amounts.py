# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CPUs and memory of a report's components: added up, and as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Part = Mapping[str, Any]
NOT_KNOWN = "\N{EN DASH}"


def totals(parts: Iterable[Part], nodes: Iterable[Part]) -> dict[str, dict[str, float]]:
    """CPUs and bytes of memory: what the components' containers request, may take and use, and what nodes have."""
    containers = [item for part in parts for item in part["resources"]]
    found = {key: _sum(item[key] for item in containers) for key in ("requests", "limits", "usage")}
    return {**found, "nodes": _sum(nodes)}


def _sum(amounts: Iterable[Part]) -> dict[str, float]:
    found: dict[str, float] = {}
    for item in amounts:
        for key in ("cpu", "memory_bytes"):
            if key in item:
                found[key] = found.get(key, 0) + item[key]
    return found


def memory(value: float | None) -> str:
    """Bytes for people, in units of 1024: 57 Mi, 1.5 Gi."""
    if value is None:
        return NOT_KNOWN
    power = min(4, max(0, int(value).bit_length() - 1) // 10)
    scaled = value / 1024**power
    digits = 0 if scaled >= 10 or scaled == int(scaled) else 1
    return f"{scaled:.{digits}f} {('B', 'Ki', 'Mi', 'Gi', 'Ti')[power]}"


def cpus(value: float | None) -> str:
    """CPUs as Kubernetes writes them: thousandths with an m, whole ones without."""
    if value is None:
        return NOT_KNOWN
    return f"{value * 1000:.0f}m" if value < 1 else f"{value:.2f}".rstrip("0").rstrip(".")
