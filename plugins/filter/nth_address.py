# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter `nth_address`."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: nth_address
short_description: An address of a network, by its number
description:
  - Takes a network in CIDR notation and counts from its first address, which is number 0; -1 is its last one.
options:
  _input:
    description: The network.
    type: str
    required: true
  number:
    description: Which address.
    type: int
    required: true
positional: _input, number
author:
  - The mlops.platform maintainers (@mlops)
"""

EXAMPLES = r"""
- name: Show the address of the cluster's name server, 10.96.0.10
  ansible.builtin.debug:
    msg: "{{ '10.96.0.0/16' | mlops.platform.nth_address(10) }}"
"""

RETURN = r"""
_value:
  description: The address.
  type: str
"""


def nth_address(network: str, number: int) -> str:
    """Address `number` of `network`."""
    try:
        return str(ipaddress.ip_network(network)[number])
    except (ValueError, IndexError) as error:
        raise AnsibleFilterError(f"nth_address: {network!r} has no address number {number}: {error}") from error


class FilterModule:
    """What Ansible asks for the filters of this file."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """The filters by name."""
        return {"nth_address": nth_address}
