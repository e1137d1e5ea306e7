# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One description for each item of a list: the pure logic of the filter `fill`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

FIELD = re.compile(r"<([a-z_]+)>")


def fill(items: Sequence[Mapping[str, Any]], pattern: Any) -> list[Any]:
    """`pattern` once for each item, with every `<field>` in its strings replaced by the item's field.

    A string that is nothing but `<field>` becomes the field's value, whatever its type. Raises
    PlatformError for a field that an item does not have.
    """
    return [_filled(pattern, item) for item in items]


def _filled(pattern: Any, item: Mapping[str, Any]) -> Any:
    if isinstance(pattern, Mapping):
        return {key: _filled(value, item) for key, value in pattern.items()}
    if isinstance(pattern, (list, tuple)):
        return [_filled(value, item) for value in pattern]
    if not isinstance(pattern, str):
        return pattern
    whole = FIELD.fullmatch(pattern)
    if whole:
        return _field(item, whole[1])
    return FIELD.sub(lambda found: str(_field(item, found[1])), pattern)


def _field(item: Mapping[str, Any], name: str) -> Any:
    try:
        return item[name]
    except KeyError:
        raise PlatformError(f"{dict(item)!r} has no field {name!r}") from None
