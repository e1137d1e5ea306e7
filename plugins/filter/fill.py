# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter `fill`; its logic is in plugins/module_utils/fill.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.fill import fill

DOCUMENTATION = """
name: fill
short_description: One description for each item of a list
description:
  - Repeats a pattern for each item and replaces C(<field>) in its strings by the item's field.
  - A string that is nothing but C(<field>) becomes the field's value, whatever its type.
positional: pattern
options:
  _input:
    description: Mappings, one for each result.
    type: list
    elements: dict
    required: true
  pattern:
    description: Any data whose strings may hold C(<field>).
    type: raw
    required: true
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = """
- name: One Secret a consumer
  ansible.builtin.set_fact:
    secrets: "{{ consumers | mlops.platform.fill({'name': 'minio-<name>', 'generate': ['secret-key']}) }}"
"""

RETURN = """
_value:
  description: The filled patterns, in the order of the items.
  type: list
"""


def _fill(items: Any, pattern: Any) -> list[Any]:
    try:
        return fill(items, pattern)
    except PlatformError as error:
        raise AnsibleFilterError(f"fill: {error}") from error


class FilterModule:
    """Names the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"fill": _fill}
