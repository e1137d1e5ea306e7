# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter `gpu_nodes`; its logic is in plugins/module_utils/gpu.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.mlops.platform.plugins.module_utils import gpu
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

DOCUMENTATION = """
name: gpu_nodes
short_description: What the GPU nodes of an inventory are
description:
  - Takes hosts and gives the nodes that stand for them, with the labels and the resources that follow from what their
    variables say.
options:
  _input:
    description: Names of hosts.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of all hosts.
    type: dict
    required: true
  defaults:
    description: What a host has that does not say otherwise, by the names of variables without C(gpu_node_).
    type: dict
    required: true
positional: _input, hostvars, defaults
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = """
- name: Show what the nodes must offer
  ansible.builtin.debug:
    msg: "{{ groups.gpu_nodes | mlops.platform.gpu_nodes(hostvars, {'product': 'Tesla-T4', 'count': 1}) }}"
"""

RETURN = """
_value:
  description: A mapping a node, with name, labels, taints, resources, kind, plugin_config and devices.
  type: list
  elements: dict
"""


def _gpu_nodes(
    hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], defaults: Mapping[str, Any]
) -> list[dict[str, Any]]:
    raw = []
    for host in hosts:
        variables = hostvars[host]
        given = {key: variables.get(f"gpu_node_{key}", default) for key, default in defaults.items()}
        raw.append({**given, "name": variables.get("gpu_node_name", host)})
    try:
        return gpu.described(raw)
    except PlatformError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Names the filters of this file."""

    def filters(self) -> dict[str, Callable[..., list[dict[str, Any]]]]:
        """The filters by name."""
        return {"gpu_nodes": _gpu_nodes}
