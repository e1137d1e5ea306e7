# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run has to do to each model, by what is asked for and what is served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.models.deploy import Record
from ansible_collections.mlops.platform.plugins.module_utils.models.inference_service import Settings, service_name
from ansible_collections.mlops.platform.plugins.module_utils.preflight.values import nearest

Verb = Literal["provision", "validate", "remove", "release", "experiment"]


def plan(
    verb: Verb, declared: Sequence[Settings], asked: Sequence[Settings], served: Sequence[Record], *, alone: bool
) -> list[tuple[Verb, Record]]:
    """What is to be done to which models, each once.

    `declared` are those of the inventory, `asked` others or the same with other settings, `served` those that the
    platform serves now. `alone`: only those that are asked for are touched. Raises PlatformError where a model that is
    not served is to be removed.

    What was served because the inventory declared it, and is declared no more, is removed: an endpoint holds nothing
    that the registry does not have, and one that nobody declares would be looked after by nobody. What was deployed by
    hand stays until it is removed by hand.
    """
    names = {service_name(item.name) for item in declared}
    by_name = {service_name(item.settings.name): item for item in served}
    if verb in ("release", "experiment"):
        return [(verb, _next(item, _served(item, by_name))) for item in asked]
    if verb == "remove":
        return [("remove", _served(item, by_name)) for item in asked]
    wanted = {} if alone else {service_name(item.name): Record(item, declared=True) for item in declared}
    wanted |= {service_name(item.name): Record(item, declared=service_name(item.name) in names) for item in asked}
    if verb == "validate":
        return [("validate", record) for _, record in sorted((wanted | by_name).items())]
    left = [record for name, record in sorted(by_name.items()) if record.declared and name not in wanted]
    return [("provision", record) for record in wanted.values()] + [("remove", record) for record in left if not alone]


def _served(settings: Settings, served: dict[str, Record]) -> Record:
    name = service_name(settings.name)
    if name not in served:
        known = f"served are {', '.join(sorted(served))}" if served else "no model is served"
        raise PlatformError(f"the model {settings.name} is not served{nearest(name, served)}; {known}")
    return served[name]


def _next(asked: Settings, served: Record) -> Record:
    """A model that is served, in another version and otherwise as it is."""
    present, rows = served.settings, asked.rows or served.settings.rows
    may_change = asked.signature_may_change
    settings = replace(present, version=asked.version, alias=asked.alias, signature_may_change=may_change, rows=rows)
    return replace(served, settings=settings)
