# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter `way_to`; its logic is in plugins/module_utils/network_policies.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.network_policies import way_to

DOCUMENTATION = """
name: way_to
short_description: What a NetworkPolicy can say of the host of a URL
description:
  - Peers and ports for a rule of egress. A host with an address is that address, a Service of the cluster is its
    namespace with all ports; any other host may be anywhere.
options:
  _input:
    description: A URL, or that of a PostgreSQL database with several hosts.
    type: str
    required: true
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = """
- name: Storage of the site's own
  ansible.builtin.set_fact:
    way: "{{ 'https://s3.example.org:9443' | mlops.platform.way_to }}"
"""

RETURN = """
_value:
  description: Peers (C(to); none of them is everywhere) and C(ports), which are left out where all are meant.
  type: dict
"""


def _way_to(url: Any) -> dict[str, Any]:
    try:
        return way_to(str(url))
    except PlatformError as error:
        raise AnsibleFilterError(f"way_to: {error}") from error


class FilterModule:
    """Names the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"way_to": _way_to}
