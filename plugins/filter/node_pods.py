# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter `node_pods`; its logic is in plugins/module_utils/local_cluster/nodes.py."""

from __future__ import annotations

from collections.abc import Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.nodes import pods_of

DOCUMENTATION = r"""
name: node_pods
short_description: The part of the pods' network that a node has
description:
  - Cuts the network of the pods into parts, and gives the one with the number that the node has in its own network.
options:
  _input:
    description: The network of all pods.
    type: str
    required: true
  prefix:
    description: The length of a part's prefix.
    type: int
    required: true
  network:
    description: The network of the nodes' addresses; empty where there is one node only.
    type: str
    required: true
  address:
    description: The address of the node.
    type: str
    required: true
positional: _input, prefix, network, address
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = r"""
- name: Show where the pods of the third node are, 10.244.2.0/24
  ansible.builtin.debug:
    msg: "{{ '10.244.0.0/16' | mlops.platform.node_pods(24, '10.95.0.0/24', '10.95.0.3') }}"
"""

RETURN = r"""
_value:
  description: The node's part, in CIDR notation.
  type: str
"""


def _node_pods(pod_cidr: str, prefix: int, network: str, address: str) -> str:
    try:
        return pods_of(str(pod_cidr), int(prefix), str(network), str(address))
    except (PlatformError, ValueError) as error:
        raise AnsibleFilterError(f"node_pods: {error}") from error


class FilterModule:
    """Names the filters of this file."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """The filters by name."""
        return {"node_pods": _node_pods}
