# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of components: waves from what each one requires."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError


def waves(requires: Mapping[str, Mapping[str, str]], external: Mapping[str, bool] | None = None) -> list[list[str]]:
    """Components in waves: those of one wave need only those of the waves before it.

    `requires` maps each component to what it builds on, and that to the variable that may name an
    external endpoint instead; `external` says which of those variables are set. Raises
    PlatformError naming a missing requirement or a cycle.
    """
    given = external or {}
    graph: dict[str, set[str]] = {}
    for component, needs in requires.items():
        graph[component] = set()
        for need, variable in needs.items():
            if need in requires:
                graph[component].add(need)
            elif not given.get(variable):
                instead = f", or set {variable} to an external endpoint" if variable else ""
                raise PlatformError(
                    f"inventory: {component} requires {need}, which is not in the group components: add it{instead}"
                )
    sorter = TopologicalSorter(graph)
    try:
        sorter.prepare()
    except CycleError as error:
        raise PlatformError(
            f"inventory: components require each other in a circle: {' -> '.join(error.args[1])}"
        ) from error
    found: list[list[str]] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        found.append(ready)
        sorter.done(*ready)
    return found
